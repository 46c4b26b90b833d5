"""What a node says about itself on /diagnostics: once a second, and at once when it changes."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from humanoid_control.ros import topics
from humanoid_control.ros.qos import create_publisher

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
PERIOD_S = 1.0


class Health:
    """One node's row in /diagnostics.

    Attributes:
        level: `OK`, `WARN` or `ERROR`.
        message: why, in one line.
        values: figures by name, told along with the next message.
    """

    def __init__(self, node: Any, hardware_id: str = "g1") -> None:
        """Starts to publish; the node's logger gets every change of the level.

        Args:
            node: whose health it is.
            hardware_id: as diagnostics have it.
        """
        self._node = node
        self._hardware_id = hardware_id
        self._publisher = create_publisher(node, topics.DIAGNOSTICS)
        self.level, self.message = OK, "starting"
        self.values: dict[str, Any] = {}
        self._timer = node.create_timer(PERIOD_S, self.publish)

    def set(self, level: bytes, message: str, *, kind: str | None = None) -> None:
        """Takes a new judgement over; tells it at once if it differs from the last.

        Args:
            level: `OK`, `WARN` or `ERROR`.
            message: why.
            kind: what has to differ for it to count as a change, where the message has figures in it.
        """
        key = (level, message if kind is None else kind)
        is_new = key != getattr(self, "_key", None)
        self._key, self.level, self.message = key, level, message
        if is_new:
            logger = self._node.get_logger()
            # A line of code may log at one level only: rclpy knows callers by their lines.
            if level == OK:
                logger.info(message)
            elif level == WARN:
                logger.warning(message)
            else:
                logger.error(message)
            self.publish()

    def publish(self) -> None:
        """Publishes now."""
        values = self.values | {"messages not taken": sum(getattr(sender, "refused", 0) for sender in self._node.publishers)}
        status = DiagnosticStatus(
            level=self.level, name=self._node.get_fully_qualified_name().lstrip("/"), message=self.message,
            hardware_id=self._hardware_id, values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])  # fmt: skip
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

"""Quality of service by kind of topic, for publisher and subscriber, and both made from a row of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from humanoid_control.ros.topics import Topic

NOT_TAKEN = "cannot publish data"  # in rmw_fastrtps's words


def _profile(depth: int, *, reliable: bool = True, transient: bool = False) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if transient else DurabilityPolicy.VOLATILE,
    )


# Kind: (publisher, subscriber).
PROFILES: dict[str, tuple[QoSProfile, QoSProfile]] = {
    "state": (_profile(10), _profile(10)),
    # Every message counts: 50 bridge 0.2 s of a busy reader at 250 Hz.
    "lossless": (_profile(50), _profile(50)),
    # An older command is worth nothing once a newer one is there.
    "latest": (_profile(1), _profile(1)),
    # Offered reliable, because stock tools ask for either; ours rather lose an image than wait for it.
    "sensor": (_profile(5), _profile(5, reliable=False)),
    # tf2 uses these depths.
    "transform": (_profile(100), _profile(100)),
    "static_transform": (_profile(1, transient=True), _profile(100, transient=True)),
    # Who comes late still gets the last one.
    "latched": (_profile(1, transient=True), _profile(1, transient=True)),
    # rclcpp's and rclpy's own time sources read the clock best effort.
    "clock": (_profile(1, reliable=False), _profile(1, reliable=False)),
}


class Sender(Publisher):
    """A publisher that loses what DDS does not take within its 100 ms, on a machine that is far too busy: a node had better go on.

    Attributes:
        refused: messages so far.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.refused = 0

    def publish(self, message: Any) -> bool:
        """Publishes a message; False where it is lost.

        Raises:
            RuntimeError: rclpy's own, for all else.
        """
        try:
            super().publish(message)
        except RuntimeError as error:
            if NOT_TAKEN not in str(error):
                raise
            self.refused += 1
            return False
        return True


def create_publisher(node: Any, topic: Topic) -> Sender:
    """A node's publisher for a topic of the table."""
    return node.create_publisher(topic.message_class(), topic.name, PROFILES[topic.qos][0], publisher_class=Sender)


def create_subscription(node: Any, topic: Topic, callback: Callable[[Any], None], **options: Any) -> Subscription:
    """A node's subscription to a topic of the table; options as `Node.create_subscription` has them."""
    return node.create_subscription(topic.message_class(), topic.name, callback, PROFILES[topic.qos][1], **options)

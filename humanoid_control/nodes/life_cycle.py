"""A node with ROS's life cycle that starts by itself, unless its parameter says that somebody else does."""

from __future__ import annotations

from typing import Any, TypeVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from humanoid_control.errors import HumanoidControlError
from humanoid_control.nodes.health import ERROR, OK, Health
from humanoid_control.ros.parameters import NODE_OPTIONS, declare_parameters

_T = TypeVar("_T", bound="ManagedNode")


class ManagedNode(LifecycleNode):
    """Parameters are checked at the start: a mistake in them ends the process. What fails later leaves the node alive,
    with the reason in /diagnostics, so that it can be put right and configured again.

    Attributes:
        parameters: as declared.
        health: what it says about itself.
        is_active: between activation and deactivation.
    """

    # Of the class: a node whose parameters are wrong is destroyed half made.
    is_active = False
    _was_configured = False

    def __init__(self, name: str, parameters: type) -> None:
        """Makes the node, unconfigured.

        Args:
            name: of the node.
            parameters: its dataclass, which has `autostart`.

        Raises:
            ConfigurationError: a parameter is wrong.
        """
        super().__init__(name, **NODE_OPTIONS)
        self.parameters: Any = declare_parameters(self, parameters)
        self.health = Health(self)

    def configure(self) -> None:
        """Makes what the node needs; what it raises of `HumanoidControlError` is told."""

    def activate(self) -> None:
        """Starts to work."""

    def deactivate(self) -> None:
        """Ceases to work."""

    def clean_up(self) -> None:
        """Gives back what `configure` made."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ROS's life cycle."""
        self._was_configured = True
        try:
            self.configure()
        except HumanoidControlError as error:
            self.health.set(ERROR, str(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ROS's life cycle."""
        self.health.set(OK, "active")
        self.activate()
        self.is_active = True  # not before: what an interrupt left half made is given back with the node
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ROS's life cycle."""
        self.is_active = False
        self.deactivate()
        self.health.set(OK, "inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ROS's life cycle."""
        self.clean_up()
        self._was_configured = False
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Ceases to work and gives everything back."""
        if self.is_active:
            self.is_active = False
            self.deactivate()
        if self._was_configured:
            self.clean_up()
        super().destroy_node()


def start(node: _T) -> _T:
    """The node, configured and active if its parameter `autostart` wants that."""
    if node.parameters.autostart and node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
    return node

"""The `main` of every node: start ROS, spin, and end in good order, whatever the reason."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.ros.environment import check_domain, prepare_environment

ENDING_S = 0.5  # from a signal, or an error that it caused, to when ROS has ended
SETTLED_S = 0.05  # from then to when the signal's thread has done its last


def run_node(make_node: Callable[[], Any], *, make_executor: Callable[[], Any] | None = None) -> int:
    """Makes a node and spins it until it is told to stop.

    Args:
        make_node: makes the node; what it raises of `HumanoidControlError` is shown in one line. Its `destroy_node`
            is called at the end and has to leave the robot safe.
        make_executor: makes the executor; single-threaded without it.

    Returns:
        The process's exit code: 0 after SIGINT or SIGTERM, 1 after an error.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    node = executor = None
    try:
        _start_ros()
        node = make_node()
        # Else Python would go through all modules and models again and again to find what is no longer needed: some 50 ms each time,
        # in which nothing else is done.
        gc.collect()
        gc.freeze()
        executor = (make_executor or SingleThreadedExecutor)()
        executor.add_node(node)
        _spin(executor)
        return 0
    except (KeyboardInterrupt, ExternalShutdownException):  # while the node was being made
        _let_ros_end()
        return 0
    except HumanoidControlError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        if executor is not None:
            executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _spin(executor: Any) -> None:
    """Spins until the process is told to stop, and ROS has ended."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (RuntimeError, SystemError, TypeError):
        # A signal ends ROS in a thread of its own; the executor may be just about to wait, and finds nothing to wait on, or
        # may be taking a message, which fails a moment before ROS has ended, or converting one, which is cut off in its middle.
        patience_s = time.monotonic() + ENDING_S
        while rclpy.ok():
            if time.monotonic() > patience_s:
                raise
            time.sleep(0.01)
    _let_ros_end()


def _let_ros_end() -> None:
    """Waits for the thread in which a signal ends ROS: it still touches what is destroyed next, and the process would crash."""
    import rclpy

    patience_s = time.monotonic() + ENDING_S
    while rclpy.ok() and time.monotonic() < patience_s:
        time.sleep(0.01)
    time.sleep(SETTLED_S)


def _start_ros() -> None:
    """Initialises rclpy with the process's arguments.

    Raises:
        ConfigurationError: an argument, a parameter file or the environment is wrong.
    """
    import rclpy

    prepare_environment()
    check_domain()
    try:
        rclpy.init(args=sys.argv)
    except RuntimeError as error:  # rclpy's own error for whatever rcl does not take
        # What follows the first " at /" are lines of rcl's sources.
        reason = str(error).removeprefix("failed to initialize rcl: ").partition(", at /")[0]
        raise ConfigurationError(f"ROS 2 does not start: {reason}") from error

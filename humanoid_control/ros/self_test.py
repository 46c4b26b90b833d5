"""Sends a message from one node to another over DDS: `python -m humanoid_control.ros.self_test`."""

from __future__ import annotations

import os
import sys
import time

from humanoid_control.errors import ConfigurationError
from humanoid_control.ros.environment import check_domain, prepare_environment

_TIMEOUT_S = 10.0


def main() -> int:
    """Prints how long it took; 1 when nothing arrived."""
    prepare_environment()
    try:
        check_domain()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    import rclpy
    from rclpy.utilities import get_rmw_implementation_identifier
    from std_msgs.msg import String

    topic = f"humanoid_self_test_{os.getpid()}"
    rclpy.init()
    sender, receiver = rclpy.create_node("self_test_sender"), rclpy.create_node("self_test_receiver")
    received: list[str] = []
    receiver.create_subscription(String, topic, lambda message: received.append(message.data), 1)
    publisher = sender.create_publisher(String, topic, 1)
    began = time.monotonic()
    while not received and time.monotonic() - began < _TIMEOUT_S:
        publisher.publish(String(data="hello"))
        rclpy.spin_once(receiver, timeout_sec=0.05)
    took_s = time.monotonic() - began
    rclpy.shutdown()
    where = f"{get_rmw_implementation_identifier()}, domain {os.environ.get('ROS_DOMAIN_ID', '0')}"
    if not received:
        print(f"no message came through within {_TIMEOUT_S:g} s ({where})", file=sys.stderr)
        return 1
    print(f"{where}, first message after {took_s:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

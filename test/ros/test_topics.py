"""The table of topics, and publishers and subscribers made from it."""

import pytest
import rclpy
from rclpy.qos import QoSCompatibility, qos_check_compatible

from humanoid_control.ros import qos, topics


def test_every_row_has_a_message_class_and_a_profile():
    for topic in topics.TOPICS:
        assert topic.message_class().get_fields_and_field_types()
        assert topic.qos in qos.PROFILES
        assert topic.description


def test_names_are_unique():
    names = [topic.name for topic in topics.TOPICS]
    assert len(set(names)) == len(names)


def test_what_has_a_rate_has_a_timeout_of_several_periods():
    for topic in topics.TOPICS:
        assert (topic.rate_hz is None) == (topic.timeout_s is None), topic.name
        if topic.rate_hz is not None:
            assert topic.timeout_s >= 3.0 / topic.rate_hz, topic.name


@pytest.mark.parametrize("kind", qos.PROFILES)
def test_our_subscribers_understand_our_publishers(kind):
    publisher, subscriber = qos.PROFILES[kind]
    assert qos_check_compatible(publisher, subscriber)[0] != QoSCompatibility.ERROR


def test_stock_names_and_types_are_where_convention_puts_them():
    types = {topic.name.lstrip("/"): topic.type_name for topic in topics.TOPICS}
    assert {
        name: types[name]
        for name in (
            "joint_states",
            "imu",
            "odom",
            "tf",
            "tf_static",
            "robot_description",
            "clock",
            "diagnostics",
            "head_camera/image_raw",
            "head_camera/camera_info",
        )
    } == {
        "joint_states": "sensor_msgs/msg/JointState",
        "imu": "sensor_msgs/msg/Imu",
        "odom": "nav_msgs/msg/Odometry",
        "tf": "tf2_msgs/msg/TFMessage",
        "tf_static": "tf2_msgs/msg/TFMessage",
        "robot_description": "std_msgs/msg/String",
        "clock": "rosgraph_msgs/msg/Clock",
        "diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
        "head_camera/image_raw": "sensor_msgs/msg/Image",
        "head_camera/camera_info": "sensor_msgs/msg/CameraInfo",
    }


def test_camera_topics_are_found_by_their_last_part():
    assert topics.camera_topics("head_camera")["image_raw"].name == "head_camera/image_raw"
    assert set(topics.camera_topics("left_wrist_camera")) == {"image_raw", "image_raw/compressed", "camera_info", "depth/image_raw"}


def test_late_subscriber_gets_the_robot_description():
    rclpy.init()
    try:
        node = rclpy.create_node("late_subscriber")
        publisher = qos.create_publisher(node, topics.ROBOT_DESCRIPTION)
        publisher.publish(topics.ROBOT_DESCRIPTION.message_class()(data="<robot/>"))
        received = []
        qos.create_subscription(node, topics.ROBOT_DESCRIPTION, received.append)
        for _ in range(100):
            rclpy.spin_once(node, timeout_sec=0.1)
            if received:
                break
        assert [message.data for message in received] == ["<robot/>"]
        node.destroy_node()
    finally:
        rclpy.try_shutdown()

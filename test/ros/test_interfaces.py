"""The interface packages: type hashes, documentation, agreement with the library's types, and the wire."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import rclpy
from ament_index_python import get_package_share_directory
from tf2_msgs.msg import TFMessage

from humanoid_control import types
from humanoid_control.installation import share_folder
from humanoid_control.ros import qos, topics
from humanoid_interfaces.msg import BaseEstimate, ControlStatus, JointCommand, RobotState, WholeBodyTarget

# Published: the first by every ROS 2 since Jazzy, all of them in other implementations' sources and tests.
STANDARD_HASHES = {
    "tf2_msgs/msg/TFMessage": "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "tf2_msgs/msg/TF2Error": "RIHS01_db2485e7d6a0ec75bf087e058ee45df682acc3a621ca7780503d10aac141809a",
    "tf2_msgs/action/LookupTransform": "RIHS01_0b8adf6bc0b5958879e3265b41a457e03558fe523890a81252c70eba97a82c5d",
    "vision_msgs/msg/Detection3D": "RIHS01_ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/Detection3DArray": "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
}


@pytest.mark.parametrize("type_name", STANDARD_HASHES)
def test_type_hash_is_the_standard_one(type_name):
    package, _, _ = type_name.partition("/")
    description = Path(get_package_share_directory(package)).parent / f"{type_name}.json"
    hashes = {row["type_name"]: row["hash_string"] for row in json.loads(description.read_text())["type_hashes"]}
    assert hashes[type_name] == STANDARD_HASHES[type_name]


def test_standard_hash_is_what_others_see_on_the_wire():
    rclpy.init()
    try:
        node = rclpy.create_node("hash_shower")
        publisher = qos.create_publisher(node, topics.TF)
        info = node.get_publishers_info_by_topic(publisher.topic_name)[0]
        assert bytes(info.topic_type_hash.value).hex() == STANDARD_HASHES["tf2_msgs/msg/TFMessage"].removeprefix(
            "RIHS01_"
        )
        assert isinstance(TFMessage().transforms, list)
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


@pytest.mark.parametrize(
    "path", sorted((share_folder() / "humanoid_interfaces").glob("*/*.[msa][src][gvt]*")), ids=lambda path: path.name
)
def test_every_field_of_our_interfaces_is_documented(path):
    fields = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith(("#", "---"))]
    assert fields
    for line in fields:
        declaration, _, comment = line.partition("#")
        # An order inside an action is documented where orders are, constants by what they stand beside.
        if "=" in declaration or declaration.split()[0] == "Order":
            continue
        assert comment.strip(), f"{path.name}: '{declaration.strip()}' has no comment"
        if re.match(r"float64", declaration):
            assert re.search(r"\bm\b|rad|\bN\b|kg|\bs\b|quaternion|bytes|0 to 1|0 certain", comment), (
                f"{path.name}: no unit: {line}"
            )


@pytest.mark.parametrize(
    ("message", "value", "renamed"),
    [
        (WholeBodyTarget, types.WholeBodyTarget, {"frame": "header"}),
        (ControlStatus, types.ControlStatus, {}),
        (JointCommand, types.JointCommand, {}),
        (BaseEstimate, types.BaseEstimate, {}),
        (RobotState, types.RobotState, {"pelvis_imu": "imu_orientation"}),
    ],
)
def test_messages_have_every_field_of_the_types_they_carry(message, value, renamed):
    fields = message.get_fields_and_field_types()
    for field in dataclasses.fields(value):
        name = "header" if field.name == "stamp_s" else renamed.get(field.name, field.name)
        assert name in fields

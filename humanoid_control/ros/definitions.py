"""What a record keeps of a message's type: its definition in words, and its hash, from where ROS has them installed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.qos import QoSProfile

from humanoid_control.errors import ConfigurationError

SEPARATOR = "=" * 80
# A field or a constant: its type first, an array or not, bounded or not.
_TYPE = re.compile(r"^(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?:\[(?:<=)?\d*\])?\s")
_BUILT_IN = {"bool", "byte", "char", "string", "wstring", "float32", "float64", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}


def definition_of(type_name: str) -> str:
    """A message's definition with those of all types in it, as MCAP's `ros2msg` has them.

    Args:
        type_name: such as `sensor_msgs/msg/Imu`.

    Raises:
        ConfigurationError: its package is not installed, or has no such message.
    """
    seen, waiting, texts = {type_name}, [type_name], []
    while waiting:
        current = waiting.pop(0)
        text = _file_of(current, "msg").read_text()
        texts.append(text if current == type_name else f"{SEPARATOR}\nMSG: {_short(current)}\n{text}")
        for needed in _needed(text, current.split("/")[0]):
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return "\n".join(text.rstrip("\n") for text in texts) + "\n"


def type_hash_of(type_name: str) -> str:
    """`RIHS01_…` of a message, or an empty text where its package does not say."""
    path = _file_of(type_name, "json")
    if not path.is_file():
        return ""
    hashes = {row["type_name"]: row["hash_string"] for row in json.loads(path.read_text()).get("type_hashes", ())}
    return hashes.get(type_name, "")


def qos_text(profile: QoSProfile) -> str:
    """A profile as rosbag2 writes it."""
    unset = {"sec": 9223372036, "nsec": 854775807}
    return yaml.safe_dump([{
        "history": "keep_last", "depth": profile.depth, "reliability": profile.reliability.name.lower(),
        "durability": profile.durability.name.lower(), "deadline": unset, "lifespan": unset, "liveliness": "automatic",
        "liveliness_lease_duration": unset, "avoid_ros_namespace_conventions": False,
    }], sort_keys=False)  # fmt: skip


def _file_of(type_name: str, ending: str) -> Path:
    package, kind, name = type_name.split("/")
    try:
        path = Path(get_package_share_directory(package)) / kind / f"{name}.{ending}"
    except PackageNotFoundError:
        raise ConfigurationError(f"the package {package} of {type_name} is not installed: `make setup`, or build it with colcon") from None
    if ending == "msg" and not path.is_file():
        raise ConfigurationError(f"{type_name} has no definition at {path}")
    return path


def _needed(text: str, package: str) -> list[str]:
    needed = []
    for line in text.splitlines():
        match = _TYPE.match(line.partition("#")[0].strip() + " ")
        if match is None or match["type"] in _BUILT_IN:
            continue
        parts = match["type"].split("/")
        needed.append("/".join((parts[0] if len(parts) > 1 else package, "msg", parts[-1])))
    return needed


def _short(type_name: str) -> str:
    package, _, name = type_name.split("/")
    return f"{package}/{name}"

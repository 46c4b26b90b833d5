"""The modules `launch` and `launch_ros` as far as our launch files need them, for when the real ones are missing."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator

from humanoid_control.ros.launching import actions, node, substitutions

_MODULES = {
    "launch": {"LaunchDescription": actions.LaunchDescription},
    "launch.actions": {
        name: getattr(actions, name)
        for name in (
            "DeclareLaunchArgument",
            "GroupAction",
            "IncludeLaunchDescription",
            "LogInfo",
            "OpaqueFunction",
            "RegisterEventHandler",
            "SetEnvironmentVariable",
            "Shutdown",
            "TimerAction",
        )
    }
    | {"ExecuteProcess": node.ExecuteProcess},
    "launch.conditions": {name: getattr(actions, name) for name in ("IfCondition", "UnlessCondition")},
    "launch.event_handlers": {"OnProcessExit": actions.OnProcessExit},
    "launch.launch_description_sources": {"PythonLaunchDescriptionSource": actions.PythonLaunchDescriptionSource},
    "launch.substitutions": {
        name: getattr(substitutions, name)
        for name in ("EnvironmentVariable", "LaunchConfiguration", "PathJoinSubstitution", "TextSubstitution")
    },
    "launch_ros": {},
    "launch_ros.actions": {
        "LifecycleNode": node.LifecycleNode,
        "Node": node.Node,
        "PushRosNamespace": actions.PushRosNamespace,
    },
    "launch_ros.parameter_descriptions": {"ParameterValue": node.ParameterValue},
    "launch_ros.substitutions": {"FindPackageShare": substitutions.FindPackageShare},
}


def is_launch_ros_installed() -> bool:
    """Whether ROS 2's own launch can be imported.

    A folder named `launch` in the working directory imports too, hence the names.
    """
    try:
        from launch_ros.actions import Node  # noqa: F401

        from launch import LaunchDescription  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def stand_in_for_launch() -> Iterator[None]:
    """While it lasts, `import launch` and `import launch_ros` find our stand-ins."""
    before = {name: sys.modules[name] for name in _loaded_launch_modules()}
    for name in before:
        del sys.modules[name]
    for name, content in _MODULES.items():
        module = types.ModuleType(name, "Stand-in of humanoid_control.ros.launching")
        module.__dict__.update(content)
        module.__path__ = []
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        yield
    finally:
        for name in _loaded_launch_modules():
            del sys.modules[name]
        sys.modules.update(before)


def _loaded_launch_modules() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in ("launch", "launch_ros")]

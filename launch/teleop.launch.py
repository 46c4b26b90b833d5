"""A person drives the simulated robot: with a gamepad (`/joy`) and trackers that publish poses; with a folder, episodes are recorded."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("humanoid_control")


def parameters_of(node):
    return PathJoinSubstitution([SHARE, "config", f"{node}.yaml"])


def make_recorder(context):
    """With a folder to record to: /start_episode and /end_episode make episodes in it."""
    if not LaunchConfiguration("record").perform(context):
        return []
    return [Node(package="humanoid_control", executable="recorder_node", output="screen", sigterm_timeout="60",
                 parameters=[parameters_of("recorder_node"), {"folder": ParameterValue(LaunchConfiguration("record"), value_type=str),
                                                              "episodes": "by_hand"}])]


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("record", default_value="", description="folder of recorded episodes; empty: nothing is recorded"),
        # Declares the other arguments: factory, seed, rate_factor, poses, calibration, cameras, video, viewer.
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "sim.launch.py"]))),
        Node(package="humanoid_control", executable="teleop_node", output="screen",
             parameters=[parameters_of("teleop_node"), {"in_control": True}]),
        OpaqueFunction(function=make_recorder),
    ])

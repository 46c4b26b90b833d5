"""The recorder, where a folder is named to record to."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def text(name):
    """A launch argument as a parameter that stays text, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def make_recorder(context):
    if not LaunchConfiguration("record").perform(context):
        return []
    parameters = PathJoinSubstitution([FindPackageShare("humanoid_control"), "config", "recorder_node.yaml"])
    return [Node(package="humanoid_control", executable="recorder_node", output="screen", sigterm_timeout="60",  # packs what it has
                 parameters=[parameters, {"folder": text("record"), "episodes": text("episodes"), "factory": text("factory")}])]


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("record", default_value="", description="folder of recorded episodes; empty: nothing is recorded"),
        DeclareLaunchArgument("episodes", default_value="by_hand", description="what an episode is: what /start_episode and /end_episode make, or each order",
                              choices=["by_hand", "by_order"]),
        DeclareLaunchArgument("factory", default_value="", description="factory file, or the name of one in config/factories, kept with each episode"),
        OpaqueFunction(function=make_recorder),
    ])

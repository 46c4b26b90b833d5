"""A person drives the simulated robot: on the operator's page, or with a gamepad (`/joy`) and trackers that publish poses; with a
folder, episodes are recorded."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("humanoid_control")


def parameters_of(node):
    return PathJoinSubstitution([SHARE, "config", f"{node}.yaml"])


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("record", default_value="", description="folder of recorded episodes; empty: nothing is recorded"),
        DeclareLaunchArgument("cameras", default_value="true", description="render the robot's cameras, for whoever looks", choices=["true", "false"]),
        # Declares the other arguments: factory, seed, rate_factor, poses, calibration, video, viewer.
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "sim.launch.py"]))),
        Node(package="humanoid_control", executable="teleop_node", output="screen",
             parameters=[parameters_of("teleop_node"), {"in_control": True}]),
        IncludeLaunchDescription(  # declares page, page_host, page_port
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "operator_page.launch.py"])),
            launch_arguments={"gives_orders": "true", "factory": LaunchConfiguration("factory")}.items()),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "recorder.launch.py"])),
            launch_arguments={"record": LaunchConfiguration("record"), "episodes": "by_hand", "factory": LaunchConfiguration("factory")}.items()),
    ])

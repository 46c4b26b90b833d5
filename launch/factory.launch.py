"""The whole: a simulated factory with its robot, and the mission and policy that carry out orders in it."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from policies.registry import needs_images

SHARE = FindPackageShare("humanoid_control")


def parameters_of(node):
    return PathJoinSubstitution([SHARE, "config", f"{node}.yaml"])


def text(name):
    """A launch argument as a parameter that stays text, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def open_eyes(context):
    """A policy that looks at images has the robot's cameras rendered, unless somebody says otherwise."""
    checkpoint = LaunchConfiguration("checkpoint").perform(context)
    if needs_images(LaunchConfiguration("policy").perform(context), Path(checkpoint) if checkpoint else None):
        context.launch_configurations.setdefault("cameras", "true")


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("record", default_value="", description="folder in which each order becomes an episode; empty: nothing is recorded"),
        DeclareLaunchArgument("policy", default_value="scripted", description="who decides: hand-written skills; a network with them to fall back on; a network that sees its tote itself",
                              choices=["scripted", "learned", "student"]),
        DeclareLaunchArgument("page", default_value="false", description="serve the operator's page; its address is in the log", choices=["true", "false"]),
        DeclareLaunchArgument("checkpoint", default_value="", description="the network's file; empty: the one that ships"),
        DeclareLaunchArgument("teleop", default_value="false", description="a person may take over: teleop_node beside the policy, which asks one where it fails",
                              choices=["true", "false"]),
        OpaqueFunction(function=open_eyes),
        # Declares the other arguments: factory, seed, rate_factor, poses, calibration, cameras, video, viewer.
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "sim.launch.py"]))),
        Node(package="humanoid_control", executable="policy_node", output="screen",
             parameters=[parameters_of("policy_node"), {
                 "policy": text("policy"), "checkpoint": text("checkpoint"), "factory": text("factory"), "robot": "mujoco",
                 "calibration": text("calibration"), "operator": LaunchConfiguration("teleop")}]),
        Node(package="humanoid_control", executable="teleop_node", output="screen", condition=IfCondition(LaunchConfiguration("teleop")),
             parameters=[parameters_of("teleop_node"), {"beside_policy": True}]),
        Node(package="humanoid_control", executable="mission_node", output="screen",
             parameters=[parameters_of("mission_node"), {"factory": text("factory")}]),
        IncludeLaunchDescription(  # declares page_host, page_port
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "operator_page.launch.py"]))),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "recorder.launch.py"])),
            launch_arguments={"record": LaunchConfiguration("record"), "episodes": "by_order", "factory": LaunchConfiguration("factory")}.items()),
    ])

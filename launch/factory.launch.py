"""The whole: a simulated factory with its robot, and the mission and policy that carry out orders in it."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("humanoid_control")
PASSED_ON = ("factory", "seed", "rate_factor", "poses", "cameras", "video", "viewer")


def parameters_of(node):
    return PathJoinSubstitution([SHARE, "config", f"{node}.yaml"])


def text(name):
    """A launch argument as a parameter that stays text, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("policy", default_value="scripted", description="who decides", choices=["scripted"]),
        DeclareLaunchArgument("factory", default_value="line_side",
                              description="factory file, or the name of one in config/factories"),
        DeclareLaunchArgument("seed", default_value="0", description="of the simulated episode"),
        DeclareLaunchArgument("rate_factor", default_value="1.0", description="simulated time over wall time"),
        DeclareLaunchArgument("poses", default_value="oracle", description="rung of perception", choices=["oracle"]),
        DeclareLaunchArgument("cameras", default_value="false", description="render the robot's cameras",
                              choices=["true", "false"]),
        DeclareLaunchArgument("video", default_value="", description="file that a camera from outside films to; empty: none"),
        DeclareLaunchArgument("viewer", default_value="false", description="open MuJoCo's viewer; needs a screen",
                              choices=["true", "false"]),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "sim.launch.py"])),
            launch_arguments={name: LaunchConfiguration(name) for name in PASSED_ON}.items()),
        Node(package="humanoid_control", executable="policy_node", output="screen",
             parameters=[parameters_of("policy_node"), {
                 "policy": text("policy"), "factory": text("factory"), "robot": "mujoco"}]),
        Node(package="humanoid_control", executable="mission_node", output="screen",
             parameters=[parameters_of("mission_node"), {"factory": text("factory")}]),
    ])

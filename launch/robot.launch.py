"""The robot: its control and its description."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def parameters_of(node):
    return PathJoinSubstitution([FindPackageShare("humanoid_control"), "config", f"{node}.yaml"])


def text(name):
    """A launch argument as a parameter that stays text, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("robot", default_value="fake", description="driver", choices=["mujoco", "fake"]),
        DeclareLaunchArgument("factory", default_value="line_side",
                              description="factory file, or the name of one in config/factories"),
        DeclareLaunchArgument("seed", default_value="0", description="of the simulated episode"),
        DeclareLaunchArgument("rate_factor", default_value="1.0", description="simulated time over wall time"),
        # Without control there is nothing left to do.
        Node(package="humanoid_control", executable="control_node", output="screen", on_exit=Shutdown(reason="control has ended"),
             parameters=[parameters_of("control_node"), {
                 "robot": text("robot"), "factory": text("factory"), "seed": LaunchConfiguration("seed"),
                 "rate_factor": LaunchConfiguration("rate_factor")}]),
        Node(package="humanoid_control", executable="description_node", output="screen",
             parameters=[parameters_of("description_node")]),
    ])

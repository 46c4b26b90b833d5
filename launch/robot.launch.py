"""The robot: its control and its description."""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
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


def make_description_node():
    """ROS's own robot_state_publisher where it is installed, else ours."""
    try:
        get_package_prefix("robot_state_publisher")
    except PackageNotFoundError:
        return Node(package="humanoid_control", executable="description_node", output="screen",
                    parameters=[parameters_of("description_node")])
    urdf = Path(get_package_share_directory("humanoid_control"), "urdf", "g1.urdf").read_text()
    return Node(package="robot_state_publisher", executable="robot_state_publisher", output="screen",
                parameters=[{"robot_description": ParameterValue(urdf, value_type=str)}])


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("robot", default_value="fake", description="driver", choices=["mujoco", "fake"]),
        DeclareLaunchArgument("factory", default_value="line_side",
                              description="factory file, or the name of one in config/factories"),
        DeclareLaunchArgument("seed", default_value="0", description="of the simulated episode"),
        DeclareLaunchArgument("tags", default_value="false", description="totes and stations carry AprilTags",
                              choices=["true", "false"]),
        DeclareLaunchArgument("rate_factor", default_value="1.0", description="simulated time over wall time"),
        # Without control there is nothing left to do.
        Node(package="humanoid_control", executable="control_node", output="screen", on_exit=Shutdown(reason="control has ended"),
             parameters=[parameters_of("control_node"), {
                 "robot": text("robot"), "factory": text("factory"), "seed": LaunchConfiguration("seed"),
                 "tags": LaunchConfiguration("tags"), "rate_factor": LaunchConfiguration("rate_factor")}]),
        make_description_node(),
    ])

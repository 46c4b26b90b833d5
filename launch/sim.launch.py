"""The robot in a simulated factory: control and physics, description, perception, and cameras where they are wanted."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("humanoid_control")


def parameters_of(node):
    return PathJoinSubstitution([SHARE, "config", f"{node}.yaml"])


def text(name):
    """A launch argument as a parameter that stays text, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def make_camera_node(context):
    """The camera node, where either the robot's cameras or a film is wanted."""
    if LaunchConfiguration("cameras").perform(context) != "true" and not LaunchConfiguration("video").perform(context):
        return []
    return [Node(
        package="humanoid_control", executable="camera_node", output="screen",
        sigterm_timeout="300",  # the film is finished at the end, which may take a while
        parameters=[parameters_of("camera_node"), {
            "factory": text("factory"), "seed": LaunchConfiguration("seed"),
            "cameras": LaunchConfiguration("cameras"), "video": text("video")}])]


def generate_launch_description():
    episode = {"factory": text("factory"), "seed": LaunchConfiguration("seed")}
    return LaunchDescription([
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
            PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
            launch_arguments={"robot": "mujoco", "factory": LaunchConfiguration("factory"),
                              "seed": LaunchConfiguration("seed"),
                              "rate_factor": LaunchConfiguration("rate_factor")}.items()),
        Node(package="humanoid_control", executable="perception_node", output="screen",
             parameters=[parameters_of("perception_node"), {**episode, "poses": text("poses"), "robot": "mujoco"}]),
        OpaqueFunction(function=make_camera_node),
        Node(package="humanoid_control", executable="viewer_node", output="screen",
             on_exit=Shutdown(reason="the viewer has ended"), parameters=[episode],
             condition=IfCondition(LaunchConfiguration("viewer"))),
    ])

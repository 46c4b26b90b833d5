"""The operator's page, where it is wanted."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def text(name):
    """A launch argument as a parameter that stays text, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description():
    parameters = PathJoinSubstitution([FindPackageShare("humanoid_control"), "config", "operator_page_node.yaml"])
    return LaunchDescription([
        DeclareLaunchArgument("page", default_value="true", description="serve the operator's page; its address is in the log",
                              choices=["true", "false"]),
        DeclareLaunchArgument("page_host", default_value="127.0.0.1", description="address it is bound to; 0.0.0.0: from everywhere, by https"),
        DeclareLaunchArgument("page_port", default_value="8470", description="its port; 0: any free one"),
        DeclareLaunchArgument("gives_orders", default_value="false", choices=["true", "false"],
                              description="an episode may be of an order of the factory: where no mission_node tells orders"),
        DeclareLaunchArgument("factory", default_value="line_side", description="factory file, or the name of one in config/factories"),
        Node(package="humanoid_control", executable="operator_page_node", output="screen", condition=IfCondition(LaunchConfiguration("page")),
             parameters=[parameters, {"host": text("page_host"), "port": LaunchConfiguration("page_port"), "factory": text("factory"),
                                      "gives_orders": LaunchConfiguration("gives_orders")}]),
    ])

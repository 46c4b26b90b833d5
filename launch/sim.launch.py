"""The robot in a simulated factory: control and physics, description, perception, and the cameras that it or somebody wants."""

import atexit
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from humanoid_control.errors import ConfigurationError

SHARE = FindPackageShare("humanoid_control")
RUNGS = ["oracle", "fiducial", "detector", "tracker"]


def parameters_of(node):
    return PathJoinSubstitution([SHARE, "config", f"{node}.yaml"])


def text(name):
    """A launch argument as a parameter that stays text, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def value_of(name, context):
    return LaunchConfiguration(name).perform(context)


def make_simulation(context):
    """Everything that depends on the rung of perception: tags for fiducial, cameras for all but oracle."""
    poses = value_of("poses", context)
    tags = "true" if poses == "fiducial" else "false"
    cameras = "true" if poses != "oracle" else value_of("cameras", context)
    context.launch_configurations["calibration"] = find_calibration(context, looks=cameras == "true")
    episode = {"factory": text("factory"), "seed": LaunchConfiguration("seed")}
    robot = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
        launch_arguments={"robot": "mujoco", "factory": LaunchConfiguration("factory"), "seed": LaunchConfiguration("seed"),
                          "tags": tags, "rate_factor": LaunchConfiguration("rate_factor")}.items())
    perception = Node(
        package="humanoid_control", executable="perception_node", output="screen",
        parameters=[parameters_of("perception_node"), {
            **episode, "poses": text("poses"), "robot": "mujoco", "calibration": text("calibration")}])
    camera_nodes = []
    if cameras == "true" or value_of("video", context):
        camera_nodes = [Node(
            package="humanoid_control", executable="camera_node", output="screen",
            sigterm_timeout="300",  # the film is finished at the end, which may take a while
            parameters=[parameters_of("camera_node"), {**episode, "tags": tags == "true", "cameras": cameras == "true",
                                                       "video": text("video")}])]
    viewer = Node(package="humanoid_control", executable="viewer_node", output="screen",
                  on_exit=Shutdown(reason="the viewer has ended"), parameters=[{**episode, "tags": tags == "true"}],
                  condition=IfCondition(LaunchConfiguration("viewer")))
    return [robot, perception, *camera_nodes, viewer]


def find_calibration(context, *, looks):
    """The calibration file for all who look through the cameras; empty: the nominal mounting.

    Raises:
        ConfigurationError: it cannot be drawn. Nobody may go on without it: they would not know where the cameras sit.
    """
    calibration = value_of("calibration", context)
    if calibration != "drawn":
        return "" if calibration == "none" else calibration
    if not looks:
        return ""
    # A calibration takes minutes: in its place the simulation's side writes what one would leave.
    folder = tempfile.mkdtemp(prefix="humanoid_launch_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = str(Path(folder, "cameras.yaml"))
    done = subprocess.run(
        [sys.executable, "-m", "perception.simulated_calibration", "--factory", value_of("factory", context), "--seed",
         value_of("seed", context), "--out", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"no calibration of the cameras: {done.stderr.strip().removeprefix('error: ')}")
    return path


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("factory", default_value="line_side",
                              description="factory file, or the name of one in config/factories"),
        DeclareLaunchArgument("seed", default_value="0", description="of the simulated episode"),
        DeclareLaunchArgument("rate_factor", default_value="1.0", description="simulated time over wall time"),
        DeclareLaunchArgument("poses", default_value="oracle", description="rung of perception", choices=RUNGS),
        DeclareLaunchArgument("calibration", default_value="drawn",
                              description="file of humanoid calibrate; drawn: what one would leave; none: nominal mounting"),
        DeclareLaunchArgument("cameras", default_value="false",
                              description="render the robot's cameras, also where perception needs none",
                              choices=["true", "false"]),
        DeclareLaunchArgument("video", default_value="", description="file that a camera from outside films to; empty: none"),
        DeclareLaunchArgument("viewer", default_value="false", description="open MuJoCo's viewer; needs a screen",
                              choices=["true", "false"]),
        OpaqueFunction(function=make_simulation),
    ])

"""The launch runner: the files it reads, the processes it starts, and what it does when they end."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from humanoid_control.ros.launch_runner import parse_launch_arguments
from humanoid_control.ros.launching.context import LaunchError
from humanoid_control.ros.launching.stand_in import is_launch_ros_installed

pytestmark = pytest.mark.skipif(is_launch_ros_installed(), reason="ROS 2's own launch is used here")

HEADER = """
from launch import LaunchDescription
from launch.actions import (DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, LogInfo, RegisterEventHandler,
                            Shutdown, TimerAction)
from launch.conditions import IfCondition, UnlessCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node, PushRosNamespace
from launch_ros.substitutions import FindPackageShare

def generate_launch_description():
    return LaunchDescription([
"""

SCRIPTS = {
    "sleep_node": "exec sleep 60",
    "chatty_node": 'trap "exit 0" INT; while true; do echo chat; sleep 0.01; done',
    "echo_node": 'echo "$@"',
    "failing_node": "echo about to fail; exit 3",
    "crashing_node": "sleep 0.2; kill -SEGV $$",
    "stubborn_node": 'trap "echo no to SIGINT" INT; echo ready; while true; do sleep 0.05; done',
    "deaf_node": 'trap "" INT TERM; echo ready; while true; do sleep 0.05; done',
    "parent_node": "sleep 61 & echo ready; wait",
}


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """An ament prefix with one package of shell scripts, beside the real one."""
    prefix = tmp_path / "prefix"
    (prefix / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (prefix / "share/ament_index/resource_index/packages/scripts_package").touch()
    (prefix / "lib/scripts_package").mkdir(parents=True)
    for name, text in SCRIPTS.items():
        script = prefix / "lib/scripts_package" / name
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}")
    return prefix


@pytest.fixture
def write_launch_file(tmp_path, prefix):
    """Writes a launch file with the given actions and returns its path."""

    def write(actions: str, name: str = "a.launch.py"):
        path = tmp_path / name
        path.write_text(HEADER + textwrap.indent(textwrap.dedent(actions), " " * 8) + "\n    ])\n")
        return path

    return write


def start_launch(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "humanoid_control.cli", "launch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_launch(*arguments):
    process = start_launch(*arguments)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"'{text}' never came; there was: {''.join(lines)}")


def alive_in_group(group):
    """Processes of a group, without those that have ended and that nobody has asked for yet."""
    alive = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                alive.append(stat.parent.name)
    return alive


def test_dry_run_shows_each_command_with_namespace_parameters_and_remappings(write_launch_file, tmp_path, prefix):
    config = tmp_path / "sleep_node.yaml"
    config.write_text("{}")
    path = write_launch_file(f"""
        DeclareLaunchArgument("rate", default_value="50.0", description="how often"),
        GroupAction([PushRosNamespace("robot"), LifecycleNode(
            package="scripts_package", executable="sleep_node", name="sleeper", namespace="",
            parameters=["{config}",
                        {{"rate_hz": LaunchConfiguration("rate"), "gains": {{"kp": 1.5}}, "label": "true"}}],
            remappings=[("a", "b")], arguments=["--flag"])]),
        Node(package="scripts_package", executable="echo_node"),
    """)
    code, out, err = run_launch(path, "rate:=20.0", "--dry-run")
    assert (code, err) == (0, "")
    folder = prefix / "lib/scripts_package"
    assert out.splitlines() == [
        f"sleeper: {folder}/sleep_node --flag --ros-args -r __node:=sleeper -r __ns:=/robot -r a:=b "
        f"--params-file {config} -p rate_hz:=20.0 -p gains.kp:=1.5 -p 'label:=\"true\"'",
        f"echo_node: {folder}/echo_node",
    ]


def test_conditions_timers_and_event_handlers_show_in_a_dry_run(write_launch_file):
    path = write_launch_file("""
        DeclareLaunchArgument("viewer", default_value="false", choices=["true", "false"]),
        LogInfo(msg="with viewer", condition=IfCondition(LaunchConfiguration("viewer"))),
        LogInfo(msg="headless", condition=UnlessCondition(LaunchConfiguration("viewer"))),
        TimerAction(period=2.0, actions=[LogInfo(msg="late")]),
        RegisterEventHandler(OnProcessExit(on_exit=[Shutdown(reason="all over")])),
    """)
    assert run_launch(path, "--dry-run")[1].splitlines() == [
        "log: headless",
        "after 2 s: log: late",
        "when any process ends: shut down: all over",
    ]
    assert "log: with viewer" in run_launch(path, "viewer:=true", "--dry-run")[1]
    code, _, err = run_launch(path, "viewer:=maybe")
    assert code == 1 and err == "error: launch argument viewer:=maybe must be one of: true, false\n"


def test_included_file_gets_arguments_and_its_own_show(write_launch_file, tmp_path):
    write_launch_file(
        """
        DeclareLaunchArgument("world", description="which world"),
        LogInfo(msg=["world is ", LaunchConfiguration("world")]),
    """,
        "inner.launch.py",
    )
    path = write_launch_file(f"""
        DeclareLaunchArgument("factory", default_value="line_side", description="which factory"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution(["{tmp_path}", "inner.launch.py"])),
            launch_arguments=[("world", LaunchConfiguration("factory"))]),
    """)
    assert run_launch(path, "factory:=hall", "--dry-run")[1] == "log: world is hall\n"
    assert run_launch(path, "--show-args")[1].splitlines() == [
        "factory: which factory (default: 'line_side')",
        "world: which world (must be given)",
    ]


def test_file_that_includes_itself_is_refused(write_launch_file, tmp_path):
    path = write_launch_file(f'IncludeLaunchDescription(PythonLaunchDescriptionSource("{tmp_path}/a.launch.py")),')
    assert run_launch(path)[2] == f"error: {path} includes itself\n"


def test_missing_argument_is_named_and_show_args_still_lists_all(write_launch_file):
    path = write_launch_file("""
        DeclareLaunchArgument("robot", description="which robot", choices=["g1", "sim"]),
        DeclareLaunchArgument("rate", default_value="50"),
    """)
    assert run_launch(path)[2] == "error: launch argument 'robot' must be given: robot:=... (which robot)\n"
    assert run_launch(path, "--show-args")[1].splitlines() == [
        "robot: which robot (must be given; one of: g1, sim)",
        "rate:  (default: '50')",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vewer:=true"], "error: a.launch.py takes no argument 'vewer'; did you mean viewer?\n"),
        (["viewer=true"], "error: launch argument 'viewer=true' must be written key:=value\n"),
        (["viewer:=1", "viewer:=0"], "error: launch argument 'viewer' is given twice: '1' and '0'\n"),
    ],
)
def test_misspelt_argument_is_one_line_with_the_way_out(write_launch_file, arguments, message):
    path = write_launch_file('DeclareLaunchArgument("viewer", default_value="false"),')
    assert run_launch(path, *arguments) == (1, "", message)


def test_wrong_value_is_named_before_arguments_that_are_declared_later(write_launch_file):
    path = write_launch_file("""
        DeclareLaunchArgument("poses", default_value="oracle", choices=["oracle", "tracker"]),
        DeclareLaunchArgument("video", default_value=""),
    """)
    message = "error: launch argument poses:=trackr must be one of: oracle, tracker\n"
    assert run_launch(path, "video:=film.mp4", "poses:=trackr") == (1, "", message)


def test_misspelt_executable_package_and_configuration_are_named(write_launch_file):
    path = write_launch_file('Node(package="scripts_package", executable="slep_node"),')
    assert run_launch(path)[2].startswith(
        "error: package 'scripts_package' has no executable 'slep_node'; did you mean sleep_node"
    )
    path = write_launch_file('Node(package="script_package", executable="sleep_node"),')
    assert run_launch(path)[2] == ("error: package 'script_package' is not installed; did you mean scripts_package?\n")
    path = write_launch_file(
        'DeclareLaunchArgument("rate", default_value="1"), LogInfo(msg=LaunchConfiguration("rte")),'
    )
    assert run_launch(path)[2] == ("error: launch argument 'rte' is used but not declared; did you mean rate?\n")


def test_broken_launch_file_is_one_line_with_file_and_line(tmp_path):
    path = tmp_path / "broken.launch.py"
    path.write_text("def generate_launch_description():\n    return 1 / 0\n")
    assert run_launch(path) == (1, "", f"error: {path}:2: ZeroDivisionError: division by zero\n")
    path.write_text("x = (\n")
    assert run_launch(path)[2].startswith(f"error: {path}:1: SyntaxError: ")
    path.write_text("x = 1\n")
    assert run_launch(path)[2] == f"error: {path} has no function generate_launch_description\n"
    path.write_text("from launch.actions import DoTheImpossible\n")
    assert "DoTheImpossible" in run_launch(path)[2]
    assert run_launch("no_such_name")[2].startswith("error: no launch file 'no_such_name' in ")


def test_edited_launch_file_is_read_anew_whatever_its_time_and_size(write_launch_file):
    for text in ("one", "two"):
        path = write_launch_file(f'LogInfo(msg="{text}"),')
        os.utime(path, (1_000_000, 1_000_000))
        assert run_launch(path, "--dry-run")[1] == f"log: {text}\n"


def test_output_is_marked_with_the_name_and_success_is_zero(write_launch_file):
    path = write_launch_file(
        'Node(package="scripts_package", executable="echo_node", name="echo", arguments=["hello"]),'
    )
    code, out, err = run_launch(path)
    assert (code, err) == (0, "")
    assert "[echo-1] hello --ros-args -r __node:=echo\n" in out


@pytest.mark.parametrize(
    ("executable", "end"), [("failing_node", "exit code 3"), ("crashing_node", "exit code -11 (SIGSEGV)")]
)
def test_death_of_a_required_node_stops_the_rest_and_is_named(write_launch_file, executable, end):
    path = write_launch_file(f"""
        Node(package="scripts_package", executable="sleep_node"),
        Node(package="scripts_package", executable="{executable}", on_exit=Shutdown(reason="{executable} is needed")),
    """)
    code, out, _ = run_launch(path)
    assert code == 1
    assert f"[launch] error: {executable}-2 died: {end}\n[launch] shutting down: {executable} is needed\n" in out
    assert "[launch] sleep_node-1: ended, exit code -2 (SIGINT)\n" in out


def test_exit_handler_of_one_node_starts_another(write_launch_file):
    path = write_launch_file("""
        first := Node(package="scripts_package", executable="echo_node", arguments=["one"]),
        RegisterEventHandler(OnProcessExit(target_action=first, on_exit=[TimerAction(
            period=0.1, actions=[Node(package="scripts_package", executable="echo_node", name="second")])])),
    """)
    code, out, _ = run_launch(path)
    assert code == 0
    assert out.index("one") < out.index("[second-")


@pytest.mark.parametrize(
    ("executable", "code", "said"),
    [("echo_node", 0, "[second-2] it went well"), ("failing_node", 1, "[launch] shutting down: 3")],
)
@pytest.mark.parametrize(
    "way",
    [
        "Node({}, on_exit={})",
        "node := Node({}), RegisterEventHandler(OnProcessExit(target_action=node, on_exit={}))",
    ],
)
def test_a_function_decides_by_the_exit_code_what_follows(write_launch_file, executable, code, said, way):
    follow = (
        "lambda event, context: [Node(package='scripts_package', executable='echo_node', name='second', "
        "arguments=['it went well'])] if event.returncode == 0 else [Shutdown(reason=str(event.returncode))]"
    )
    path = write_launch_file(way.format(f"package='scripts_package', executable='{executable}'", follow) + ",")
    ended, out, _ = run_launch(path)
    assert ended == code and said in out
    assert ("[second-" in out) == (code == 0)
    assert "ends: second: " in run_launch(path, "--dry-run")[1]


def test_respawned_node_starts_again(write_launch_file):
    path = write_launch_file("""
        Node(package="scripts_package", executable="failing_node", respawn=True, respawn_delay=0.05),
        TimerAction(period=1.0, actions=[Shutdown(reason="enough")]),
    """)
    assert run_launch(path)[1].count("about to fail") > 3


@pytest.mark.parametrize(
    ("executable", "timeouts", "last_signal"),
    [
        ("stubborn_node", 'sigterm_timeout="0.3"', "SIGTERM"),
        ("deaf_node", 'sigterm_timeout="0.3", sigkill_timeout="0.3"', "SIGKILL"),
    ],
)
def test_process_that_does_not_stop_is_stopped_more_firmly(write_launch_file, executable, timeouts, last_signal):
    path = write_launch_file(f'Node(package="scripts_package", executable="{executable}", {timeouts}),')
    process = start_launch(path)
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"still running, sending {last_signal}" in out
    assert f"({last_signal})" in out


def test_second_interrupt_does_not_wait(write_launch_file):
    path = write_launch_file('Node(package="scripts_package", executable="stubborn_node", sigterm_timeout="60"),')
    process = start_launch(path)
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    read_until(process, "shutting down: SIGINT")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert time.monotonic() - began < 5.0


def test_interrupt_ends_well_and_leaves_no_process_behind(write_launch_file):
    path = write_launch_file('Node(package="scripts_package", executable="parent_node"),')
    process = start_launch(path)
    seen = read_until(process, "ready")
    group = int(seen.split("pid ")[1].split()[0])
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, out
    deadline = time.monotonic() + 2.0
    while alive_in_group(group) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive_in_group(group)


def test_launch_ends_when_nobody_reads_its_output(write_launch_file):
    path = write_launch_file('Node(package="scripts_package", executable="chatty_node"),')
    process = start_launch(path)
    read_until(process, "chat")
    process.stdout.close()
    assert process.wait(20) == 0
    assert process.stderr.read() == ""


def test_folder_named_launch_in_the_working_directory_is_not_taken_for_ros(write_launch_file, tmp_path, monkeypatch):
    path = write_launch_file('LogInfo(msg="here"),')
    (tmp_path / "launch").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_launch(path, "--dry-run") == (0, "log: here\n", "")


def test_ros2_launch_is_used_where_it_is_installed(write_launch_file, tmp_path, monkeypatch):
    path = write_launch_file("")
    (tmp_path / "launch_ros").mkdir()
    (tmp_path / "launch.py").write_text("class LaunchDescription: pass")
    (tmp_path / "launch_ros/__init__.py").touch()
    (tmp_path / "launch_ros/actions.py").write_text("class Node: pass")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run_launch(path)
    assert code == 1 and "source ROS 2's setup.bash" in err
    (tmp_path / "ros2").write_text('#!/bin/sh\necho "$@"\nexit 5\n')
    (tmp_path / "ros2").chmod(0o755)
    assert run_launch(path, "a:=1", "--show-args") == (5, f"launch --show-args {path} a:=1\n", "")


def test_arguments_are_split_at_the_first_separator():
    assert parse_launch_arguments(["a:=1", "b:=x:=y", "c:="]) == {"a": "1", "b": "x:=y", "c": ""}
    with pytest.raises(LaunchError, match="':=1' must be written key:=value"):
        parse_launch_arguments([":=1"])

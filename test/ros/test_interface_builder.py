"""The interface builder: builds what is new, skips what is not, and says what is wrong."""

import os
import subprocess
import sys

import pytest

from humanoid_control.ros import interface_builder
from humanoid_control.ros.environment import environment_for_children, is_installed_from_wheels
from humanoid_control.ros.interface_builder import InterfaceBuildError, build, main

pytestmark = pytest.mark.skipif(not is_installed_from_wheels(), reason="a ROS 2 installation builds with colcon")

PACKAGE_XML = """<package format="3"><name>{name}</name><depend>{depend}</depend></package>"""

ROUND_TRIP = """
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from tiny_msgs.msg import Sample
sample = Sample(values=np.array([1.0, 2.0, 3.0]), label="short", more=[4, 5])
back = deserialize_message(serialize_message(sample), Sample)
assert back == sample, back
print("same")
"""


def write_package(folder, definition, depend="std_msgs"):
    (folder / "msg").mkdir(parents=True, exist_ok=True)
    (folder / "package.xml").write_text(PACKAGE_XML.format(name=folder.name, depend=depend))
    (folder / "msg/Sample.msg").write_text(definition)
    return folder


def test_package_is_built_once_and_its_messages_go_over_the_wire(tmp_path):
    source = write_package(tmp_path / "tiny_msgs", "float64[3] values\nstring<=8 label\nint32[<=4] more\n")
    prefix = tmp_path / "prefix"
    assert build(source, prefix)
    assert not build(source, prefix)

    environment = environment_for_children()
    environment["AMENT_PREFIX_PATH"] = f"{prefix}{os.pathsep}{environment['AMENT_PREFIX_PATH']}"
    environment["PYTHONPATH"] = str(next((prefix / "lib").glob("python*/site-packages")))
    environment["LD_LIBRARY_PATH"] = str(prefix / "lib")
    done = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "same\n", done.stderr

    write_package(source, "float64[2] values\n")
    assert build(source, prefix)


def test_wrong_definition_is_one_line_that_names_it(tmp_path, capsys):
    source = write_package(tmp_path / "tiny_msgs", "flot64 value\n")
    assert main([str(source)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: tiny_msgs: the generators refuse its definitions:")
    assert "'flot64 value' of 'tiny_msgs/Sample'" in error and "\n" not in error


def test_dependency_that_is_not_installed_is_named(tmp_path):
    source = write_package(tmp_path / "tiny_msgs", "float64 value\n", depend="missing_msgs")
    with pytest.raises(InterfaceBuildError, match="depends on missing_msgs, which is not installed here"):
        build(source, tmp_path / "prefix")


def test_missing_compiler_comes_with_the_command_that_installs_it(tmp_path, monkeypatch):
    source = write_package(tmp_path / "tiny_msgs", "float64 value\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InterfaceBuildError, match="g.. is missing; run: sudo apt-get update && sudo apt-get install gcc"
    ):
        build(source, tmp_path / "prefix")


def test_failing_compiler_is_quoted(tmp_path, monkeypatch):
    source = write_package(tmp_path / "tiny_msgs", "float64 value\n")
    for name in ("gcc", "g++"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'x.c:1: error: disk is full' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(InterfaceBuildError, match=r"failed \(exit 1\): x.c:1: error: disk is full"):
        build(source, tmp_path / "prefix")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "holds no package.xml"),
        (lambda folder: (folder / "package.xml").write_text("<package>"), "is no XML"),
        (lambda folder: (folder / "package.xml").write_text(PACKAGE_XML.format(name="a", depend="b")), "holds no msg"),
    ],
)
def test_folder_that_is_no_interface_package_is_refused(tmp_path, prepare, message):
    prepare(tmp_path)
    with pytest.raises(InterfaceBuildError, match=message):
        build(tmp_path, tmp_path / "prefix")


def test_without_wheels_colcon_is_named(tmp_path, monkeypatch):
    source = write_package(tmp_path / "tiny_msgs", "float64 value\n")
    monkeypatch.setattr(interface_builder, "is_installed_from_wheels", lambda: False)
    with pytest.raises(InterfaceBuildError, match="colcon build"):
        build(source, tmp_path / "prefix")


def test_usage_is_shown_without_folders(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err

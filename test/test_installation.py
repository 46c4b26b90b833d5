"""What pip and colcon are told agrees with itself and with what is there."""

import importlib.metadata
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from humanoid_control import installation
from humanoid_control.errors import ConfigurationError
from humanoid_control.installation import share_folder

ROOT = share_folder()

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not a checkout")


def ask_setup(question):
    """What setup.py answers; without build commands it does nothing else."""
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", question], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def read_required_names():
    return {
        re.split(r"[\[;<>= ]", requirement)[0].lower()
        for requirement in importlib.metadata.requires("humanoid_control")
    }


def read_pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_direct_dependency_is_pinned_with_a_reason():
    names = read_required_names()
    assert "numpy" in names and "ros-rclpy" in names and "torch" in names
    reasons = {}
    for line in read_pins():
        requirement, _, reason = line.partition("#")
        reasons.setdefault(requirement.split("==")[0], []).append(reason.strip())
    for name in names:
        assert name in reasons, f"{name} is not pinned"
        assert all(reasons[name]), f"{name} has no reason beside it"


def test_every_pin_is_exact():
    for line in read_pins():
        assert re.match(r"[a-z0-9-]+==[0-9][0-9a-z.+]*( ; python_version [<>=]+ '3\.\d+')?( +# .+)?$", line), line


def test_versions_agree():
    version = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    assert ask_setup("--version") == version


def test_package_xml_names_every_ros_package_that_is_imported():
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    named = {element.text for tag in ("depend", "exec_depend") for element in manifest.findall(tag)}
    imported = set()
    for folder in ("humanoid_control", "perception", "policies"):
        for file in (ROOT / folder).rglob("*.py"):
            imported |= set(
                re.findall(r"^\s*(?:from|import) (\w+_(?:msgs|interfaces|srvs)|rclpy)\b", file.read_text(), re.M)
            )
    assert imported <= named


def test_share_folder_is_found_beside_an_installed_package(monkeypatch, tmp_path):
    package = tmp_path / "lib/python3/site-packages/humanoid_control"
    (tmp_path / "share/humanoid_control").mkdir(parents=True)
    monkeypatch.setattr(installation, "__file__", str(package / "installation.py"))
    with pytest.raises(ConfigurationError, match="is missing beside"):
        share_folder()
    (tmp_path / "share/humanoid_control/package.xml").touch()
    assert share_folder() == tmp_path / "share/humanoid_control"

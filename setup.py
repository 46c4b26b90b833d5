"""Installs humanoid_control, perception and policies: with pip, or with colcon as an ament_python package.

What is installed is found, not listed: every `*_node.py` is an executable of the same name, and whatever lies in
launch/, config/ and urdf/ is data.
"""

import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = "humanoid_control"
ROOT = Path(__file__).resolve().parent
SHARE = f"share/{NAME}"

# The wrapper's own folder may be reached through a link, and the environment may be moved: hence no absolute path.
WRAPPER = '#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/../../bin/{name}" "$@"\n'


def find_nodes() -> dict[str, str]:
    """Every node's name and the module it lies in."""
    folders = (ROOT / NAME / "nodes", ROOT / "perception", ROOT / "policies")
    files = sorted(file for folder in folders for file in folder.glob("*_node.py"))
    return {file.stem: ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}


def list_data(folder: str) -> list[tuple[str, list[str]]]:
    """The files below one folder, as `data_files` wants them: a row for each folder on the way."""
    rows = []
    for path, folders, files in os.walk(ROOT / folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        relative = Path(path).relative_to(ROOT)
        if files:
            rows.append((f"{SHARE}/{relative}", [str(relative / name) for name in sorted(files)]))
    return rows


def write_wrappers(nodes: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Executables in lib/<package> for an installation by pip, which itself writes to bin/ only."""
    folder = ROOT / "build" / "wrappers"
    folder.mkdir(parents=True, exist_ok=True)
    for name in nodes:
        (folder / name).write_text(WRAPPER.format(name=name))
        (folder / name).chmod(0o755)
    return [(f"lib/{NAME}", [f"build/wrappers/{name}" for name in nodes])]


nodes = find_nodes()
data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
    (SHARE, ["package.xml"]),
    *(row for folder in ("launch", "config", "urdf") for row in list_data(folder)),
]
if "bdist_wheel" in sys.argv:
    data_files += write_wrappers(nodes)
elif "editable_wheel" in sys.argv:
    data_files = []  # scripts/set_up.sh links to the checkout instead: copies would age

setup(
    name=NAME,
    version="0.1.0",
    description="A humanoid that carries totes: control, perception and policies, on ROS 2",
    license="Apache-2.0",
    maintainer="The humanoid_control developers",
    maintainer_email="humanoid-control@users.noreply.github.com",
    python_requires=">=3.10",
    packages=find_packages(
        include=[f"{package}{end}" for package in (NAME, "perception", "policies") for end in ("", ".*")]
    ),
    package_data={"": ["*.html", "*.css", "*.js", "*.svg", "*.json", "*.yaml"], "perception": ["models/*"], "policies": ["learned/models/*"]},
    data_files=data_files,
    zip_safe=True,
    # Names only: the versions, and why each is needed, are in constraints.txt.
    install_requires=[
        "setuptools",
        "numpy",
        "scipy",
        "pin",
        "mujoco",
        "numba",
        "PyYAML",
        "pydantic",
        "shapely",
        "Jinja2",
        "matplotlib",
        "packaging",
        "rich",
        "av",
        "transforms3d",
        "opencv-python-headless",
        "onnxruntime",
        "pyarrow",
        "mcap",
        "mcap-ros2-support",
        "aiohttp",
        "cryptography",
    ],
    extras_require={
        "ros": ["ros-rclpy[fastrtps]", "ros-common-interfaces"],  # where no ROS 2 is installed
        "test": ["pytest", "pytest-timeout", "pytest-xdist", "daqp", "rosbags"],
        "bench": ["daqp", "mink", "pin-pink", "qpsolvers", "quadprog"],
        "train": ["torch", "onnx"],
        "ray": ["ray"],
        "browser": ["playwright"],
    },
    entry_points={
        "console_scripts": [
            "humanoid = humanoid_control.cli:main",
            *(f"{name} = {module}:main" for name, module in nodes.items()),
        ],
    },
)

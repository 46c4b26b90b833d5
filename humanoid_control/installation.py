"""Where the package's data lies: launch files, parameters, the robot's description."""

from __future__ import annotations

from pathlib import Path

from humanoid_control.errors import ConfigurationError

_NAME = "humanoid_control"


def share_folder() -> Path:
    """The folder that holds `launch/`, `config/` and `urdf/`: the checkout's root, or `share/` where it is installed.

    Raises:
        ConfigurationError: neither is there.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "package.xml").is_file():
        return package.parent
    for prefix in package.parents:
        share = prefix / "share" / _NAME
        if (share / "package.xml").is_file():
            return share
    raise ConfigurationError(f"share/{_NAME} is missing beside {package}; install the package anew: make setup")

"""The process environment that ROS 2 needs when it was installed from wheels.

A normal ROS 2 installation is sourced from a shell, which sets all this. The wheels instead turn the Python
environment itself into an ament prefix and re-exec Python once at its start to set LD_LIBRARY_PATH; a guard variable
keeps that from happening twice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from humanoid_control.errors import ConfigurationError

# Above it the port numbers that RTPS derives from the domain end (7400 + 250 domain).
_HIGHEST_DOMAIN = 232
_REEXEC_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"


def is_installed_from_wheels(prefix: str = sys.prefix) -> bool:
    """Whether the Python environment at `prefix` is itself the ROS 2 installation."""
    return (Path(prefix) / "share/ament_index/resource_index/packages/rclpy").exists()


def prepare_environment() -> None:
    """Lets ament find packages in this process and in those it starts; call before the first ROS look-up."""
    if not is_installed_from_wheels():
        return
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    if sys.prefix not in prefixes:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([sys.prefix, *prefixes])


def check_domain() -> None:
    """Refuses a DDS domain that is none, at which DDS would end the process without a word.

    Raises:
        ConfigurationError: so it is.
    """
    domain = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not (domain.isdecimal() and int(domain) <= _HIGHEST_DOMAIN):
        raise ConfigurationError(f"ROS_DOMAIN_ID is '{domain}'; it must be a whole number from 0 to {_HIGHEST_DOMAIN}")


def environment_for_children(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment to start another process with, whichever Python environment it belongs to.

    Without the guard a Python of another environment sets its own library path; without ours it does not find our
    libraries first.
    """
    result = dict(environment)
    if result.pop(_REEXEC_GUARD, None) is not None:
        result["LD_LIBRARY_PATH"] = os.pathsep.join(
            path
            for path in result.get("LD_LIBRARY_PATH", "").split(os.pathsep)
            if path and not path.startswith(sys.prefix + os.sep)
        )
        if not result["LD_LIBRARY_PATH"]:
            del result["LD_LIBRARY_PATH"]
    return result

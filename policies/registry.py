"""Which policies there are, by their names on the command line and in launch files. Knows nothing of simulation."""

from __future__ import annotations

from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from policies.policy import Policy
from policies.scripted.carry_out_order import CarryOutOrder

POLICIES = {"scripted": CarryOutOrder}


def make_policy(name: str, model: RobotModel) -> Policy:
    """A policy by its name.

    Raises:
        ConfigurationError: if there is none of that name.
    """
    if name not in POLICIES:
        raise ConfigurationError(f"no policy '{name}'; there is {', '.join(POLICIES)}")
    return POLICIES[name](model)

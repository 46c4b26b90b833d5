"""What tests of ROS parts share: a DDS domain of their own on this machine, and an environment that ROS can look up."""

import os
import random

import pytest

from humanoid_control.ros.environment import prepare_environment


@pytest.fixture(scope="session", autouse=True)
def ros_environment():
    """Keeps tests that run at the same time on one machine, or on one network, from hearing each other."""
    prepare_environment()
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randrange(1, 100))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

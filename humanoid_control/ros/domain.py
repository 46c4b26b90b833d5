"""A ROS domain of one's own: nodes in it hear nobody else on this machine, and nobody beyond it."""

from __future__ import annotations

import os
import random
import socket

from humanoid_control.errors import ConfigurationError

DISCOVERY_PORT, PORTS_PER_DOMAIN = 7400, 250  # as RTPS has them
LAST_DOMAIN = 100  # above, the ports are those that Linux gives away


def use_domain(domain: int | None = None) -> None:
    """This process, and those it starts, are in a domain from now on, on this machine alone; call before ROS starts.

    Args:
        domain: None: one that nobody uses.

    Raises:
        ConfigurationError: all are taken.
    """
    os.environ["ROS_DOMAIN_ID"] = str(domain if domain is not None else find_free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.pop("ROS_LOCALHOST_ONLY", None)  # deprecated, and it would win


def find_free_domain() -> int:
    """A ROS domain whose first port nobody uses.

    Raises:
        ConfigurationError: all are taken.
    """
    domains = list(range(1, LAST_DOMAIN + 1))
    random.SystemRandom().shuffle(domains)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", DISCOVERY_PORT + PORTS_PER_DOMAIN * domain + 10))  # of the domain's first participant
            except OSError:
                continue
            return domain
    raise ConfigurationError("every ROS domain from 1 to 100 is in use; stop what you do not need, or name one with --domain")

"""Lists of pose sources, as they are given on the command line."""

from __future__ import annotations

from humanoid_control.errors import ConfigurationError
from perception.poses import RUNGS


def parse_rungs(text: str) -> tuple[str, ...]:
    """The rungs of a list with commas.

    Raises:
        ConfigurationError: it is empty, or one is unknown or there twice.
    """
    rungs = tuple(part.strip() for part in text.split(","))
    if not any(rungs):
        raise ConfigurationError(f"--poses '{text}' names no pose source; allowed: {', '.join(RUNGS)}.")
    for rung in rungs:
        if rung not in RUNGS:
            raise ConfigurationError(f"There is no pose source '{rung}'; allowed: {', '.join(RUNGS)}.")
        if rungs.count(rung) > 1:
            raise ConfigurationError(f"--poses names '{rung}' {rungs.count(rung)} times; once is enough.")
    return rungs

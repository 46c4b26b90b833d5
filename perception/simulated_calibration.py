"""The calibration file of a simulated robot: what `humanoid calibrate` leaves of its mounting errors, drawn, not measured.

`python -m perception.simulated_calibration --factory FILE --seed N --out FILE`

A calibration takes minutes; a launch cannot wait for it. What this writes is where the episode's cameras really sit, off by
as much as a calibration leaves, with the covariance of that. It is the simulation's side that writes it: perception gets a
file, as on a real robot, and knows nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from humanoid_control.errors import HumanoidControlError
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.simulation.episode import Episode, draw_episode
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from perception.mounting import MountingEstimate, save_mounting
from perception.true_cameras import true_mounting

LEFT_BY_CALIBRATION = np.repeat([5e-4, 7e-4], 3)  # m and rad, standard deviations of what `humanoid calibrate` leaves
NOTE = "Drawn from a simulated episode, not measured: what `humanoid calibrate` leaves of its mounting errors."


def drawn_calibration(episode: Episode, cameras: Iterable[str]) -> dict[str, MountingEstimate]:
    """Returns what a calibration would say of each camera.

    Args:
        episode: whose mounting errors they are.
        cameras: their names, in an order that is always the same.
    """
    random = episode.stream("calibration")
    return {name: MountingEstimate(true_mounting(episode, name) + random.normal(size=6) * LEFT_BY_CALIBRATION,
                                   np.diag(LEFT_BY_CALIBRATION**2)) for name in cameras}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Writes the file."""
    parser = argparse.ArgumentParser(prog="python -m perception.simulated_calibration", description=NOTE)
    parser.add_argument("--factory", default="line_side", help=DESCRIPTION)
    parser.add_argument("--seed", type=int, default=0, help="of the episode")
    parser.add_argument("--out", type=Path, required=True, help="calibration file to write; its folder is made")
    given = parser.parse_args(arguments)
    try:
        episode = draw_episode(find_factory(given.factory), given.seed)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        note = f"{NOTE}\nFactory {given.factory}, seed {given.seed}."
        save_mounting(given.out, drawn_calibration(episode, CAMERA_FIELD_OF_VIEW), note=note)
    except (HumanoidControlError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {given.out}: {NOTE[0].lower()}{NOTE[1:]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

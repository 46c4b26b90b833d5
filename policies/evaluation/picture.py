"""A picture of a factory at work, nothing drawn at random, for documents: `python -m policies.evaluation.picture --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.mission.factory import Randomise, load_factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.cameras import CameraRenderer, outside_camera
from policies.registry import make_policy
from policies.runtime import run_episode

CLOSE_DISTANCE = 3.6  # m from the robot
CLOSE_ELEVATION = -18.0  # degrees
OVERSAMPLING = 2  # times the size asked for, to smooth edges


class _Taken(Exception):
    """The picture is taken; the rest of the episode is of no interest."""


def take_picture(model: RobotModel, factory_path: Path, *, subtask: str, after_s: float, close: bool,
                 size: tuple[int, int]) -> Image.Image:  # fmt: skip
    """The orders of a factory being carried out, some seconds into a sub-task.

    Args:
        model: the robot.
        factory_path: of the factory file.
        subtask: its name; empty for the start.
        after_s: s into it.
        close: of the robot, rather than of the whole floor.
        size: (2,) pixels.

    Raises:
        ConfigurationError: if the episode ends before.
    """
    factory = load_factory(factory_path).model_copy(update={"randomise": Randomise()})
    pictures, began = [], []

    def look(floor, loop, output) -> None:
        data = floor.robot.data
        if not began and (not subtask or (output is not None and output.subtask == subtask)):
            began.append(data.time)
        if not began or data.time < began[0] + after_s:
            return
        width, height = (OVERSAMPLING * side for side in size)
        camera = outside_camera(floor.episode.factory, aspect=width / height)
        if close:
            camera.lookat[:] = [*data.qpos[:2], 0.75]
            camera.distance, camera.elevation = CLOSE_DISTANCE, CLOSE_ELEVATION
        with CameraRenderer(floor.robot.scene, pretty=True) as renderer:
            pictures.append(Image.fromarray(renderer.rgb(data, camera, width=width, height=height)))
        raise _Taken

    try:
        run_episode(model, factory, 0, policy=make_policy("scripted", model), on_tick=look)
    except _Taken:
        return pictures[0].resize(size, Image.Resampling.LANCZOS)
    raise ConfigurationError(f"The episode ends before {after_s} s of '{subtask}'.")


def main() -> int:
    """Takes the picture that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m policies.evaluation.picture", description=__doc__.split(":")[0])
    parser.add_argument("--factory", type=Path, required=True, metavar="FILE")
    parser.add_argument("--subtask", default="", help="such as carry; by default the start of the episode")
    parser.add_argument("--after", type=float, default=0.0, metavar="S", help="seconds into it")
    parser.add_argument("--close", action="store_true", help="of the robot, rather than of the whole floor")
    parser.add_argument("--size", type=int, nargs=2, default=(960, 540), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("out", type=Path, help="the PNG file")
    args = parser.parse_args()
    try:
        picture = take_picture(RobotModel.load(), args.factory, subtask=args.subtask, after_s=args.after,
                               close=args.close, size=tuple(args.size))  # fmt: skip
        picture.quantize(256, dither=Image.Dither.NONE).save(args.out, optimize=True)
    except (HumanoidControlError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

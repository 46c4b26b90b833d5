"""`humanoid episodes export`: recorded episodes as a LeRobotDataset v3.0. See docs/data.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from mcap.exceptions import McapError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.recording.card import CARD, SUCCESS, Card
from humanoid_control.recording.episodes import episodes_in
from humanoid_control.recording.quality import check_episode, digest_of_states
from humanoid_control.recording.reading import Recording
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import topics
from perception.simulated_cameras import HEIGHT, WIDTH
from policies.data import schema
from policies.data.demonstration import Demonstration
from policies.data.generate import EXIT_INTERRUPTED, FPS, parse_size
from policies.data.generation import FAILURES, Generation, check_size
from policies.data.lerobot_dataset import RECORDED_FACTS, Format
from policies.data.reader import Demonstrations
from policies.data.recorded import RecordedEpisode
from policies.data.staging import PackedEpisode, pack
from policies.evaluation.workers import available_cores, run_jobs

FASTEST = 50  # frames per second: beyond it, frames would only repeat what the policy said
NO_SEED = -1  # of an episode of a real robot


@dataclass(frozen=True)
class ExportPlan:
    """What is exported.

    Attributes:
        fps: frames per second.
        cameras: whose images are kept; none for numbers alone.
        width, height: of the images, in pixels.
        with_order: whether goals and ways are told, which only an order gives.
        keep_failures: whether episodes that failed are kept too, in a data set of their own.
        force: whether episodes are exported in which `check` finds problems.
    """

    fps: int
    cameras: tuple[str, ...]
    width: int
    height: int
    with_order: bool
    keep_failures: bool
    force: bool

    def check(self) -> None:
        """Refuses what cannot be.

        Raises:
            ConfigurationError: rate or size are out of range.
        """
        if not 1 <= self.fps <= FASTEST:
            raise ConfigurationError(f"--fps is {self.fps}; 1 to {FASTEST} is allowed.")
        check_size(self.width, self.height)

    def claim(self) -> dict:
        """What must agree for episodes to lie in one data set."""
        return {"format": 2, "recorded": True, "fps": self.fps, "cameras": list(self.cameras), "width": self.width, "height": self.height,
                "with_order": self.with_order, "keep_failures": self.keep_failures}  # fmt: skip

    def columns(self, model: RobotModel) -> tuple[schema.Column, ...]:
        """Of a frame."""
        return schema.recorded_columns(model, self.cameras, with_order=self.with_order)

    def format(self) -> Format:
        """Of the data set."""
        return Format(self.fps, self.cameras, self.width, self.height, self.columns(RobotModel.load()), RECORDED_FACTS)


@dataclass(frozen=True)
class Refusal:
    """An episode that is not exported.

    Attributes:
        name: of the episode.
        reasons: why.
    """

    name: str
    reasons: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid episodes export`."""
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="EPISODES", help="episodes, or folders of episodes")
    add("--out", required=True, type=Path, metavar="FOLDER", help="the data set; what is there already is kept and added to")
    add("--fps", type=int, default=FPS, metavar="HZ", help=f"frames per second (default {FPS})")
    add("--cameras", metavar="NAME[,NAME...]", help="whose images are kept (default: of which there are images in every episode)")
    add("--no-images", action="store_true", help="numbers alone")
    add("--size", default=f"{WIDTH}x{HEIGHT}", metavar="WxH", help=f"of images, in pixels (default {WIDTH}x{HEIGHT})")
    add("--without-order", action="store_true", help="leave out goals and ways, which only a recorded order and the factory file tell")
    add("--keep-failures", action="store_true", help=f"export episodes that failed too, to a data set of their own, FOLDER/{FAILURES}")
    add("--force", action="store_true", help="also episodes in which `humanoid episodes check` finds problems")
    add("--workers", type=int, metavar="W", help="processes (default: one a core)")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; 0 when no episode was refused that should have been exported.

    Raises:
        HumanoidControlError: whatever the user can put right.
    """
    if args.workers is not None and args.workers < 1:
        raise ConfigurationError(f"--workers is {args.workers}; at least 1 is needed.")
    console = Console(highlight=False, soft_wrap=True)
    folders = list(dict.fromkeys(folder.resolve() for given in args.folders for folder in episodes_in(given)))
    names = [folder.name for folder in folders]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"two episodes are called {twice}; give one of them, or rename its folder.")
    wanted, passed_over = [], []
    for folder in folders:
        outcome = Card.read(folder / CARD).outcome
        if outcome == SUCCESS or args.keep_failures:
            wanted.append(folder)
        else:
            passed_over.append(f"{folder.name}: its outcome is {outcome}")
    for line in passed_over:
        console.print(f"passed over: {line}")
    if not wanted:
        raise ConfigurationError(f"none of {len(folders)} episodes was a success; put it right with `humanoid episodes label`, "
                                 "or give --keep-failures.")  # fmt: skip
    plan = _plan(args, wanted)
    return _export(console, args, plan, wanted)


def _plan(args: argparse.Namespace, folders: list[Path]) -> ExportPlan:
    width, height = parse_size(args.size)
    there = [set(_cameras_of(folder)) for folder in folders]
    if args.no_images:
        cameras = ()
    elif args.cameras:
        cameras = tuple(name.strip() for name in args.cameras.split(","))
    else:
        cameras = tuple(camera for camera in topics.CAMERAS if all(camera in known for known in there))
    plan = ExportPlan(args.fps, cameras, width, height, not args.without_order, args.keep_failures, args.force)
    plan.check()
    return plan


def _cameras_of(folder: Path) -> list[str]:
    """By its card: a camera that sent nothing is none."""
    messages = Card.read(folder / CARD).messages
    return [camera for camera in topics.CAMERAS if any(name.endswith(f"/{camera}/image_raw/compressed") and n for name, n in messages.items())]


def _export(console: Console, args: argparse.Namespace, plan: ExportPlan, folders: list[Path]) -> int:
    refused: list[Refusal] = []
    began = time.perf_counter()
    with Generation(args.out, plan) as generation:
        left = [folder for folder in folders if folder.name not in generation.attempts]
        known = {attempt["states"]: name for name, attempt in generation.attempts.items()}
        workers = min(args.workers or available_cores(), max(len(left), 1))
        bar = Progress(TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True,
                       disable=not console.is_terminal)  # fmt: skip
        try:
            with bar:
                task = bar.add_task("", total=len(folders), completed=len(folders) - len(left))
                for made in run_jobs(make_export_worker, (plan,), left, workers=workers) if left else ():
                    bar.advance(task)
                    if isinstance(made, PackedEpisode) and known.setdefault(made.record["states"], made.name) != made.name:
                        made = Refusal(made.name, (f"duplicate: the same as {known[made.record['states']]}",))
                    if isinstance(made, Refusal):
                        refused.append(made)
                        console.print(f"refused: {made.name}: {'; '.join(made.reasons)}")
                    else:
                        generation.keep(made)
        except KeyboardInterrupt:
            print(f"interrupted: {len(generation.attempts)} episodes are kept, and the same command goes on", file=sys.stderr)
            return EXIT_INTERRUPTED
        added = generation.assemble()
        if not any(order["kept"] for attempt in generation.attempts.values() for order in attempt["orders"]):
            raise ConfigurationError(f"none of {len(folders)} episodes could be exported; each was refused as told above.")
    if (args.out / "meta" / "info.json").exists():
        data = Demonstrations(args.out)
        console.print(f"{args.out}: {added} demonstrations added, {len(data)} in all, {data.frames} frames, cameras: "
                      f"{', '.join(plan.cameras) or 'none'}; {time.perf_counter() - began:.0f} s")  # fmt: skip
    if refused and not args.force:
        console.print(f"{len(refused)} refused; --force exports what `check` finds fault with")
    return 1 if refused else 0


def make_export_worker(plan: ExportPlan) -> Callable[..., PackedEpisode | Refusal]:
    """The function that makes an episode's demonstrations, for `run_jobs`."""
    model = RobotModel.load()

    def export(folder: Path, _send: object = None) -> PackedEpisode | Refusal:
        began = time.perf_counter()
        faults = tuple(f"{finding.kind}: {finding.text}" for finding in check_episode(folder) if finding.is_error)
        if faults and not plan.force:
            return Refusal(folder.name, faults)
        try:
            recording = Recording(folder)
            made = RecordedEpisode(recording, model, with_order=plan.with_order).demonstrations(
                rate_hz=plan.fps, cameras=plan.cameras, width=plan.width, height=plan.height)
            record = _record(recording, made) | {"states": digest_of_states(folder)}
        except (HumanoidControlError, McapError, OSError) as error:
            return Refusal(folder.name, (str(error),))
        record["wall_s"] = round(time.perf_counter() - began, 3)
        return pack(folder.name, record, made, columns=plan.columns(model), keep_failures=plan.keep_failures)

    return export


def _record(recording: Recording, made: list[Demonstration]) -> dict:
    """What is kept of an episode beside its frames."""
    card = recording.card
    statuses = recording.stream(topics.POLICY_STATUS).messages()
    policies = sorted({status.policy for status in statuses if status.policy})
    driven = np.concatenate([demonstration.columns[schema.INTERVENTION] for demonstration in made])
    return {
        "seed": NO_SEED if card.seed is None else card.seed, "factory": card.factory, "factory_sha256": card.hashes.get("factory", ""),
        "noise": 0.0, "layouts": "", "model_sha256": card.hashes.get("model", ""), "code_sha256": card.hashes.get("code", ""),
        "versions": json.dumps(card.versions), "operator": card.operator, "policy": ", ".join(policies), "hashes": json.dumps(card.hashes),
        "recorded": datetime.fromtimestamp(card.begun_ns / 1e9, timezone.utc).isoformat(timespec="seconds"), "note": card.note,
        "segmented_by": card.segmented_by, "intervention_share": round(float(driven.mean()), 4),
    }  # fmt: skip

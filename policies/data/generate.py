"""`humanoid generate`: demonstrations of the scripted policy, as a LeRobotDataset v3.0. See docs/data.md."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from humanoid_control.bench.report import versions
from humanoid_control.errors import ConfigurationError
from humanoid_control.hashes import code_hash, file_hash
from humanoid_control.simulation.layouts import TRAINING
from perception.detector import FILES
from perception.network_file import DEFAULT_FOLDER
from perception.simulated_cameras import HEIGHT, WIDTH
from policies.data.diversity import check_diversity, write_card
from policies.data.errors import DataSetError
from policies.data.generation import FAILURES, FactoryText, Generation, Plan, RunJobs, done_orders, jobs_of
from policies.data.reader import Demonstrations
from policies.evaluation.workers import available_cores, run_jobs
from policies.registry import learner_of

BACKENDS = ("local", "ray")
CAMERAS = "head_camera,left_wrist_camera,right_wrist_camera"
FPS = 10
NOISE = 0.2
EXIT_INTERRUPTED = 130
SAY_PERIOD_S = 30.0  # between two lines where no bar can be drawn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid generate`."""
    add = parser.add_argument
    add("--factory", required=True, nargs="+", metavar="FILE", type=Path, help="factory files, taken in turn")
    add("--episodes", required=True, type=int, metavar="N", help="how many episodes, one a seed; every order done is a demonstration")
    add("--out", required=True, type=Path, metavar="DIR", help="the data set; what is there already is kept and added to")
    add("--seed", type=int, default=0, metavar="S", help="the first episode's (default 0); the others count on from it")
    add("--workers", type=int, metavar="W", help="processes (default: one a core, or the whole cluster); they do not change what comes out")
    add("--backend", choices=BACKENDS, default=BACKENDS[0], help="where: on this machine, or on a Ray cluster")
    add("--cameras", default=CAMERAS, metavar="NAME[,NAME...]", help=f"whose images are kept (default {CAMERAS})")
    add("--no-images", action="store_true", help="numbers alone: several times faster, and needs no OpenGL")
    add("--size", default=f"{WIDTH}x{HEIGHT}", metavar="WxH", help=f"of images, in pixels (default {WIDTH}x{HEIGHT})")
    add("--fps", type=int, default=FPS, metavar="HZ", help=f"frames per second (default {FPS})")
    add("--layouts", action="store_true",
        help=f"draw each episode's floor from its seed, of the split '{TRAINING}'; the other is for evaluation alone")  # fmt: skip
    add("--noise", type=float, default=NOISE, metavar="SHARE",
        help=f"share of the time in which the expert is pushed off its way (default {NOISE}); 0 for none")  # fmt: skip
    add("--learner", metavar="FILE", type=Path,
        help="checkpoint of a teacher or a student that drives by turns with the expert, who shows it what to do where it gets to")  # fmt: skip
    add("--sightings", action="store_true",
        help="keep what the eyes of a student see meanwhile, as numbers; it needs OpenGL")  # fmt: skip
    add("--keep-failures", action="store_true", help=f"write orders that failed to a data set of their own, DIR/{FAILURES}")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; 0 when all episodes were run and what was made is varied enough.

    Raises:
        HumanoidControlError: whatever the user can put right.
    """
    _check(args)
    plan = _plan(args)
    jobs = jobs_of(plan, episodes=args.episodes, seed=args.seed)
    backend = _backend(args.backend, args.learner)
    began, interrupted = time.perf_counter(), False
    with Generation(args.out, plan) as generation:
        left = generation.left(jobs)
        workers = min(args.workers or (available_cores() if args.backend == "local" else len(left)), max(len(left), 1))
        made: list[dict] = []
        try:
            with _Line(len(jobs), len(jobs) - len(left)) as line:
                for record in generation.run(left, run_jobs=backend, workers=workers):
                    made.append(record)
                    line.show(len(jobs) - len(left) + len(made), made)
        except KeyboardInterrupt:
            interrupted = True
        if interrupted:
            print(f"interrupted after {len(jobs) - len(left) + len(made)} of {len(jobs)} episodes: they are kept, and the same command "
                  "goes on", file=sys.stderr)  # fmt: skip
            return EXIT_INTERRUPTED
        added = generation.assemble()
        attempts = [generation.attempts[name] for name in sorted(generation.attempts)]
        if done_orders(attempts)[0] == 0:
            raise DataSetError(f"none of the {len(attempts)} episodes was done, so there is no data set; {_first_failure(attempts)}")
        data = Demonstrations(args.out)
        card = write_card(data, attempts)
    _print(args.out, card, added, made, workers=workers, wall_s=time.perf_counter() - began)
    check_diversity(card)
    return 0


def _check(args: argparse.Namespace) -> None:
    for option, value in (("episodes", args.episodes), ("workers", args.workers)):
        if value is not None and value < 1:
            raise ConfigurationError(f"--{option} is {value}; at least 1 is needed.")
    if args.seed < 0:
        raise ConfigurationError(f"--seed is {args.seed}; 0 or more is allowed.")


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in pixels, of `--size`.

    Raises:
        ConfigurationError: it is none.
    """
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise ConfigurationError(f"--size is '{text}'; give width and height as in {WIDTH}x{HEIGHT}.")
    return int(width), int(height)


def _plan(args: argparse.Namespace) -> Plan:
    width, height = parse_size(args.size)
    cameras = () if args.no_images else tuple(name.strip() for name in args.cameras.split(","))
    return Plan(
        factories=tuple(FactoryText.read(path) for path in args.factory), fps=args.fps, cameras=cameras, width=width,
        height=height, noise=args.noise, layouts=args.layouts, learner=learner_of(args.learner) if args.learner else "",
        checkpoint=str(args.learner or ""), checkpoint_sha256=file_hash(args.learner) if args.learner else "",
        keep_failures=args.keep_failures, sightings=eyes_hash() if args.sightings else "", versions=json.dumps(versions()), code_sha256=code_hash(),
    )  # fmt: skip


def eyes_hash() -> str:
    """Of the networks by which a student's eyes see."""
    return " ".join(file_hash(DEFAULT_FOLDER / f"{name}.onnx") for name in FILES.values())


def _backend(name: str, learner: Path | None) -> RunJobs:
    if name == "local":
        return run_jobs
    if learner:
        raise ConfigurationError("--learner reads its checkpoint from this machine's disk; --backend ray does not go with it.")
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("--backend ray needs the package ray; install it with: scripts/set_up.sh ray")
    from policies.data.ray_workers import run_jobs_on_ray  # slow to import, and an extra

    return run_jobs_on_ray


def _first_failure(attempts: list[dict]) -> str:
    order = attempts[0]["orders"][0]
    return f"the first failed with {order['outcome']}: {order['detail']}"


class _Line:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, done: int) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"),
                             TimeElapsedColumn(), TimeRemainingColumn(), console=self._console, transient=True,
                             disable=not self._console.is_terminal)  # fmt: skip
        self._task = self._bar.add_task("", total=total, completed=done, text="")
        self._total, self._said_s = total, time.monotonic()

    def __enter__(self) -> _Line:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: int, made: list[dict]) -> None:
        """How far it is."""
        good, begun = done_orders(made)
        text = f"{good} of {begun} orders done"
        self._bar.update(self._task, completed=done, text=text)
        if not self._console.is_terminal and time.monotonic() - self._said_s > SAY_PERIOD_S:
            self._said_s = time.monotonic()
            self._console.print(f"{done} of {self._total} episodes, {text}", highlight=False)


def _print(folder: Path, card: dict, added: int, made: list[dict], *, workers: int, wall_s: float) -> None:
    table = Table(title=f"demonstrations in {folder}", show_header=False)
    attempts = card["attempts"]
    table.add_row("added now", str(added))
    table.add_row("in all", f"{card['episodes']}, {card['frames']} frames, {card['hours']:g} hours")
    table.add_row("orders done", f"{attempts['done']} of {attempts['orders']}: "
                  f"{', '.join(f'{name} {count}' for name, count in attempts['by_outcome'].items())}")  # fmt: skip
    table.add_row("disturbed", f"{card['noise']['frames']:.0%} of frames; {card['noise']['whole_chunks_of_16']:.0%} begin 16 clean ones")
    table.add_row("near-duplicates", str(len(card["near_duplicates"])))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    table.add_row("on disk", f"{size / 2**20:.1f} MiB, {size / 2**20 / max(card['episodes'], 1):.2f} per demonstration")
    if made:
        table.add_row("wall clock", f"{wall_s:.0f} s with {workers} process{'es' if workers > 1 else ''}, "
                      f"{60 * len(made) / sum(record['wall_s'] for record in made):.1f} episodes a minute in each")  # fmt: skip
    Console().print(table)

"""`humanoid train WHAT`: trains what is learned: perception, the teacher of policies, its student, or many small ones to compare."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from humanoid_control.errors import ConfigurationError
from perception.training.pipeline import DEVICES, FIGURES, load_plan, steps
from policies.evaluation.journal import make_folder

if TYPE_CHECKING:
    from policies.learned.training.rounds import Report, Round, RoundsPlan

PERCEPTION, TEACHER, STUDENT, STUDY = "perception", "teacher", "student", "study"
WHAT = (PERCEPTION, TEACHER, STUDENT, STUDY)
SAY_PERIOD_S = 20.0  # between two lines where no bar can be drawn
GOES_ON = "stop with Ctrl-C, go on with the same command"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid train`."""
    add = parser.add_argument
    add("what", metavar="WHAT", choices=WHAT, help=f"one of {', '.join(WHAT)}")
    add("--config", metavar="FILE", type=Path, help="what differs from config/training/WHAT.yaml")
    add("--device", metavar="DEVICE", help=f"{', '.join(DEVICES)} (default: the file's)")
    add("--data", metavar="DIR", help="folder of images or demonstrations (default: the file's)")
    add("--out", metavar="DIR", help="folder of networks and checkpoints (default: the file's)")
    add("--workers", metavar="W", type=int, help="processes that render or demonstrate (default: the file's)")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; 0 when all steps are done. Called again, it goes on where it was stopped.

    Raises:
        HumanoidControlError: whatever the user can put right.
    """
    console = Console()
    train = {PERCEPTION: _train_perception, TEACHER: _train_teacher, STUDENT: _train_student, STUDY: _train_study}
    return train[args.what](args, console)


def _train_teacher(args: argparse.Namespace, console: Console) -> int:
    train_pose_policy = _training()  # before what needs PyTorch too: it says what to install
    from policies.learned.pose_policy import NAME
    from policies.learned.training.teacher import load_teacher_plan

    plan = load_teacher_plan(args.config, device=args.device, data=args.data, out=args.out, workers=args.workers)

    def learn(data: Sequence[Path], round_: Round, report: Report) -> Path:
        return train_pose_policy(data, round_.out, minutes=round_.minutes, seed=plan.seed, device=plan.device,
                                 begin_with=round_.before / f"{NAME}.pt" if round_.before else None, on_progress=partial(report, "training"))  # fmt: skip

    return _train_in_rounds(console, plan, "teacher", NAME, lambda round_: {"training": round_.minutes}, learn)


def _train_student(args: argparse.Namespace, console: Console) -> int:
    _training()
    from policies.learned.student import NAME
    from policies.learned.training.student import load_student_plan
    from policies.learned.training.train_student import EYES, POLICY, train_student

    plan = load_student_plan(args.config, device=args.device, data=args.data, out=args.out, workers=args.workers)

    def learn(data: Sequence[Path], round_: Round, report: Report) -> Path:
        return train_student(data, round_.out, teacher=plan.teacher_file, sight_minutes=plan.sight_minutes_of(round_), minutes=round_.minutes,
                             seed=plan.seed, device=plan.device, begin_with=round_.before, on_progress=report)  # fmt: skip

    return _train_in_rounds(console, plan, "student --poses tracker", NAME, lambda round_: {EYES: plan.sight_minutes_of(round_), POLICY: round_.minutes},
                            learn)  # fmt: skip


def _train_in_rounds(console: Console, plan: RoundsPlan, policy: str, network: str, minutes_of: Callable[[Round], dict[str, float]],
                     learn: Callable[[Sequence[Path], Round, Report], Path]) -> int:  # fmt: skip
    """Demonstrates and learns round by round.

    Args:
        console: told how it goes.
        plan: of the rounds.
        policy: how `humanoid evaluate` is told of it.
        network: name of what is learnt.
        minutes_of: what is trained in a round, and for how long.
        learn: given all demonstrations so far, the round, and whom to tell, trains; returns the network's path.
    """
    from policies.learned.training.rounds import demonstrations_command, rounds_of

    make_folder(Path(plan.out))
    rounds, line = rounds_of(plan), _Line(console)
    console.print(GOES_ON, highlight=False)
    for number, round_ in enumerate(rounds):
        who = "the scripted policy by turns with what was learnt" if round_.before else "the scripted policy"
        console.print(f"round {number} of {len(rounds) - 1}: {round_.episodes} episodes of {who}, into {round_.data}", highlight=False)
        done = _demonstrate(demonstrations_command(plan, round_, network))
        if done != 0:
            return done
        minutes = minutes_of(round_)
        console.print(f"round {number} of {len(rounds) - 1}: {', '.join(f'{what} {value:g} minutes' for what, value in minutes.items())}, "
                      f"into {round_.out}", highlight=False)  # fmt: skip

        def report(what: str, progress, figures: dict[str, float], minutes: dict[str, float] = minutes) -> None:
            line.show(progress.trained_s / 60, minutes[what])
            line.say(f"{what}: {progress.trained_s / 60:.1f} of {minutes[what]:g} min, step {progress.steps}: "
                     + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))  # fmt: skip

        with line:
            path = learn([each.data for each in rounds[: number + 1]], round_, report)
    console.print(f"{path}: measure it with `humanoid evaluate --policy {policy} --checkpoint {path} --layouts held_out --factory ...`", highlight=False)
    return 0


def _train_study(args: argparse.Namespace, console: Console) -> int:
    train_pose_policy, line = _training(), _Line(console)  # before what needs PyTorch too: it says what to install
    from policies.learned.training.study import carry_out, data_sets_of, demonstrations_command, load_study_plan, trials_of, write_results

    plan = load_study_plan(args.config, device=args.device, data=args.data, out=args.out, workers=args.workers)
    make_folder(Path(plan.out))
    console.print(GOES_ON, highlight=False)
    for data in data_sets_of(plan):
        console.print(f"{data.episodes} episodes of the scripted policy, into {data.folder}", highlight=False)
        done = _demonstrate(demonstrations_command(plan, data))
        if done != 0:
            return done
    results, trials = {}, trials_of(plan)
    for number, trial in enumerate(trials, 1):
        console.print(f"network {number} of {len(trials)}: {trial.name}", highlight=False)

        def report(what: str, done: float, total: float) -> None:
            line.show(done, total)
            line.say(f"{what}: {done:.3g} of {total:.3g}")

        with line:
            results[trial.name] = carry_out(plan, trial, train_pose_policy, report)
    _print_study(console, write_results(plan, results), Path(plan.out))
    return 0


def _training() -> Callable[..., Path]:
    try:
        from policies.learned.training.train_pose import train_pose_policy
    except ImportError as error:
        raise ConfigurationError(f"training needs {error.name}: pip install 'humanoid_control[train]', or `make test`") from None
    return train_pose_policy


def _demonstrate(command: list[str]) -> int:
    from policies.data import generate

    parser = argparse.ArgumentParser()
    generate.add_arguments(parser)
    return generate.run(parser.parse_args(command))


def _train_perception(args: argparse.Namespace, console: Console) -> int:
    plan = load_plan(args.config, device=args.device, data=args.data, out=args.out, workers=args.workers)
    for folder in (plan.data, plan.out):
        make_folder(folder)
    console.print(f"images in {plan.data}, networks in {plan.out}; {GOES_ON}", highlight=False)
    if not console.is_terminal:
        logging.getLogger("perception.training").setLevel(logging.INFO)
    progress = _Line(console)
    todo = steps(plan, say=progress.say, show=progress.show)
    for number, step in enumerate(todo, 1):
        began = time.monotonic()
        console.print(f"step {number} of {len(todo)}: {step.name}", highlight=False)
        with progress:
            step.run()
        console.print(f"  done in {(time.monotonic() - began) / 60:.1f} min", highlight=False)
    _print(console, json.loads((plan.out / FIGURES).read_text()), plan.out)
    return 0


class _Line:
    """One bar for the step at hand on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console, self._said_s = console, 0.0
        self._bar: Progress | None = None

    def __enter__(self) -> _Line:
        self._said_s = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, done: float, total: float) -> None:
        """How much of the step at hand is done."""
        if not self._console.is_terminal:
            return
        if self._bar is None:
            self._bar = Progress(BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
                                 console=self._console, transient=True)  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """A line, beside the bar or, now and then, on its own."""
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif time.monotonic() - self._said_s > SAY_PERIOD_S:
            self._said_s = time.monotonic()
            self._console.print(f"  {text}", highlight=False, markup=False)


def _print(console: Console, figures: dict, out: Path) -> None:
    table = Table(title=f"{figures['images']} images of looks never trained on")
    for column in ("", "totes", "mm, median / 95%", "degrees, median / 95%", "in the 90% region", "> 60 mm, not owned"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("clear_within_1_m", "fair_within_1_m", "all_found"):
        cell = figures[name]
        if not cell["count"]:
            table.add_row(name.replace("_", " "), "0", "-", "-", "-", "-")
            continue
        table.add_row(name.replace("_", " "), str(cell["count"]), f"{cell['mm_median']:g} / {cell['mm_p95']:g}",
                      f"{cell['deg_median']:g} / {cell['deg_p95']:g}", f"{cell['in_90_percent_region']:.0%}",
                      str(cell["over_60_mm_not_owned"]))  # fmt: skip
    console.print(table)
    recall = figures["recall_clear_within_1_m"]
    console.print(f"clear totes found within 1 m: {'-' if recall is None else f'{recall:.1%}'}; "
                  f"false totes in 200 images: {figures['false_alarms_per_200_images']:.2f}; all figures: {out / FIGURES}",
                  highlight=False)  # fmt: skip


def _print_study(console: Console, results: dict, out: Path) -> None:
    for name, points in results["curves"].items():
        table = Table(title=name)
        for column in ("", "episodes done", "95% interval", "hands off, mm", "sub-tasks right"):
            table.add_column(column, justify="right" if column else "left")
        for each in points:
            low, high = each["interval"]
            table.add_row(f"{each['amount']}", f"{each['success']} of {each['episodes']}", f"{low:.0%} to {high:.0%}", f"{each['hand_mm']:.1f}", f"{each['subtask_right']:.1%}")
        console.print(table)
    for name, fit in results["fits"].items():
        if fit is not None:
            low, high = (1.0 - bound for bound in reversed(fit["interval"]))
            console.print(f"{name}: failures fall with the power {fit['power']:.2f}; ten times as many would bring {1 - fit['predicted']:.0%} ({low:.0%} to {high:.0%})",
                          highlight=False)  # fmt: skip
    console.print(f"pictures and figures: {out}", highlight=False)

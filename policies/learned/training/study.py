"""`humanoid train study`: which loss, how many demonstrations, how large a network, and what a task gains from others learnt before.

All networks are trained for the same time, and measured as everything else is: whole episodes on held-out floors, the same for
each. Resumable network by network, and episode by episode.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator
from scipy.optimize import minimize

from humanoid_control.nodes.factory_file import find_factory, find_factory_file
from humanoid_control.simulation.layouts import HELD_OUT
from policies.evaluation.campaign import Campaign, run_campaign
from policies.evaluation.journal import Journal, write_whole
from policies.evaluation.summary import wilson_interval
from policies.learned.pose_policy import NAME
from policies.learned.training.plan_file import DemonstrationPlan, demonstrations_arguments, load_plan_file
from policies.learned.training.pose_network import WIDTH
from policies.learned.training.pose_task import LOSSES

DEFAULTS = "config/training/study.yaml"
CHECKING, RESULT, RESULTS, PICTURE = "checking", "result.json", "study.json", "study.png"
FITTED = ("demonstrations", "parameters")
SPARE = 1.15  # episodes for each demonstration that is needed
RESAMPLED = 200  # times, for the interval of what a fit says
WITHOUT_NEW = "without_new"


class StudyPlan(DemonstrationPlan):
    """What is compared; `DEFAULTS` has the defaults and says what each is."""

    factories: list[str] = Field(min_length=2)
    new_task: str
    demonstrations: int = Field(ge=1, le=1_000_000)
    checking: int = Field(ge=1, le=1_000_000)
    losses: list[Literal[LOSSES]] = Field(min_length=1)
    sizes: list[int]
    widths: list[int]
    few: list[int]
    episodes: int = Field(ge=1, le=1_000_000)
    new_task_episodes: int = Field(ge=1, le=1_000_000)
    evaluation_seed: int = Field(ge=0, lt=2**31)

    @model_validator(mode="after")
    def _fits(self) -> StudyPlan:
        if self.new_task not in self.factories:
            raise ValueError(f"new_task '{self.new_task}' is none of the factories")
        for name, least, most in (("sizes", 2, self.demonstrations - 1), ("widths", 4, 4096), ("few", 10, 1_000_000)):
            for value in getattr(self, name):
                if not least <= value <= most:
                    raise ValueError(f"{name} has {value}; {least} to {most} is allowed")
        return self


def load_study_plan(path: Path | None = None, **given: Any) -> StudyPlan:
    """The plan of a file, over the defaults. See `plan_file.load_plan_file`."""
    return load_plan_file(StudyPlan, DEFAULTS, path, given)


@dataclass(frozen=True)
class Trial:
    """One network of the study.

    Attributes:
        name: of its folder.
        tasks: whose demonstrations it is trained on.
        demonstrations: of each.
        loss: of `LOSSES`.
        width: of the network.
        begin_with: trial whose weights it begins with; empty: none.
        measured: tasks it carries out,
        episodes: of each.
    """

    name: str
    tasks: tuple[str, ...]
    demonstrations: int
    loss: str
    width: int
    measured: tuple[str, ...]
    episodes: int
    begin_with: str = ""


@dataclass(frozen=True)
class DataSet:
    """Demonstrations to be made.

    Attributes:
        folder: of them.
        factories: taken in turn.
        episodes: of all factories together.
        seed: of the first.
    """

    folder: Path
    factories: tuple[str, ...]
    episodes: int
    seed: int


def data_sets_of(plan: StudyPlan) -> list[DataSet]:
    """One for each task, and one to check with; no floor twice. As the expert fails now and then, some more than are needed."""
    most, at, sets = max(plan.demonstrations, *plan.few), plan.seed, []
    for task in plan.factories:
        orders = len(find_factory(task).orders)
        count = math.ceil(SPARE * (most if task == plan.new_task else plan.demonstrations) / orders) + 1
        sets.append(DataSet(Path(plan.data) / task, (task,), count, at))
        at += count
    return [*sets, DataSet(Path(plan.data) / CHECKING, tuple(plan.factories), plan.checking * len(plan.factories), at)]


def trials_of(plan: StudyPlan) -> list[Trial]:
    """All networks, those that others begin with before them."""
    tasks, usual = tuple(plan.factories), plan.losses[0]
    others = tuple(task for task in tasks if task != plan.new_task)
    new = (plan.new_task,)

    def trial(name: str, of: tuple[str, ...] = tasks, count: int = plan.demonstrations, *, loss: str = usual, width: int = WIDTH, **more: Any) -> Trial:
        return Trial(name, of, count, loss, width, **{"measured": tasks, "episodes": plan.episodes} | more)

    return [
        *(trial(f"loss_{loss}", loss=loss) for loss in plan.losses),
        *(trial(f"demonstrations_{count}", count=count) for count in plan.sizes),
        *(trial(f"width_{width}", width=width) for width in plan.widths),
        trial(WITHOUT_NEW, others, measured=()),
        *(trial(f"{kind}_{count}", new, count, measured=new, episodes=plan.new_task_episodes, begin_with=before)
          for count in plan.few for kind, before in (("scratch", ""), ("transfer", WITHOUT_NEW))),
    ]  # fmt: skip


def demonstrations_command(plan: StudyPlan, data: DataSet) -> list[str]:
    """The arguments of `humanoid generate` that make a data set."""
    return demonstrations_arguments(plan, factories=data.factories, episodes=data.episodes, folder=data.folder, seed=data.seed)


def carry_out(plan: StudyPlan, trial: Trial, train: Callable[..., Path], on_progress: Callable[[str, float, float], None]) -> dict:
    """Trains and measures one network; returns its figures, which are kept in its folder.

    Args:
        plan: of the study.
        trial: of it.
        train: `train_pose.train_pose_policy`.
        on_progress: told what is being done, how much of it is, and how much there is.

    Raises:
        HumanoidControlError: whatever the user can put right.
    """
    folder = Path(plan.out) / trial.name
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{NAME}.onnx"
    asked = asdict(trial) | {name: getattr(plan, name) for name in ("minutes", "noise", "seed", "checking", "evaluation_seed")}
    asked = json.loads(json.dumps(asked))
    before = json.loads((folder / RESULT).read_text()) if (folder / RESULT).is_file() else {}
    if before.get("asked") == asked and "success" in before:
        return before
    if before.get("asked") != asked:  # of another plan: begun anew
        for path in folder.iterdir():
            path.unlink()
        write_whole(folder / RESULT, json.dumps({"asked": asked}) + "\n")
    if not checkpoint.is_file():
        train([Path(plan.data) / task for task in trial.tasks], folder, minutes=plan.minutes, seed=plan.seed, device=plan.device,
              begin_with=Path(plan.out) / trial.begin_with / f"{NAME}.pt" if trial.begin_with else None, loss=trial.loss, width=trial.width,
              episodes=trial.demonstrations, checking=[Path(plan.data) / CHECKING],
              on_progress=lambda progress, figures: on_progress("training", progress.trained_s / 60, plan.minutes))  # fmt: skip
    card = json.loads(checkpoint.with_suffix(".json").read_text())
    done = {}
    for number, task in enumerate(trial.measured):
        records = _measured(plan, trial, task, checkpoint,
                            lambda count: on_progress("episodes", number * trial.episodes + count, len(trial.measured) * trial.episodes))  # fmt: skip
        done[task] = sum(record["success"] for record in records)
    result = {"asked": asked, "parameters": card["parameters"], "demonstrations": card["demonstrations"], "steps": card["steps"],
              "not_trained_on": card["not_trained_on"], "success": done, "episodes": trial.episodes * len(trial.measured)}  # fmt: skip
    write_whole(folder / RESULT, json.dumps(result, indent=1) + "\n")
    return result


def _measured(plan: StudyPlan, trial: Trial, task: str, checkpoint: Path, on_episode: Callable[[int], None]) -> list[dict]:
    campaign = Campaign(str(find_factory_file(task)), "teacher", layouts=HELD_OUT, checkpoint=str(checkpoint))
    journal = Journal(checkpoint.with_name(f"{task}.jsonl"), campaign.fingerprint(), resume=True, remedy=f"delete {checkpoint.parent}")
    seeds = range(plan.evaluation_seed, plan.evaluation_seed + trial.episodes)
    complete = False
    try:
        for record in run_campaign(campaign, [seed for seed in seeds if seed not in journal.records], workers=plan.workers):
            journal.add(record)
            journal.records[record["seed"]] = record
            on_episode(len(journal.records))
        complete = True
    finally:
        journal.close(complete=complete)
    return [journal.records[seed] for seed in seeds]


# --- what came out ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """Failures that become fewer as a power of what there is more of: `share * (amount / least) ** -power`.

    Attributes:
        share: of orders that fail at the least amount.
        power: of the amount.
        predicted: share that would fail with ten times the most,
        interval: 95%, of that.
    """

    share: float
    power: float
    predicted: float
    interval: tuple[float, float]


def fit_power(amounts: Sequence[float], failed: Sequence[int], episodes: Sequence[int], *, seed: int = 0) -> Fit | None:
    """The most likely fit to counts of failures, and what ten times the largest amount would bring; None for fewer than three amounts.

    Args:
        amounts: of demonstrations, or parameters.
        failed, episodes: counted at each.
        seed: of the resampling for the interval.
    """
    if len(amounts) < 3:
        return None
    amounts, failed, episodes = (np.asarray(values, float) for values in (amounts, failed, episodes))
    least, most = amounts.min(), amounts.max()
    share, power = _most_likely(amounts / least, failed, episodes)

    def predicted(share: float, power: float) -> float:
        return min(share * (10 * most / least) ** -power, 1.0)

    rng = np.random.default_rng(seed)
    rates = np.clip(failed / episodes, 0.5 / episodes, 1.0 - 0.5 / episodes)  # what never failed could have
    again = [predicted(*_most_likely(amounts / least, rng.binomial(episodes.astype(int), rates), episodes)) for _ in range(RESAMPLED)]
    low, high = np.percentile(again, (2.5, 97.5))
    return Fit(share, power, predicted(share, power), (float(low), float(high)))


def _most_likely(shares: np.ndarray, failed: np.ndarray, episodes: np.ndarray) -> tuple[float, float]:
    def unlikely(values: np.ndarray) -> float:
        rate = np.clip(np.exp(values[0]) * shares ** -values[1], 1e-6, 1.0 - 1e-6)
        return -float((failed * np.log(rate) + (episodes - failed) * np.log1p(-rate)).sum())

    found = minimize(unlikely, (math.log(0.5), 0.3), method="Nelder-Mead", bounds=((math.log(1e-4), 0.0), (0.0, 3.0)))
    return math.exp(found.x[0]), float(found.x[1])


def curves_of(plan: StudyPlan, results: dict[str, dict]) -> dict[str, list[dict]]:
    """What is plotted and told of each question, by increasing amount: `amount`, `success`, `episodes`, `interval`, `hand_mm`.

    Args:
        plan: of the study.
        results: by trial, of `carry_out`.
    """
    def point(name: str, amount: float | str) -> dict:
        result = results[name]
        success = sum(result["success"].values())
        return {"amount": amount, "success": success, "episodes": result["episodes"], "interval": wilson_interval(success, result["episodes"]),
                "hand_mm": result["not_trained_on"]["check_hand_mm"], "subtask_right": result["not_trained_on"]["check_subtask_right"],
                "by_task": result["success"]}  # fmt: skip

    usual = f"loss_{plan.losses[0]}"
    return {
        "losses": [point(f"loss_{loss}", loss) for loss in plan.losses],
        "demonstrations": [*(point(f"demonstrations_{count}", count * len(plan.factories)) for count in sorted(plan.sizes)),
                           point(usual, plan.demonstrations * len(plan.factories))],
        "parameters": sorted((point(name, results[name]["parameters"]) for name in (*(f"width_{width}" for width in plan.widths), usual)),
                             key=lambda each: each["amount"]),
        "scratch": [point(f"scratch_{count}", count) for count in sorted(plan.few)],
        "transfer": [point(f"transfer_{count}", count) for count in sorted(plan.few)],
    }  # fmt: skip


def write_results(plan: StudyPlan, results: dict[str, dict]) -> dict:
    """Writes all figures and their pictures beside the networks, and returns them: `curves`, `fits`.

    Args:
        plan: of the study.
        results: by trial, of `carry_out`.
    """
    curves = curves_of(plan, results)
    fits = {name: fit_power(*zip(*((each["amount"], each["episodes"] - each["success"], each["episodes"]) for each in curves[name]))) for name in FITTED}
    draw(curves, fits, Path(plan.out) / PICTURE)
    found = {"plan": plan.model_dump(), "curves": curves, "fits": {name: asdict(fit) if fit else None for name, fit in fits.items()}}
    write_whole(Path(plan.out) / RESULTS, json.dumps(found, indent=1) + "\n")
    return found


def draw(curves: dict[str, list[dict]], fits: dict[str, Fit | None], path: Path) -> None:
    """The four pictures, as one PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(16, 3.6))
    for axis, name in zip(axes, ("losses", "demonstrations", "parameters", "new task")):
        shown = {"from others": curves["transfer"], "from scratch": curves["scratch"]} if name == "new task" else {"": curves[name]}
        for label, points in shown.items():
            rates = np.array([each["success"] / each["episodes"] for each in points])
            low, high = np.array([each["interval"] for each in points]).T
            amounts = [each["amount"] for each in points]
            style = "o" if name == "losses" else "o-"
            axis.errorbar(amounts, 100 * rates, 100 * np.array([rates - low, high - rates]), fmt=style, capsize=3, label=label)
        fit = fits.get(name)
        if fit is not None:
            along = np.geomspace(amounts[0], 10 * amounts[-1], 50)
            axis.plot(along, 100 * (1 - np.minimum(fit.share * (along / amounts[0]) ** -fit.power, 1.0)), "--", label="fit")
            axis.set_xscale("log")
        axis.set(title=name, xlabel={"new task": "demonstrations of it", "losses": ""}.get(name, f"{name} in all"), ylabel="episodes done, %", ylim=(-2, 102))
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[1]:
            axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)

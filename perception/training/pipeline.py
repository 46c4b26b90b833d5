"""Everything that makes perception's networks, in order: images, training, calibration, figures. Resumable step by step.

What each step does is in docs/perception_training.md; here they are only called one after the other. Images that are there
are not made again, training goes on from its checkpoints, and networks that have their calibration keep it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from humanoid_control.errors import ConfigurationError
from humanoid_control.installation import share_folder
from perception.errors import PerceptionError
from perception.training.plan_file import read_plan_file

DEFAULTS = "config/training/perception.yaml"
DEVICES = ("auto", "cpu", "cuda")
FIGURES = "held_out.json"
SHARD = 200  # images that are made at once
Say = Callable[[str], None]
Show = Callable[[float, float], None]
MOST = {"workers": 256, "images": 10_000_000, "seeds": 2**31, "minutes": 100_000}
LEAST = {"workers": 1, "images": SHARD, "images.edges": 20, "seeds": 0, "minutes": 1e-3}


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained, and how long. The file's `DEFAULTS` have the defaults.

    Attributes:
        data, out: folders.
        workers: processes that render.
        device: of `DEVICES`.
        images: by set: training, calibration, held_out, edges.
        seeds: likewise, and of weights.
        minutes: detector, edges.
    """

    data: Path
    out: Path
    workers: int
    device: str
    images: dict[str, int]
    seeds: dict[str, int]
    minutes: dict[str, float]


def load_plan(path: Path | None = None, **given: Any) -> TrainingPlan:
    """The plan of a file, over the defaults.

    Args:
        path: of a YAML file; None for the defaults alone.
        given: values of the command line, which win over the file; those that are None do not count.

    Raises:
        ConfigurationError: the file cannot be read, or a key or value in it cannot be; named, with what is allowed.
    """
    default_path = share_folder() / DEFAULTS
    plan = read_plan_file(default_path, defaults=DEFAULTS)
    for source, changes in ((path, read_plan_file(path, defaults=DEFAULTS) if path else {}), ("the command line", {k: v for k, v in given.items() if v is not None})):
        for key, value in changes.items():
            if key not in plan:
                raise ConfigurationError(f"{source}: there is no key '{key}'; allowed: {', '.join(plan)}.")
            if isinstance(plan[key], dict):
                plan[key] = plan[key] | _checked_part(source, key, value, plan[key])
            else:
                plan[key] = _checked(source, key, value)
    sets = {name: plan["seeds"][name] for name in ("training", "calibration", "held_out", "edges")}
    for name, seed in sets.items():
        for other, its in sets.items():
            if name < other and seed == its:
                raise ConfigurationError(f"seeds.{name} and seeds.{other} are both {seed}: what is measured would have been trained on.")
    return TrainingPlan(**plan | {"data": Path(plan["data"]), "out": Path(plan["out"])})


def _checked_part(source: object, key: str, value: Any, known: Mapping[str, Any]) -> dict:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{source}: {key} is {value!r}; of it {', '.join(known)} can be given.")
    for name in value:
        if name not in known:
            raise ConfigurationError(f"{source}: there is no key '{key}.{name}'; allowed: {', '.join(known)}.")
    return {name: _checked(source, f"{key}.{name}", one) for name, one in value.items()}


def _checked(source: object, key: str, value: Any) -> Any:
    kind = key.split(".")[0]
    if kind in ("data", "out"):
        if not isinstance(value, (str, Path)) or not str(value):
            raise ConfigurationError(f"{source}: {key} is {value!r}; the name of a folder is needed.")
        return str(value)
    if kind == "device":
        if value not in DEVICES:
            raise ConfigurationError(f"{source}: device is {value!r}; allowed: {', '.join(DEVICES)}.")
        return value
    wanted = (int, float) if kind == "minutes" else (int,)
    least = LEAST.get(key, LEAST[kind])
    if isinstance(value, bool) or not isinstance(value, wanted) or not least <= value <= MOST[kind]:
        what = "a number" if kind == "minutes" else "a whole number"
        raise ConfigurationError(f"{source}: {key} is {value!r}; {what} from {least:g} to {MOST[kind]:g} is allowed.")
    return value


# --- the steps ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One of them.

    Attributes:
        name: said when it begins.
        run: does what is lacking.
    """

    name: str
    run: Callable[[], None]


def steps(plan: TrainingPlan, *, say: Say, show: Show) -> list[Step]:
    """All that has to be done, in order.

    Args:
        plan: what.
        say: told one line now and then.
        show: told how much of the step at hand is done, and of how much.

    Raises:
        PerceptionError: PyTorch is lacking, or the device.
    """
    try:
        from perception.training import train as training
        from perception.training.train_edges import train_edges
    except ImportError as error:
        raise PerceptionError(f"training needs {error.name}: pip install 'humanoid_control[train]', or `make test`") from None
    from perception.training import generate, measure

    training.choose_device(plan.device)
    folders = {name: plan.data / name for name in ("training", "calibration", "held_out", "edges")}

    def make(name: str, look: str) -> Step:
        return Step(f"images of {name.replace('_', ' ')}: {plan.images[name]}", lambda: generate.generate(
            folders[name], images=plan.images[name], seed=plan.seeds[name], workers=plan.workers, look=look))  # fmt: skip

    def train_detector() -> None:
        def report(name: str, progress: Any, minutes: float, figures: dict[str, float]) -> None:
            show(progress.trained_s / 60, minutes)
            say(f"{name}, {progress.trained_s / 60:.1f} of {minutes:.1f} min, step {progress.steps}: "
                + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))  # fmt: skip

        training.train(folders["training"], plan.out, minutes=plan.minutes["detector"], resume=True, device=plan.device,
                       seed=plan.seeds["weights"], on_progress=report)  # fmt: skip

    def calibrate() -> None:
        if is_calibrated(plan.out):
            say("these networks have their calibration")
            return
        total = 3 * plan.images["calibration"]
        passes = [0, 0]  # images of the passes before, and of this one

        def count(done: int) -> None:
            if done < passes[1]:
                passes[0] += passes[1]
            passes[1] = done
            show(passes[0] + done, total)

        measure.calibrate(plan.out, folders["calibration"], on_image=count)

    def measure_held_out() -> None:
        matches = measure.match(measure.ToteDetector(plan.out), folders["held_out"],
                                on_image=lambda done: show(done, plan.images["held_out"]))  # fmt: skip
        figures = measure.figures(matches)
        (plan.out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")

    return [
        make("training", "training"),
        Step(f"finder and corner network: {plan.minutes['detector']:g} min", train_detector),
        Step(f"edges of surfaces: {plan.images['edges']} images, {plan.minutes['edges']:g} min", lambda: train_edges(
            folders["edges"], plan.out, images=plan.images["edges"], minutes=plan.minutes["edges"], seed=plan.seeds["edges"],
            resume=True, device=plan.device) and None),
        make("calibration", "training"),
        Step("calibration", calibrate),
        make("held_out", "held_out"),
        Step("figures, on looks never trained on", measure_held_out),
    ]  # fmt: skip


def is_calibrated(folder: Path) -> bool:
    """Whether a folder has networks and a calibration that is of these.

    Raises:
        PerceptionError: a network is missing or corrupt.
    """
    from perception.detector import CALIBRATION, Calibration, ToteDetector

    path = folder / CALIBRATION
    hashes = ToteDetector(folder, calibration=Calibration()).hashes
    if not path.exists():
        return False
    try:
        Calibration.load(path, hashes)
    except PerceptionError:
        return False  # of other networks: it is fitted anew
    return True

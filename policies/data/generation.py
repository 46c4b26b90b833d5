"""Making demonstrations: which episodes, by whom, and how they come together in a data set.

An episode is carried out by a worker, on this machine or another, and comes back as bytes. Here it is staged, whole or
not at all; what is staged is added to the data set at the end. A run that is killed loses the episodes under way, and the
same command goes on.
"""

from __future__ import annotations

import fcntl
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from humanoid_control.errors import ConfigurationError
from humanoid_control.hashes import file_hash
from humanoid_control.mission.factory import Factory, parse_factory
from humanoid_control.robot_model import RobotModel, default_urdf_path
from humanoid_control.simulation.layouts import TRAINING, draw_layout
from humanoid_control.simulation.cameras import open_gl_context
from perception.detector import ToteDetector
from policies.data import schema
from policies.data.demonstration import SUCCESS, check_rate, demonstrate
from policies.data.errors import DataSetError
from policies.data.expert_noise import check_share
from policies.data.frame_cameras import FrameCameras
from policies.data.lerobot_dataset import Format, append, recover
from policies.data.staging import PackedEpisode, Staging, pack
from policies.evaluation.journal import Journal, make_folder
from policies.learned.eyes import Eyes
from policies.registry import check_policy, make_policy
from policies.scripted.carry_out_order import PERIOD_S

ATTEMPTS, LOCK, FAILURES = "attempts.jsonl", ".lock", "failures"
SMALLEST, LARGEST = 32, 4096  # pixels of an image's side
HASH_DIGITS = 8  # of a factory file's hash, in episodes' names


@dataclass(frozen=True)
class FactoryText:
    """A factory file as it was when generation began, for workers that may not have it.

    Attributes:
        path: where it lies, for errors.
        text: what is in it.
        sha256: of the file.
    """

    path: str
    text: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> FactoryText:
        """Reads a file.

        Raises:
            ConfigurationError: it cannot be read.
        """
        sha256 = file_hash(path)
        return cls(str(path), path.read_text(encoding="utf-8"), sha256)

    def parse(self) -> Factory:
        """The factory.

        Raises:
            FactoryError: the file is wrong.
        """
        return parse_factory(self.text, source=self.path)


@dataclass(frozen=True)
class Plan:
    """What is made.

    Attributes:
        factories: taken in turn, from seed to seed.
        fps: frames per second.
        cameras: whose images are kept; none for numbers alone.
        width, height: of the images, in pixels.
        noise: share of the time in which the expert is disturbed.
        layouts: whether each episode's floor is drawn from its seed, of the split for training.
        learner: a policy that drives by turns with the expert; empty for none.
        checkpoint: of its parameters,
        checkpoint_sha256: with this hash.
        keep_failures: whether frames of failed orders are kept too, in a data set of their own.
        sightings: hashes of the networks by which a student's eyes look on, and what they see is kept; empty if they do not.
        code_sha256: of the packages, as in `evaluate`.
        versions: of Python and packages, as JSON.
    """

    factories: tuple[FactoryText, ...]
    fps: int
    cameras: tuple[str, ...]
    width: int
    height: int
    noise: float
    layouts: bool
    learner: str
    checkpoint: str
    checkpoint_sha256: str
    keep_failures: bool
    sightings: str
    versions: str
    code_sha256: str

    def check(self) -> list[Factory]:
        """Refuses what cannot be made, before any process is started.

        Raises:
            ConfigurationError: rate, noise, size or cameras are out of range, or a factory is there twice.
            FactoryError: a factory file is wrong.
        """
        check_rate(self.fps, PERIOD_S)
        check_share(self.noise)
        if self.learner:
            check_policy(self.learner, Path(self.checkpoint))
        check_size(self.width, self.height)
        if self.cameras:
            from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW  # with MuJoCo

            for camera in self.cameras:
                if camera not in CAMERA_FIELD_OF_VIEW or self.cameras.count(camera) > 1:
                    what = "there is no such camera" if camera not in CAMERA_FIELD_OF_VIEW else "it is there twice"
                    raise ConfigurationError(f"--cameras '{camera}': {what}; allowed: {', '.join(CAMERA_FIELD_OF_VIEW)}.")
        hashes = [factory.sha256 for factory in self.factories]
        for factory in self.factories:
            if hashes.count(factory.sha256) > 1:
                raise ConfigurationError(f"--factory names {factory.path} or the like of it twice; once is enough.")
        return [factory.parse() for factory in self.factories]

    def claim(self) -> dict:
        """What must agree for episodes to lie in one data set."""
        return {"format": 2, "fps": self.fps, "cameras": list(self.cameras), "width": self.width, "height": self.height,
                "noise": self.noise, "layouts": self.layouts, "learner": self.learner,
                "checkpoint_sha256": self.checkpoint_sha256, "keep_failures": self.keep_failures,
                **({"sightings": self.sightings} if self.sightings else {})}  # fmt: skip

    def format(self) -> Format:
        """Of the data set."""
        return Format(self.fps, self.cameras, self.width, self.height, schema.frame_columns(RobotModel.load(), sightings=bool(self.sightings)))


def check_size(width: int, height: int) -> None:
    """Refuses what no film can be made of.

    Raises:
        ConfigurationError: a side is odd, or out of range.
    """
    for name, side in (("width", width), ("height", height)):
        if side % 2 or not SMALLEST <= side <= LARGEST:
            raise ConfigurationError(f"--size: the {name} is {side}; an even number from {SMALLEST} to {LARGEST} is allowed.")


@dataclass(frozen=True)
class Job:
    """One episode to be carried out.

    Attributes:
        name: unlike that of any other: factory, beginning of its file's hash, seed.
        factory: its index in the plan.
        seed: of the episode.
    """

    name: str
    factory: int
    seed: int


def jobs_of(plan: Plan, *, episodes: int, seed: int) -> list[Job]:
    """The episodes of the seeds from `seed` on, factories in turn."""
    factories = plan.check()
    made = []
    for number in range(seed, seed + episodes):
        index = number % len(factories)
        name = f"{factories[index].name}_{plan.factories[index].sha256[:HASH_DIGITS]}_{number:06d}"
        made.append(Job(name, index, number))
    return made


def make_demonstration_worker(plan: Plan) -> Callable[..., PackedEpisode]:
    """The function that carries out a job, for `run_jobs` and its like.

    Raises:
        SimulationError: there shall be images, and there is no OpenGL.
    """
    factories = plan.check()
    if plan.cameras or plan.sightings:
        open_gl_context(64, 64).free()  # or else every episode would fail of it
    model = RobotModel.load()
    columns = schema.frame_columns(model, sightings=bool(plan.sightings))
    eyes = Eyes(ToteDetector()) if plan.sightings else None
    model_sha256 = file_hash(default_urdf_path())
    learner = make_policy(plan.learner, model, checkpoint=Path(plan.checkpoint)) if plan.learner else None
    cameras = FrameCameras(plan.cameras, width=plan.width, height=plan.height, rate_hz=plan.fps) if plan.cameras else None

    def carry_out(job: Job, _send: object = None) -> PackedEpisode:
        gc.collect()  # an episode's simulation hangs in reference cycles: freed one by one, memory stays flat
        began = time.perf_counter()
        factory = factories[job.factory]
        if plan.layouts:
            factory = draw_layout(factory, job.seed, split=TRAINING)
        made = demonstrate(model, factory, job.seed, rate_hz=plan.fps, noise=plan.noise, cameras=cameras, learner=learner, eyes=eyes)
        record = {
            "seed": job.seed, "factory": factory.name, "factory_sha256": plan.factories[job.factory].sha256,
            "noise": plan.noise, "layouts": TRAINING if plan.layouts else "", "learner": plan.learner, "checkpoint_sha256": plan.checkpoint_sha256,
            "model_sha256": model_sha256, "code_sha256": plan.code_sha256, "versions": plan.versions,
            "wall_s": round(time.perf_counter() - began, 3),
        }  # fmt: skip
        return pack(job.name, record, made, columns=columns, keep_failures=plan.keep_failures)

    return carry_out


RunJobs = Callable[..., Iterator[PackedEpisode]]


class DataPlan(Protocol):
    """What a data set is made by: `Plan`, or that of an export of recorded episodes."""

    def claim(self) -> dict:
        """What must agree for episodes to lie in one data set."""

    def format(self) -> Format:
        """Of the data set."""


class Generation:
    """A data set that is being made in a folder. A context: while it is open, no other may be made there.

    Args:
        folder: of the data set.
        plan: what is made; `run` wants a `Plan`.

    Attributes:
        attempts: the record of each episode that was carried out, by its name.
    """

    def __init__(self, folder: Path, plan: DataPlan) -> None:
        self.folder, self._plan = folder, plan
        self.attempts: dict[str, dict] = {}

    def __enter__(self) -> Generation:
        """Opens the folder and puts right what a killed run left there.

        Raises:
            ConfigurationError: it cannot be written, or holds something else.
            DataSetError: another command is at it.
        """
        make_folder(self.folder)
        self._lock = _locked(self.folder / LOCK)
        try:
            recover(self.folder)
            recover(self.folder / FAILURES)
            self._journal = Journal(self.folder / ATTEMPTS, self._plan.claim(), resume=True, key="episode",
                                    remedy="choose another folder with --out")  # fmt: skip
            self.attempts = self._journal.records
            self._staging = Staging(self.folder)
            for name in self._staging.names():  # staged, but killed before that was noted
                if name not in self.attempts:
                    self._journal.add(_attempt(self._staging.record(name)))
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close(complete=False)
        self._lock.close()

    def left(self, jobs: list[Job]) -> list[Job]:
        """The jobs that are still to be carried out."""
        return [job for job in jobs if job.name not in self.attempts]

    def run(self, jobs: list[Job], *, run_jobs: RunJobs, workers: int) -> Iterator[dict]:
        """Carries out jobs; yields the record of each as soon as it is kept.

        Args:
            jobs: from `left`.
            run_jobs: who carries them out: `workers.run_jobs` or its like on other machines.
            workers: how many at a time.

        Raises:
            DataSetError: an episode cannot be written.
            WorkerError: if a process dies.
        """
        for episode in run_jobs(make_demonstration_worker, (self._plan,), jobs, workers=workers):
            yield self.keep(episode)

    def keep(self, episode: PackedEpisode) -> dict:
        """Stages an episode and notes it; returns what is noted.

        Raises:
            DataSetError: it cannot be written.
        """
        self._staging.put(episode)
        self._journal.add(_attempt(episode.record))
        return self.attempts[episode.name]

    def assemble(self) -> int:
        """Adds what is staged to the data set; returns how many demonstrations.

        Raises:
            DataSetError: it cannot be written; what was finished is kept.
        """
        format_ = self._plan.format()
        names = self._staging.names()
        added = append(self.folder, self._staging, format_)
        append(self.folder / FAILURES, self._staging, format_, outcome_is_success=False)
        self._staging.remove(names)
        return added


def done_orders(attempts: list[dict]) -> tuple[int, int]:
    """How many orders were done, and how many were begun."""
    orders = [order for attempt in attempts for order in attempt["orders"]]
    return sum(order["outcome"] == SUCCESS for order in orders), len(orders)


def _attempt(record: dict) -> dict:
    """What is noted of an episode for good."""
    orders = [{key: value for key, value in order.items() if key != "statistics"} for order in record["orders"]]
    return {key: value for key, value in record.items() if key != "versions"} | {"orders": orders}


def _locked(path: Path):
    """The file, held as long as it is open.

    Raises:
        DataSetError: another process holds it.
        ConfigurationError: it cannot be written.
    """
    try:
        file = path.open("w")
    except OSError as error:
        raise ConfigurationError(f"{path.parent} cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise DataSetError(f"another command is writing to {path.parent}; wait for it, or choose another --out.") from None
    return file

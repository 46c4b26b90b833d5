"""Perception measured in whole episodes: the scripted policy is told the truth, and rungs of perception look on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.hashes import code_hash, file_hash
from humanoid_control.mission.factory import Factory, load_factory
from humanoid_control.robot_model import RobotModel, default_urdf_path
from humanoid_control.simulation.simulated_factory import CONTROL_PERIOD_S
from perception.evaluation.figures import Rows, gaze_figures, rung_figures
from perception.evaluation.looks import check_look, painted_floor
from perception.vision import FIDUCIAL
from policies.bench.gaze import CAMERAS as GAZE_CAMERAS
from policies.evaluation.perception_watch import PerceptionWatch
from policies.evaluation.rungs import parse_rungs
from policies.evaluation.workers import run_jobs
from policies.registry import make_policy
from policies.runtime import run_episode

POLICY = "scripted"
_SHARED = {"recall": 0.99, "false_per_image": 0.005, "coverage_90": [0.85, 0.95], "over_60_mm_not_owned": 0}
TARGETS = {
    "detector": {"position_mm": {"p50": 8.0, "p95": 25.0}, "angle_deg": {"p50": 1.0, "p95": None}} | _SHARED,
    "tracker": {"position_mm": {"p50": 5.0, "p95": 15.0}, "angle_deg": {"p50": 0.6, "p95": 2.0}} | _SHARED,
}
"""Within 1 m of the camera, of the rungs that find totes by their looks."""


@dataclass(frozen=True)
class PerceptionCampaign:
    """What is measured.

    Attributes:
        factories: paths of the factory files.
        rungs: of perception.
        look: how scenes are painted.
        gallery: whether to keep pictures of what went wrong.
    """

    factories: tuple[str, ...]
    rungs: tuple[str, ...]
    look: str
    gallery: bool = False

    def check(self) -> list[Factory]:
        """Refuses what cannot be measured, before any process is started.

        Raises:
            ConfigurationError: a look or a rung there is not, or a factory twice.
            FactoryError: a factory file is wrong.
        """
        check_look(self.look)
        parse_rungs(",".join(self.rungs))
        for path in self.factories:
            if self.factories.count(path) > 1:
                raise ConfigurationError(f"--factory names {path} {self.factories.count(path)} times; once is enough.")
        return [load_factory(path) for path in self.factories]

    def heading(self) -> dict:
        """What it was measured with."""
        return {"factories": list(self.factories), "look": self.look, "poses": list(self.rungs), "policy": POLICY,
                "tags": FIDUCIAL in self.rungs, "factory_sha256": [file_hash(Path(path)) for path in self.factories],
                "model_sha256": file_hash(default_urdf_path()), "code_sha256": code_hash()}  # fmt: skip


def run_perception(campaign: PerceptionCampaign, jobs: Iterable[tuple[int, int]], *, workers: int) -> Iterator[dict]:
    """Yields each episode as soon as it is over, in no particular order.

    Args:
        campaign: what is measured.
        jobs: (index of the factory, seed) of each episode.
        workers: processes.

    Raises:
        WorkerError: if a process dies.
        HumanoidControlError: an episode cannot be run; with its seed.
    """
    return run_jobs(make_perception_worker, (campaign,), jobs, workers=workers)


def make_perception_worker(campaign: PerceptionCampaign) -> Callable[..., dict]:
    """The function that runs one episode, for `run_jobs`."""
    factories = campaign.check()
    model = RobotModel.load()

    def carry_out(job: tuple[int, int], _send: object = None) -> dict:
        index, seed = job
        return watch_episode(model, factories[index], seed, campaign) | {"factory": index, "seed": seed}

    return carry_out


def watch_episode(model: RobotModel, factory: Factory, seed: int, campaign: PerceptionCampaign) -> dict:
    """Runs one episode with all rungs looking on; what they said, compared with the truth.

    Raises:
        HumanoidControlError: it cannot be run.
    """
    policy = make_policy(POLICY, model)
    watch = PerceptionWatch(factory, campaign.rungs, gallery=campaign.gallery,
                            period_ticks=max(round(policy.period_s / CONTROL_PERIOD_S), 1))  # fmt: skip

    def build(model: RobotModel, episode):
        return painted_floor(model, episode, campaign.look, tags=FIDUCIAL in campaign.rungs)

    try:
        result = run_episode(model, factory, seed, policy=policy, on_tick=watch, build=build)
    except HumanoidControlError as error:
        raise HumanoidControlError(f"{factory.name}, seed {seed}: {error}") from error
    return watch.result() | {"success": result.success, "simulated_s": round(result.simulated_s, 3)}


def perception_report(campaign: PerceptionCampaign, episodes: Sequence[dict]) -> dict:
    """All figures.

    Args:
        campaign: what was measured.
        episodes: in the order of factories and seeds.
    """
    rungs = {}
    for rung in campaign.rungs:
        results = [episode["rungs"][rung] for episode in episodes]
        rungs[rung] = rung_figures(Rows.of([result["rows"] for result in results]), results)
    return {"episodes": len(episodes), "success": sum(episode["success"] for episode in episodes),
            "simulated_s": round(sum(episode["simulated_s"] for episode in episodes), 1), "targets": TARGETS, "rungs": rungs,
            "in_sight": gaze_figures([episode["gaze"] for episode in episodes], GAZE_CAMERAS)}  # fmt: skip

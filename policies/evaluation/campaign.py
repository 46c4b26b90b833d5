"""A campaign: the same factory and policy, one episode a seed, in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from humanoid_control.errors import ConfigurationError
from humanoid_control.hashes import code_hash, file_hash
from humanoid_control.mission.factory import Factory, load_factory
from humanoid_control.robot_model import RobotModel, default_urdf_path
from humanoid_control.simulation.layouts import SPLITS, TRAINING, draw_layout
from perception.poses import RUNGS
from policies.evaluation.episode_record import record_episode
from policies.evaluation.workers import run_jobs
from policies.policy import Policy
from policies.registry import check_policy, checkpoint_of, make_policy

VIDEO_ALL, VIDEO_FAILURES = "all", "failures"


@dataclass(frozen=True)
class Campaign:
    """What is evaluated.

    Attributes:
        factory: path of the factory file.
        policy: its name.
        poses: rung of perception.
        layouts: split that each episode's layout is drawn from with its seed; None for the floor as in the file.
        checkpoint: path of the policy's parameters, for a learned one.
        video: folder for films, or None.
        video_of: `all` or `failures`.
    """

    factory: str
    policy: str
    poses: str = "oracle"
    layouts: str | None = None
    checkpoint: str | None = None
    video: str | None = None
    video_of: str = VIDEO_ALL

    def check(self) -> Factory:
        """Refuses what cannot be evaluated, before any process is started.

        Raises:
            ConfigurationError: an unknown policy, rung or split, or a checkpoint that is not there or not wanted.
            FactoryError: the factory file is wrong.
        """
        check_policy(self.policy, Path(self.checkpoint) if self.checkpoint else None)
        for what, name, known in (("pose source", self.poses, RUNGS), ("split of layouts", self.layouts or TRAINING, SPLITS)):
            if name not in known:
                raise ConfigurationError(f"There is no {what} '{name}'; allowed: {', '.join(known)}.")
        return load_factory(self.factory)

    def fingerprint(self) -> dict:
        """What must agree for two episodes of one seed to be the same."""
        checkpoint = checkpoint_of(self.policy, Path(self.checkpoint) if self.checkpoint else None)
        return {
            "factory_sha256": file_hash(Path(self.factory)),
            "policy": self.policy,
            "poses": self.poses,
            "layouts": self.layouts,
            "checkpoint_sha256": file_hash(checkpoint) if checkpoint is not None else None,
            "model_sha256": file_hash(default_urdf_path()),
            "code_sha256": code_hash(),
        }


def run_campaign(campaign: Campaign, seeds: Iterable[int], *, workers: int) -> Iterator[dict]:
    """Yields the record of each episode as soon as it is over, in no particular order.

    Raises:
        WorkerError: if a process dies.
    """
    return run_jobs(make_episode_worker, (campaign,), seeds, workers=workers)


def make_episode_worker(campaign: Campaign) -> Callable[..., dict]:
    """The function that carries out the episode of a seed, for `run_jobs`."""
    factory = campaign.check()
    model = RobotModel.load()
    renderer = _open_renderer(factory) if campaign.video else None

    def carry_out(seed: int, _send: object = None) -> dict:
        films = campaign.video and campaign.video_of == VIDEO_ALL
        floor = factory if campaign.layouts is None else draw_layout(factory, seed, split=campaign.layouts)
        record = _record(campaign, model, floor, seed, renderer if films else None)
        if campaign.video and not films and not record["success"]:
            _record(campaign, model, floor, seed, renderer)  # the same seed is the same episode: now with a film
        return record

    return carry_out


def make_campaign_policy(campaign: Campaign, model: RobotModel) -> Policy:
    """The campaign's policy, fresh."""
    return make_policy(campaign.policy, model, checkpoint=Path(campaign.checkpoint) if campaign.checkpoint else None)


def _open_renderer(factory: Factory):
    from humanoid_control.simulation.cameras import CameraRenderer
    from humanoid_control.simulation.episode import draw_episode
    from humanoid_control.simulation.scene import build_scene

    return CameraRenderer(build_scene(draw_episode(factory, 0)), pretty=False)


def _record(campaign: Campaign, model: RobotModel, factory: Factory, seed: int, renderer) -> dict:
    policy = make_campaign_policy(campaign, model)
    if renderer is None:
        return record_episode(model, factory, seed, policy=policy, poses=campaign.poses)
    from policies.evaluation.video import EpisodeVideo

    path = Path(campaign.video) / f"{factory.name}_{seed:06d}.mp4"
    video = EpisodeVideo(path, renderer)
    try:
        return record_episode(model, factory, seed, policy=policy, poses=campaign.poses, listeners=(video,))
    finally:
        video.close()

"""Observe, act, control in one process, faster than real time and without ROS.

The same classes run over topics in the nodes; what is added here is only the simulation around them and the judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from humanoid_control.control_loop import ControlLoop
from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.mission.factory import Factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import Episode, draw_episode
from humanoid_control.simulation.judge import Verdict
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from perception.oracle import OraclePoses
from perception.poses import RUNGS, PoseSource
from policies.policy import DONE, FAILED, IMAGES, POSES, Observation, Policy, PolicyOutput

if TYPE_CHECKING:
    from perception.simulated_vision import EpisodeImages

SETTLE_S = 0.6  # s to stand before the first order
DONE_GRACE_S = 5.0  # s after a policy says it is done in which the judge must see it


@dataclass
class OrderResult:
    """How one order went.

    Attributes:
        order: its index in the factory.
        verdict: the judge's.
        subtask: what the policy was doing at the end.
        problem: what it last saw go wrong.
    """

    order: int
    verdict: Verdict
    subtask: str
    problem: str


@dataclass
class EpisodeResult:
    """How one episode went.

    Attributes:
        seed: of the episode.
        orders: results so far; an episode ends with its first failure.
        simulated_s: robot time.
        walked_m: way of the base.
        drift_m: how far the position estimate ended from the truth.
    """

    seed: int
    orders: list[OrderResult] = field(default_factory=list)
    simulated_s: float = 0.0
    walked_m: float = 0.0
    drift_m: float = 0.0

    @property
    def success(self) -> bool:
        """Whether every order was done."""
        return bool(self.orders) and all(r.verdict.done for r in self.orders)


def images_for(policy: Policy, floor: SimulatedFactory, is_worth: Callable[[str], bool] = lambda camera: True) -> EpisodeImages | None:
    """The images of an episode for a policy that needs some.

    Args:
        policy: whose images.
        floor: the simulation.
        is_worth: whether a camera's images are rendered just now.

    Raises:
        ConfigurationError: it needs what no simulation gives.
        SimulationError: there is no OpenGL.
    """
    unknown = policy.needs - {POSES, IMAGES}
    if unknown:
        raise ConfigurationError(f"the policy {policy.name} needs {', '.join(sorted(unknown))}; there is {POSES} and {IMAGES}")
    if IMAGES not in policy.needs:
        return None
    from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
    from perception.simulated_vision import EpisodeImages  # with OpenGL

    return EpisodeImages(floor, tuple(CAMERA_FIELD_OF_VIEW), is_worth=is_worth)


def pose_source(rung: str, floor: SimulatedFactory, factory: Factory, *, images: EpisodeImages | None = None) -> PoseSource:
    """The rung of perception asked for, in a simulation.

    Args:
        rung: one of `RUNGS`.
        floor: the simulation.
        factory: as in its file, which is all that a camera's rung knows of it.
        images: of the episode, where the policy looks at them too.

    Raises:
        ConfigurationError: if there is none of that name.
        PerceptionError: if a network cannot be loaded.
    """
    if rung not in RUNGS:
        raise ConfigurationError(f"no pose source '{rung}'; there is {', '.join(RUNGS)}")
    if rung == "oracle":
        return OraclePoses(floor.world, floor.robot.data)
    from perception.simulated_vision import SimulatedVision  # with OpenGL and the networks' runtime, which oracle needs not

    return SimulatedVision(rung, floor, factory, images=images)


def run_episode(
    model: RobotModel, factory: Factory, seed: int, *, policy: Policy, poses: str = "oracle",
    on_tick: Callable[[SimulatedFactory, ControlLoop, PolicyOutput | None], None] | None = None,
    build: Callable[[RobotModel, Episode], SimulatedFactory] | None = None, is_worth: Callable[[str], bool] = lambda camera: True,
) -> EpisodeResult:  # fmt: skip
    """Carries out a factory's orders in the episode of a seed.

    Args:
        model: the robot.
        factory: as loaded; the policy knows it as it is in the file, not as drawn.
        seed: of the episode.
        policy: what decides; reset for each order.
        poses: rung of perception.
        on_tick: called after each control tick, for videos and logs.
        build: makes the episode's simulation, where it is to look otherwise.
        is_worth: whether a camera's images, where the policy needs any, are worth rendering just now.
    """
    episode = draw_episode(factory, seed)
    floor = SimulatedFactory(model, episode, tags=poses == "fiducial") if build is None else build(model, episode)
    robot, result = floor.robot, EpisodeResult(seed)
    images = images_for(policy, floor, is_worth)
    source = pose_source(poses, floor, factory, images=images)
    loop = ControlLoop(robot)
    policy.forget()
    robot.connect()
    every = max(round(policy.period_s / robot.period_s), 1)
    settle = round(SETTLE_S / robot.period_s)
    output: PolicyOutput | None = None
    last = robot.data.qpos[:2].copy()
    tick = 0
    for _ in range(settle):
        loop.step()
        robot.wait_next_tick()
        if on_tick is not None:
            on_tick(floor, loop, None)
    start_truth, start_estimate = robot.true_base_pose(), loop.estimate()
    for index, order in enumerate(factory.orders):
        floor.begin(order)
        subtask, problem, output = "", "", None
        began, finished = float(robot.data.time), math.inf
        try:
            policy.reset(factory, order)
        except HumanoidControlError as error:
            result.orders.append(OrderResult(index, Verdict(False, "refused", str(error), 0.0), "", str(error)))
            break
        while floor.verdict is None:
            if tick % every == 0:
                state, estimate = robot.read() if loop.state is None else loop.state, loop.estimate()
                if images is not None:
                    images.poll()
                source.update(state, estimate)
                seen, rig = (images.newest, images.rig) if images is not None else ((), None)
                output = policy.act(Observation(state.stamp_s, state, estimate, loop.status(), source.read(), seen, rig))
                subtask, problem = output.subtask, output.problem or problem
                loop.submit(output.targets[0])
                if output.outcome == FAILED:
                    floor.verdict = Verdict(False, "gave_up", output.detail, robot.data.time - began)
                    break
                if output.outcome == DONE:
                    floor.accept_done()
                    finished = min(finished, robot.data.time)
                    if robot.data.time - finished > DONE_GRACE_S:
                        lacking = f"finished, but {floor.lacking}"
                        floor.verdict = Verdict(False, "not_done", lacking, robot.data.time - began)
                        break
            loop.step()
            robot.wait_next_tick()
            tick += 1
            if on_tick is not None:
                on_tick(floor, loop, output)
            here = robot.data.qpos[:2]
            step = here - last
            if step @ step > 1e-4:
                result.walked_m += float(np.sqrt(step @ step))
                last = here.copy()
        result.orders.append(OrderResult(index, floor.verdict, subtask, problem))
        if not floor.verdict.done:
            break
    result.simulated_s = float(robot.data.time)
    result.drift_m = _drift(start_truth, start_estimate, robot.true_base_pose(), loop.estimate())
    robot.close()
    return result


def _drift(truth0, estimate0, truth1, estimate1) -> float:
    """Distance in m between the true way from start to end and the estimated one, seen from the start."""
    from humanoid_control.transforms import from_pose, inverse

    def moved(first, second):
        return (inverse(first) @ second)[:2, 3]

    estimated = [from_pose(np.concatenate([e.position, e.orientation])) for e in (estimate0, estimate1)]
    return float(np.linalg.norm(moved(truth0, truth1) - moved(*estimated)))

"""One episode of the expert, written down frame by frame: what was seen, what was wanted, why, and what was true."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from humanoid_control.control_loop import ControlLoop
from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.film import Film
from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import Episode
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from policies.data import schema
from policies.data.expert_noise import ExpertNoise
from policies.data.frame_cameras import FrameCameras
from policies.data.recorded_eyes import RecordedEyes
from policies.data.truth import Truth
from policies.data.turns import Turns
from policies.learned.action_space import encode_target
from policies.learned.eyes import Eyes
from policies.learned.observation_space import BodySense, OrderSense
from policies.learned.way_sense import WAY_NAMES, WaySense
from policies.policy import FAILED, IMAGES, Observation, Policy, PolicyOutput
from policies.registry import make_policy
from policies.runtime import OrderResult, run_episode

EXPERT, POSES = "scripted", "oracle"
NOISE_STREAM, TURNS_STREAM, EYES_STREAM = "expert_noise", "turns", "eyes"
SUCCESS = "success"


@dataclass
class Demonstration:
    """One order carried out.

    Attributes:
        order: its index in the factory.
        task: the order in words.
        outcome: `success`, or why it failed.
        detail, subtask, problem: what the judge and the expert said of that.
        cycle_time_s: from the order's begin to the verdict.
        columns: (T, D) arrays, (T,) where D is 1, and lists of T strings, by the names of `schema.frame_columns`.
        image_age_s: (T,) s between exposure and frame; empty without cameras.
        films: mp4 by camera.
        histograms: (3, 256) of the films' colours, by camera, and of how many images.
    """

    order: int
    task: str
    outcome: str = ""
    detail: str = ""
    subtask: str = ""
    problem: str = ""
    cycle_time_s: float = 0.0
    columns: dict[str, np.ndarray | list[str]] = field(default_factory=dict)
    image_age_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    films: dict[str, bytes] = field(default_factory=dict)
    histograms: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.columns[schema.CLEAN_STEPS]) if self.columns else 0


def demonstrate(
    model: RobotModel, factory: Factory, seed: int, *, rate_hz: int, noise: float, cameras: FrameCameras | None = None, learner: Policy | None = None,
    eyes: Eyes | None = None,
) -> list[Demonstration]:  # fmt: skip
    """Has the expert carry out the episode of a seed; one demonstration for each order begun.

    Args:
        model: the robot.
        factory: as loaded.
        seed: of the episode; its noise is drawn from it too.
        rate_hz: frames per second; divides the expert's rate.
        noise: share of the time in bursts of noise.
        cameras: whose images are kept.
        learner: who drives by turns with the expert.
        eyes: of a student, that look on.

    Raises:
        ConfigurationError: the rate or the noise is out of range.
    """
    recorder = Recorder(model, factory, rate_hz=rate_hz, noise=noise, cameras=cameras, learner=learner, eyes=eyes)
    error, orders = "", []
    try:
        orders = run_episode(model, factory, seed, policy=recorder, poses=POSES, on_tick=recorder.on_tick,
                             build=recorder.build, is_worth=recorder.is_worth).orders  # fmt: skip
    except HumanoidControlError as problem:  # of policy, control or simulation: a failed order, counted like others
        error = f"{type(problem).__name__}: {problem}"
    return recorder.demonstrations(orders, error)


class Recorder:
    """The expert with noise on what it submits, writing down what happens. A policy and a listener for `run_episode`."""

    def __init__(
        self, model: RobotModel, factory: Factory, *, rate_hz: int, noise: float, cameras: FrameCameras | None, learner: Policy | None = None,
        eyes: Eyes | None = None,
    ) -> None:  # fmt: skip
        """Prepares an episode.

        Args:
            model: the robot.
            factory: as loaded.
            rate_hz: frames per second.
            noise: share of the time in bursts.
            cameras: whose images are kept.
            learner: who drives by turns with the expert.
            eyes: of a student, that look on.

        Raises:
            ConfigurationError: the rate does not divide the expert's.
        """
        expert: Policy = make_policy(EXPERT, model)
        self.name, self.period_s = expert.name, expert.period_s
        self.needs = expert.needs | (learner.needs if learner is not None else frozenset()) | ({IMAGES} if eyes is not None else frozenset())
        self._parties, self._eyes = (expert, learner), eyes
        self._learner_sees = learner is not None and IMAGES in learner.needs
        self._every = check_rate(rate_hz, self.period_s)
        self._rate_hz, self._share, self._cameras = rate_hz, noise, cameras
        self._columns = schema.frame_columns(model, sightings=eyes is not None)
        self._body, self._order_sense = BodySense(model), OrderSense(factory)
        self._way_sense = WaySense(factory)
        self._logs: list[_OrderLog] = []

    def build(self, model: RobotModel, episode: Episode) -> SimulatedFactory:
        """Makes the simulation, as `run_episode` asks for it."""
        floor = SimulatedFactory(model, episode)
        self._truth = Truth(floor)
        self._noise = ExpertNoise(episode.stream(NOISE_STREAM), self._share)
        self._driver = Turns(*self._parties, episode.stream(TURNS_STREAM))
        self._recorded_eyes = RecordedEyes(self._eyes, episode.stream(EYES_STREAM)) if self._eyes is not None else None
        if self._cameras is not None:
            self._cameras.use(floor.scene, floor.robot.data)
        return floor

    def is_worth(self, camera: str) -> bool:
        """Whether a camera's images are worth rendering: to eyes that look on, those that may show the tote; to a learner that sees, all."""
        return self._learner_sees or self._truth.may_show_tote(camera)

    def forget(self) -> None:
        """See `Policy.forget`."""
        self._driver.forget()

    def reset(self, factory: Factory, order: Order) -> None:
        """See `Policy.reset`."""
        if self._logs:  # an episode goes on only after an order that was done
            self._order_sense.done()
            self._driver.order_done()
        self._driver.reset(factory, order)
        self._order_sense.begin(order)
        self._way_sense.begin(*self._order_sense.placements)
        self._truth.begin(order, self._order_sense.place)
        if self._recorded_eyes is not None:
            self._recorded_eyes.begin()
        self._logs.append(_OrderLog(self._order_sense.text, self._cameras, self._rate_hz))

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        log = self._logs[-1]
        if log.calls == 0:
            self._noise.begin(observation.stamp_s)
        if self._recorded_eyes is not None:
            log.goal = self._order_sense.goal(observation.poses, observation.estimate, before=log.goal)
            self._recorded_eyes.look(observation, self._truth.footprint_from_tote(), log.goal)
        output = self._driver.act(observation)
        clean = output.targets[0]
        sent = self._noise.disturbed(clean, output.subtask, observation.stamp_s)
        if log.calls % self._every == 0:
            log.add(self._frame(observation, output, sent, log), observation.stamp_s)
        if self._noise.is_active():
            log.disturb()
        log.calls += 1
        return replace(output, targets=(sent,))

    def _frame(self, observation: Observation, output: PolicyOutput, sent, log: _OrderLog) -> dict:
        footprint = odom_from_footprint(observation.estimate)
        log.goal = self._order_sense.goal(observation.poses, observation.estimate, before=log.goal)
        if output.outcome != FAILED:  # who gave up may have done so because there is no way
            log.way = self._way_sense.way(observation.poses, observation.estimate)
        state, seen = self._body.state(observation.state, observation.estimate, observation.control), {}
        if self._recorded_eyes is not None:
            estimate = observation.estimate
            seen = {schema.SIGHTINGS: self._recorded_eyes.sightings(observation, state),
                    schema.BASE_ESTIMATE: np.concatenate([estimate.position, estimate.orientation])}  # fmt: skip
        return {
            schema.STATE: state,
            schema.GOAL: log.goal,
            schema.WAY: log.way,
            schema.ACTION: encode_target(output.targets[0], footprint),
            schema.ACTION_SENT: encode_target(sent, footprint),
            schema.SUBTASK: output.subtask,
            schema.REASON: output.reason,
            schema.NEXT_SUBTASK: output.next_subtask,
            schema.PROBLEM: output.problem,
            schema.PROGRESS: np.array([output.progress]),
            schema.NOISE: np.array([self._noise.is_active()]),
            schema.EXPERT: np.array([self._driver.is_expert]),
        } | seen | self._truth.columns()

    def order_done(self) -> None:
        """See `Policy.order_done`; known from the next `reset`."""

    def on_tick(self, _floor: SimulatedFactory, _loop: ControlLoop, _output: PolicyOutput | None) -> None:
        """Has the cameras look, also before the first order."""
        if self._cameras is not None:
            self._cameras.poll()

    def demonstrations(self, results: list[OrderResult], error: str) -> list[Demonstration]:
        """What came of it.

        Args:
            results: of `run_episode`, for the orders that came to an end.
            error: what stopped the rest, if anything did.
        """
        made = []
        for index, log in enumerate(self._logs):
            demonstration = log.finish(index, self._columns)
            result = results[index] if index < len(results) else None
            if result is not None:
                verdict = result.verdict
                demonstration.outcome = SUCCESS if verdict.done else verdict.reason
                demonstration.detail, demonstration.cycle_time_s = verdict.detail, float(verdict.time_s)
                demonstration.subtask, demonstration.problem = result.subtask, result.problem
            else:
                demonstration.outcome, demonstration.detail = "error", error
            made.append(demonstration)
        refused = results[len(made):]
        made += [Demonstration(r.order, "", r.verdict.reason, r.verdict.detail) for r in refused]
        if not made:
            made = [Demonstration(0, "", "error", error)]
        return made


def check_rate(rate_hz: int, period_s: float) -> int:
    """How many of the expert's periods a frame lasts.

    Raises:
        ConfigurationError: no whole number of them.
    """
    every = 1.0 / (rate_hz * period_s) if rate_hz > 0 else 0.0
    if every < 1.0 or abs(every - round(every)) > 1e-9:
        fastest = round(1.0 / period_s)
        allowed = ", ".join(str(rate) for rate in range(1, fastest + 1) if fastest % rate == 0)
        raise ConfigurationError(f"--fps is {rate_hz}; allowed: {allowed}.")
    return round(every)


class _OrderLog:
    """The frames of one order, as they come."""

    def __init__(self, task: str, cameras: FrameCameras | None, rate_hz: int) -> None:
        self.task, self.calls = task, 0
        self.goal: np.ndarray | None = None
        self.way = np.zeros(len(WAY_NAMES))
        self._rows: list[dict] = []
        self._disturbed: list[bool] = []  # whether noise came between a frame and the next
        self._ages: list[float] = []
        self._cameras = cameras
        names = cameras.names if cameras is not None else ()
        width, height = cameras.size if cameras is not None else (0, 0)
        self._films = {name: Film(width=width, height=height, rate_hz=rate_hz) for name in names}

    def add(self, row: dict, stamp_s: float) -> None:
        """A frame begins."""
        self._rows.append(row)
        self._disturbed.append(False)
        if self._cameras is not None:
            exposed_s, images = self._cameras.newest()
            self._ages.append(stamp_s - exposed_s)
            for name, film in self._films.items():
                film.add(images[name])

    def disturb(self) -> None:
        """What is submitted now is not what the expert wants."""
        self._disturbed[-1] = True

    def finish(self, order: int, columns: tuple[schema.Column, ...]) -> Demonstration:
        """All frames together."""
        made = Demonstration(order, self.task)
        if not self._rows:
            return made
        for column in columns:
            if column.name == schema.CLEAN_STEPS:
                made.columns[column.name] = clean_steps(np.array(self._disturbed), np.array([bool(row[schema.EXPERT][0]) for row in self._rows]))
                continue
            values = [row[column.name] for row in self._rows]
            if column.dtype != "string":
                values = np.array(values).astype(column.dtype)
                values = values[:, 0] if len(column.names) == 1 else values
            made.columns[column.name] = values
        made.image_age_s = np.array(self._ages)
        for name, film in self._films.items():
            made.films[name], histogram, sampled = film.finish()
            made.histograms[name] = histogram, sampled
        return made


def clean_steps(disturbed: np.ndarray, expert: np.ndarray) -> np.ndarray:
    """(T,) how many actions from a frame on are what the expert does from its state when nothing disturbs it.

    A frame's own action is always that where the expert drives, and never where it does not. The next one is, if nothing was
    disturbed on the way there; and so on.

    Args:
        disturbed: (T,) whether noise came between a frame and the next.
        expert: (T,) whether the expert drove.
    """
    steps = expert.astype(np.int64)
    for frame in range(len(disturbed) - 2, -1, -1):
        if expert[frame] and not disturbed[frame]:
            steps[frame] = 1 + steps[frame + 1]
    return steps

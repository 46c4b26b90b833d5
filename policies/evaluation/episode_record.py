"""One episode carried out and written down as plain values, fit for JSON."""

from __future__ import annotations

import gc
import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from humanoid_control.control_loop import ControlLoop
from humanoid_control.errors import HumanoidControlError
from humanoid_control.mission.factory import Factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from policies.escalation.escalating import UNSURE_S
from policies.policy import Policy, PolicyOutput
from policies.runtime import run_episode

TIMING_KEY = "wall_s"  # the only key of a record that differs from run to run

Listener = Callable[[SimulatedFactory, ControlLoop, "PolicyOutput | None"], None]


@dataclass
class OrderTimeline:
    """What a policy said it was doing during one order.

    Attributes:
        durations_s: s in each sub-task, in the order in which they came up.
        retries: how often the policy went back in its own plan, as its progress shows.
        subtask, problem: the last it named.
        tiers_s: s that each tier drove, of a policy that has several.
        switches: when that changed, from whom to whom, and why.
        unsure: the most that its uncertainty was above for `UNSURE_S` on end.
    """

    durations_s: dict[str, float] = field(default_factory=dict)
    retries: int = 0
    subtask: str = ""
    problem: str = ""
    tiers_s: dict[str, float] = field(default_factory=dict)
    switches: list[dict] = field(default_factory=list)
    unsure: float = 0.0
    _noted: PolicyOutput | None = None
    _time_s: float = 0.0
    _recent: deque = field(default_factory=deque)
    _progress: float = 0.0
    _goes_back: bool = False

    def note(self, output: PolicyOutput, period_s: float) -> None:
        """Adds one control tick."""
        self.durations_s[output.subtask] = self.durations_s.get(output.subtask, 0.0) + period_s
        self.subtask, self.problem = output.subtask, output.problem or self.problem
        if output.tier:
            self.tiers_s[output.tier] = self.tiers_s.get(output.tier, 0.0) + period_s
        if output is not self._noted:  # one output lasts for several ticks
            self.switches += [{"time_s": round(self._time_s, 3), "from": one.before, "to": one.after, "subtask": one.subtask, "reason": one.reason}
                              for one in output.switches]  # fmt: skip
            self._noted = output
        self._time_s += period_s
        self._recent.append(output.uncertainty)
        if len(self._recent) > round(UNSURE_S / period_s):
            self._recent.popleft()
            self.unsure = max(self.unsure, min(self._recent))
        if output.progress < self._progress:
            self.retries += not self._goes_back
            self._goes_back = True
        elif output.progress > self._progress:
            self._goes_back = False
        self._progress = output.progress


class EpisodeWatch:
    """Listens to an episode tick by tick; gives it up when it is told to. A listener for `run_episode`.

    Attributes:
        timelines: one for each order begun.
        floor, loop: of the episode, once it has begun.
    """

    def __init__(self, *listeners: Listener) -> None:
        """Starts to listen.

        Args:
            listeners: called after it at each tick.
        """
        self.timelines: list[OrderTimeline] = []
        self.floor: SimulatedFactory | None = None
        self.loop: ControlLoop | None = None
        self._listeners = listeners
        self._is_between_orders = True

    def __call__(self, floor: SimulatedFactory, loop: ControlLoop, output: PolicyOutput | None) -> None:
        """See `run_episode`."""
        self.floor, self.loop = floor, loop
        if output is not None:
            if self._is_between_orders:
                self.timelines.append(OrderTimeline())
            self.timelines[-1].note(output, floor.robot.period_s)
            self._is_between_orders = floor.verdict is not None
        for listener in self._listeners:
            listener(floor, loop, output)

    def control_stop(self) -> str:
        """Why control has stopped, or nothing if it has not."""
        status = self.loop.status() if self.loop is not None else None
        return status.reason if status is not None and status.mode == "stopped" else ""

    def final_state(self) -> str:
        """A hash of the simulation's state: equal only if every tick before was equal."""
        if self.floor is None:
            return ""
        data = self.floor.robot.data
        return hashlib.sha256(data.qpos.tobytes() + data.qvel.tobytes()).hexdigest()[:16]


def record_episode(
    model: RobotModel, factory: Factory, seed: int, *, policy: Policy, poses: str, listeners: tuple[Listener, ...] = ()
) -> dict:
    """Carries out the episode of a seed, and returns what came of it.

    An error that stops policy, control or simulation is a failed order with the reason `error`, so that a campaign
    counts it and goes on.

    Args:
        model: the robot.
        factory: as loaded.
        seed: of the episode.
        policy: fresh: what it remembers of an earlier episode would make this one depend on it.
        poses: rung of perception.
        listeners: called after each control tick.
    """
    gc.collect()  # an episode's simulation hangs in reference cycles: freed one by one, memory stays flat
    watch = EpisodeWatch(*listeners)
    began = time.perf_counter()
    error = ""
    result = None
    try:
        result = run_episode(model, factory, seed, policy=policy, poses=poses, on_tick=watch)
    except HumanoidControlError as problem:
        error = f"{type(problem).__name__}: {problem}"
    orders = []
    for order in result.orders if result is not None else ():
        orders.append(_order_row(factory, order.order, order.verdict, watch.timelines))
        if not orders[-1]["done"]:
            orders[-1]["control_stop"] = watch.control_stop()
    if error:
        done = max(len(watch.timelines) - 1, 0)
        orders = [_order_row(factory, index, None, watch.timelines) for index in range(done)]
        row = _order_row(factory, done, None, watch.timelines)
        orders.append(row | {"done": False, "reason": "error", "detail": error, "control_stop": watch.control_stop()})
    return {
        "seed": seed,
        "success": not error and result.success,
        "ordered": len(factory.orders),
        "orders": orders,
        "simulated_s": round(float(watch.floor.robot.data.time), 6) if watch.floor is not None else 0.0,
        "walked_m": result.walked_m if result is not None else 0.0,
        "drift_m": result.drift_m if result is not None else None,
        "final_state": watch.final_state(),
        TIMING_KEY: round(time.perf_counter() - began, 3),
    }


def _order_row(factory: Factory, index: int, verdict, timelines: list[OrderTimeline]) -> dict:
    timeline = timelines[index] if index < len(timelines) else OrderTimeline()
    durations = {name: round(seconds, 3) for name, seconds in timeline.durations_s.items()}
    row = {"order": index, "tote": factory.orders[index].tote, "done": True, "reason": "", "detail": "",
           "time_s": round(sum(durations.values()), 3), "subtask": timeline.subtask, "problem": timeline.problem,
           "retries": timeline.retries, "durations_s": durations, "unsure": round(timeline.unsure, 4),
           "tiers_s": {name: round(seconds, 3) for name, seconds in timeline.tiers_s.items()}, "switches": timeline.switches}  # fmt: skip
    if verdict is not None:
        row |= {"done": verdict.done, "reason": verdict.reason, "detail": verdict.detail, "time_s": round(verdict.time_s, 6)}
    return row

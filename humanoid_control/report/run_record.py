"""What was heard of a run, and the figures that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from humanoid_control.mission.factory import Factory


@dataclass(frozen=True)
class OrderRecord:
    """How one order went.

    Attributes:
        name: what it says, in words.
        began_s, ended_s: simulated time.
        done: whether the action said so.
        judged_done: whether the judge agreed; None if there was no verdict.
        reason: why it failed; empty if it did not.
        detail: the same in a sentence.
        judge_detail: what the judge saw.
    """

    name: str
    began_s: float
    ended_s: float
    done: bool
    judged_done: bool | None
    reason: str = ""
    detail: str = ""
    judge_detail: str = ""

    @property
    def success(self) -> bool:
        """Whether it was done, and the judge agrees."""
        return self.done and self.judged_done is True


@dataclass(frozen=True)
class SubTask:
    """A stretch of time in which the policy did one thing."""

    name: str
    began_s: float
    ended_s: float
    problem: str = ""


@dataclass
class RunRecord:
    """One run, as heard on the topics; arrays have a row a message.

    Attributes:
        factory: in which it took place.
        seed: of the episode.
        estimate: (N, 9) time, x, y, yaw in `odom`, forward, left and upward velocity in `base_link`, left and right foot
            force. SI.
        control: (N, 6) time, left and right hand error, left and right payload, steps taken. SI.
        modes: (N,) of control, as `control`.
        truth: (N, 4) time, x, y, yaw of the base in `map`; privileged.
        tote_paths: (N, 3) time, x, y in `map` by tote; privileged.
        subtasks: in order.
        orders: in order.
        wall_s, simulated_s: how long it took, from the first order to the last one's end.
        timings: of control, in ms, as it tells in /diagnostics.
    """

    factory: Factory
    seed: int
    estimate: np.ndarray = field(default_factory=lambda: np.zeros((0, 9)))
    control: np.ndarray = field(default_factory=lambda: np.zeros((0, 6)))
    modes: list[str] = field(default_factory=list)
    truth: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    tote_paths: dict[str, np.ndarray] = field(default_factory=dict)
    subtasks: list[SubTask] = field(default_factory=list)
    orders: list[OrderRecord] = field(default_factory=list)
    wall_s: float = 0.0
    simulated_s: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)

    def estimated_path(self) -> np.ndarray:
        """(N, 2) of the base in `map`: the estimate, laid onto the truth where the run begins."""
        if not len(self.estimate) or not len(self.truth):
            return np.zeros((0, 2))
        start = self.truth[np.argmin(np.abs(self.truth[:, 0] - self.estimate[0, 0])), 1:]
        turn = _turn(start[2] - self.estimate[0, 3])
        return start[:2] + (self.estimate[:, 1:3] - self.estimate[0, 1:3]) @ turn.T

    def key_figures(self) -> dict[str, object]:
        """What a page or a script wants to know at a glance; SI unless the name says otherwise."""
        path = self.estimated_path()
        steps = np.diff(self.truth[:, 1:3], axis=0)
        errors = self.control[:, 1:3][self.control[:, 1:3] > 0] if len(self.control) else np.zeros(0)
        drift = None
        if len(path):
            last = self.truth[np.argmin(np.abs(self.truth[:, 0] - self.estimate[-1, 0])), 1:3]
            drift = float(np.linalg.norm(path[-1] - last))
        times = [o.ended_s - o.began_s for o in self.orders]
        figures: dict[str, object] = {
            "orders": len(self.orders), "done": sum(o.success for o in self.orders),
            "cycle_time_s": {"mean": _rounded(np.mean(times)), "max": _rounded(np.max(times))} if times else None,
            "walked_m": _rounded(np.linalg.norm(steps, axis=1).sum()) if len(steps) else 0.0,
            "steps": int(self.control[-1, 5] - self.control[0, 5]) if len(self.control) else 0,
            "top_speed_m_s": _rounded(np.abs(self.estimate[:, 4]).max()) if len(self.estimate) else None,
            "position_drift_m": None if drift is None else round(drift, 4),
            "hand_error_mm": {"p50": _rounded(1e3 * np.median(errors)), "p95": _rounded(1e3 * np.percentile(errors, 95))}
            if len(errors) else None,
            "peak_foot_force_n": _rounded(self.estimate[:, 7:9].max()) if len(self.estimate) else None,
            "payload_kg": _rounded(self.control[:, 3:5].sum(axis=1).max()) if len(self.control) else None,
            "holds": sum(a != "holding" and b == "holding" for a, b in zip(self.modes, self.modes[1:])),
            "simulated_s": _rounded(self.simulated_s), "wall_s": _rounded(self.wall_s),
            "real_time_factor": round(self.simulated_s / self.wall_s, 3) if self.wall_s else None,
            "control_ms": self.timings,
        }  # fmt: skip
        return figures


def _rounded(value: float) -> float:
    return round(float(value), 2)


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

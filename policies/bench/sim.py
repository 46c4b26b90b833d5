"""How many times faster than real time one core simulates and controls the robot, state only: no cameras, no ROS.

The scripted policy carries out the order of the shipped line-side factory; counted is the processor time of physics
(`Robot.wait_next_tick`) and of the control loop (taking a target, reading, estimating, solving, filtering, writing), each
from the first tick to the last. What the policy and the judge's own bookkeeping around them cost is left out. Processor
time, as what else runs on the machine is no part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from humanoid_control.bench.report import Report
from humanoid_control.control_loop import ControlLoop
from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.mujoco_robot import MujocoRobot
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from policies import runtime
from policies.registry import make_policy

FACTORY = Path(__file__).parents[2] / "config" / "factories" / "line_side.yaml"
SEEDS = (11, 12, 13)
CASES = ("empty-handed", "holding a tote")


class _Clock:
    """Adds up the processor time of calls, apart for either case."""

    def __init__(self) -> None:
        self.seconds = {(part, case): 0.0 for part in ("physics", "control") for case in CASES}
        self.simulated = dict.fromkeys(CASES, 0.0)
        self.case = CASES[0]

    def timed(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            result = call(*args, **kwargs)
            self.seconds[part, self.case] += time.process_time() - start
            return result

        return wrapper


def _time_episode(model: RobotModel, seed: int, clock: _Clock) -> runtime.EpisodeResult:
    """Runs one episode by the clock."""
    factory = load_factory(FACTORY)

    def note(floor: SimulatedFactory, loop: ControlLoop, _: object) -> None:
        clock.simulated[clock.case] += floor.robot.period_s
        clock.case = CASES[int(loop.controller.memory["holding"].all())]

    originals = {(owner, name): getattr(owner, name) for owner, name in (
        (ControlLoop, "step"), (ControlLoop, "submit"), (MujocoRobot, "wait_next_tick"))}  # fmt: skip
    try:
        for (owner, name), call in originals.items():
            setattr(owner, name, clock.timed(call, "physics" if owner is MujocoRobot else "control"))
        policy = make_policy("scripted", model)
        return runtime.run_episode(model, factory, seed, policy=policy, on_tick=note)
    finally:
        for (owner, name), call in originals.items():
            setattr(owner, name, call)


def run(report: Report, *, quick: bool = False) -> None:
    """Adds the rows of physics, of control and of both; then both by what the robot does."""
    model = RobotModel.load()
    _time_episode(model, 0, _Clock()) if not quick else None  # what the first episode compiles and loads
    clock = _Clock()
    seeds = SEEDS[:1] if quick else SEEDS
    results = [_time_episode(model, seed, clock) for seed in seeds]
    done, walked = sum(r.success for r in results), sum(r.walked_m for r in results)
    simulated = sum(clock.simulated.values())
    total = {part: sum(clock.seconds[part, case] for case in CASES) for part in ("physics", "control")}
    report.add_value("physics only", simulated / total["physics"], "x")
    report.add_value("control only", simulated / total["control"], "x")
    report.add_value("physics + control, state only", simulated / sum(total.values()), "x")
    for case in CASES:
        if clock.simulated[case] > 0.0:
            for part in ("physics", "control"):
                report.add_value(f"  {case}: {part} only", clock.simulated[case] / clock.seconds[part, case], "x")
    report.notes.append(f"{simulated:.0f} s simulated in {len(seeds)} episodes, {done} of which did their order; "
                        f"{clock.simulated[CASES[1]] / simulated:.0%} of it holding a tote.")  # fmt: skip
    drift = 1000 * sum(r.drift_m for r in results) / max(walked, 1e-3)
    report.notes.append(f"The estimate drifted by {drift:.1f} mm per metre walked, over {walked:.1f} m with turns.")

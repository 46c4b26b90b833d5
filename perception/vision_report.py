"""What vision says about itself: how well it does, what it lacks, and what helps; and whether it may tell poses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perception.poses import PoseSet
from perception.vision import FIDUCIAL, LOST_CAMERA_S, CameraHealth, VisionHealth

START_S = 15.0  # that the rest of a robot is given to start
RESTART_S = 10.0  # for which it is told that the clock went back
ENOUGH_IMAGES = 30  # of which some should show something


@dataclass(frozen=True)
class VisionReport:
    """A judgement.

    Attributes:
        level: `ok`, `warn` or `error`.
        message: why, and what helps, in one line.
        kind: what has to differ for it to be another message; figures are not in it.
        tells: whether poses may be told: not without the robot's state, nor without any camera.
    """

    level: str
    message: str
    kind: str
    tells: bool


def report(
    health: VisionHealth, *, rung: str, now_s: float | None, silence_s: float, waited_s: float, stale_s: float,
    lost_s: float = LOST_CAMERA_S, arrived: Mapping[str, float] | None = None, people: tuple[str, ...] = (),
    uncalibrated: tuple[str, ...] = (), poses: PoseSet | None = None, problem: str = "",
) -> VisionReport:  # fmt: skip
    """Judges.

    Args:
        health: of cameras and computing.
        rung: its name.
        now_s: the robot's clock; None before its first state.
        silence_s: since its newest state came.
        waited_s: since work began.
        stale_s: of silence that is allowed.
        lost_s: without a usable image that a camera is allowed.
        arrived: when the newest image of each camera came, on the robot's clock, whatever became of it.
        people: whom the factory's file tells of, and no camera's rung sees.
        uncalibrated: cameras nobody has calibrated.
        poses: as told last.
        problem: of what came and could not even be taken over.
    """
    note = f" ({problem})" if problem else ""
    if now_s is None:
        level = "warn" if waited_s < START_S else "error"
        message = f"{rung}: waits for the robot's state and base estimate: start control_node{note}"
        return VisionReport(level, message, "no state", False)
    if silence_s > stale_s:
        message = (f"{rung}: no state of the robot for {silence_s:.1f} s ({stale_s:.1f} s allowed), tells no poses: see to "
                   f"control_node{note}")  # fmt: skip
        return VisionReport("error", message, "state stale", False)
    lost = health.lost(now_s, lost_s)
    waiting = {name for name in lost if waited_s < START_S and not health.cameras[name].problem
               and not np.isfinite(health.cameras[name].stamp_s)}  # fmt: skip
    why = {name: _why_lost(health.cameras[name], now_s, came_s=(arrived or {}).get(name, -np.inf), lost_s=lost_s) for name in lost}
    if len(lost) == len(health.cameras):
        waits = all(name in waiting for name in lost)
        level = "warn" if waits else "error"
        reasons = "; ".join(f"{name}: {reason}" for name, reason in why.items())
        message = (f"{rung}: no camera can be used, tells no poses: {reasons}; start the cameras' driver (in simulation "
                   "camera_node), or clean, light and connect them")  # fmt: skip
        return VisionReport(level, message, f"all lost, {'waits' if waits else 'fails'}", False)
    complaints = {f"lost {name}": f"{name} is lost ({reason}): see to it" for name, reason in why.items() if name not in waiting}
    if uncalibrated:
        complaints["uncalibrated"] = (f"{', '.join(uncalibrated)} not calibrated, poses are less certain: run humanoid calibrate "
                                      "--out FILE, and give calibration:=FILE")  # fmt: skip
    if rung == FIDUCIAL and _sees_no_tags(health, poses):
        complaints["no tags"] = "no tags seen: put them up (a simulation has them with poses:=fiducial)"
    if people:
        complaints["people"] = f"people ({', '.join(people)}) are not seen by this rung: keep the fence closed"
    if 0 <= now_s - health.restarted_s < RESTART_S:
        complaints[f"{health.restarts} restarts"] = "the robot's clock went back, and all began anew"
    if not complaints:
        return VisionReport("ok", f"{rung}: sees", "sees", True)
    return VisionReport("warn", f"{rung}: sees, but {'; '.join(complaints.values())}", ", ".join(complaints), True)


def _why_lost(camera: CameraHealth, now_s: float, *, came_s: float, lost_s: float) -> str:
    """Why there is no usable image; what was wrong with the last one tells nothing once none come any more.

    The last one came later than it was taken; so that silence is told as silence at once, none for half the time is enough.
    """
    if now_s - came_s < 0.5 * lost_s:
        return camera.problem or "images come, but are not looked at in time: free a processor, or look through fewer cameras"
    last_s = max(came_s, camera.stamp_s)
    return f"no image for {now_s - last_s:.1f} s" if np.isfinite(last_s) else "no image yet"


def _sees_no_tags(health: VisionHealth, poses: PoseSet | None) -> bool:
    if poses is None or sum(camera.used for camera in health.cameras.values()) < ENOUGH_IMAGES:
        return False
    things = [*poses.totes.values(), *poses.surfaces.values()]
    return all(thing.stamp_s < 0 for thing in things)

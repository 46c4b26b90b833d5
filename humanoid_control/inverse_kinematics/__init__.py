"""Whole-body inverse kinematics; see docs/inverse_kinematics.md."""

from humanoid_control.inverse_kinematics.solver import InverseKinematics, warm_up
from humanoid_control.inverse_kinematics.tasks import (
    HANDS,
    SOLES,
    IkOptions,
    IkProblem,
    IkSolution,
    IkTargets,
    IkTasks,
    support_half_planes,
    upper_body_tasks,
)

__all__ = [
    "HANDS",
    "SOLES",
    "IkOptions",
    "IkProblem",
    "IkSolution",
    "IkTargets",
    "IkTasks",
    "InverseKinematics",
    "support_half_planes",
    "upper_body_tasks",
    "warm_up",
]

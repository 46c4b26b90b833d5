"""The one interface of everything that decides what the whole body does: scripted, learned or a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from humanoid_control.mission.factory import Factory, Order
from humanoid_control.types import BaseEstimate, ControlStatus, RobotState, WholeBodyTarget
from perception.camera_rig import CameraRig
from perception.frame import CameraFrame
from perception.poses import PoseSet

DONE, FAILED, RUNNING = "done", "failed", "running"
POSES, IMAGES = "poses", "images"  # what a policy may need


@dataclass(frozen=True)
class Observation:
    """What a policy may see at one instant.

    Attributes:
        stamp_s: the robot's clock.
        state: measurements.
        estimate: where the robot believes it is, in `odom`.
        control: what control is doing.
        poses: the newest of the pose source; None if nothing has been seen yet.
        images: those that have come since the last observation, each with the time it was exposed at.
        rig: the cameras as the robot knows them; None where no images come.
    """

    stamp_s: float
    state: RobotState
    estimate: BaseEstimate
    control: ControlStatus
    poses: PoseSet | None = None
    images: tuple[CameraFrame, ...] = ()
    rig: CameraRig | None = None


@dataclass(frozen=True)
class Switch:
    """One change of who drives.

    Attributes:
        stamp_s: the robot's clock.
        before, after: names of tiers.
        subtask: what the former was doing.
        reason: why.
    """

    stamp_s: float
    before: str
    after: str
    subtask: str
    reason: str


@dataclass(frozen=True)
class PolicyOutput:
    """What a policy wants, and what it thinks.

    Attributes:
        targets: one or more targets, `period_s` apart, the first for now.
        period_s: s between them.
        subtask: what it is doing.
        reason: why.
        next_subtask: what comes next.
        problem: what it saw go wrong last; empty if nothing did.
        progress: 0 to 1 of the order.
        uncertainty: 0 (sure) to 1.
        outcome: `running`, `done` or `failed`.
        detail: why it failed.
        tier: who of several it was; empty where there is one.
        switches: of who drives, that led here since the last output.
    """

    targets: tuple[WholeBodyTarget, ...]
    period_s: float
    subtask: str
    reason: str = ""
    next_subtask: str = ""
    problem: str = ""
    progress: float = 0.0
    uncertainty: float = 0.0
    outcome: str = RUNNING
    detail: str = ""
    tier: str = ""
    switches: tuple[Switch, ...] = ()


@runtime_checkable
class Watcher(Protocol):
    """A policy that follows what it sees while another carries out its order, to go on from there."""

    def watch(self, observation: Observation) -> None:
        """Takes an observation in that another acts on.

        Raises:
            OrderError: it will not be able to go on.
        """


class Policy(Protocol):
    """A policy carries out one order at a time.

    Attributes:
        name: what it is called on the command line.
        needs: the observation fields it reads, `poses` and `images`; the runtime refuses a policy whose needs it cannot meet.
        period_s: s between calls of `act`.
    """

    name: str
    needs: frozenset[str]
    period_s: float

    def forget(self) -> None:
        """Forgets earlier orders: a new episode or shift begins, with totes where the factory file has them."""

    def reset(self, factory: Factory, order: Order) -> None:
        """Starts an order.

        Raises:
            OrderError: if the order names what is not there or cannot be.
        """

    def act(self, observation: Observation) -> PolicyOutput:
        """What to do now. An order may have been begun by another: it goes on from where hands and tote are."""

    def order_done(self) -> None:
        """The order was done, by whomever: its tote stands where it was to."""

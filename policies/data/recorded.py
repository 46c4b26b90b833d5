"""Recorded episodes as demonstrations: what was sensed, seen and sent, laid on one clock by the stamps of the messages.

A frame has of each stream the newest that was stamped at or before it, images by their exposure, and says how old each is. What
only a simulation knows is not asked for, though a simulated robot's record holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np

from humanoid_control.control_loop import STALE_TARGET_S
from humanoid_control.errors import HumanoidControlError, OrderError
from humanoid_control.film import Film
from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import Order
from humanoid_control.recording.card import SUCCESS, UNKNOWN
from humanoid_control.recording.reading import Recording, Stream
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import topics
from humanoid_control.ros.from_messages import (
    base_estimate_from_message, control_status_from_message, joint_command_from_message, order_from_message, robot_state_from_message,
    whole_body_target_from_message,
)  # fmt: skip
from humanoid_control.transforms import from_pose, inverse
from humanoid_control.types import BaseEstimate
from perception.poses import PoseSet, carried_along
from perception.ros.poses_from_messages import poses_from_message
from policies.data import schema
from policies.data.demonstration import Demonstration, clean_steps
from policies.data.errors import DataSetError
from policies.learned.action_space import encode_target
from policies.learned.observation_space import BodySense, OrderSense
from policies.learned.pose_space import tote_numbers
from policies.learned.way_sense import WAY_NAMES, WaySense
from policies.policy import DONE, FAILED
from policies.subtasks import SUBTASKS

START = "start"  # the sub-task before the first is told
LEARNED_TIER, OPERATOR_TIER = 1, 2  # of humanoid_interfaces/PolicyStatus
DRIVEN = ("standing", "walking")  # modes of control in which it follows a target
WITHOUT_ORDER = "--without-order leaves out the columns that need it"


@dataclass(frozen=True)
class _Span:
    """What is one demonstration.

    Attributes:
        order_id, order: that was carried out; None: it is not known.
        begin_s, end_s: on the robot's clock.
        outcome, detail: by the policy; empty: it told none.
    """

    order_id: str
    order: Order | None
    begin_s: float
    end_s: float
    outcome: str = ""
    detail: str = ""


class _Decoded:
    """The messages of a stream as values, each decoded once."""

    def __init__(self, stream: Stream, convert: Callable[[SimpleNamespace], object]) -> None:
        self.stream, self._convert = stream, convert
        self._known: tuple[int, object] = (-1, None)

    def __call__(self, index: int) -> object:
        if self._known[0] != index:
            self._known = index, self._convert(self.stream.message(index))
        return self._known[1]


class RecordedEpisode:
    """One recorded episode to be made demonstrations of.

    Args:
        recording: of the episode.
        model: the robot.
        with_order: whether goals and ways are wanted, which need the order and the factory file.

    Raises:
        DataSetError: something that every frame needs was not recorded; with the reason.
    """

    def __init__(self, recording: Recording, model: RobotModel, *, with_order: bool) -> None:
        self._recording, self._model, self._with_order = recording, model, with_order
        self._streams = {
            "state": _Decoded(recording.stream(topics.ROBOT_STATE), robot_state_from_message),
            "estimate": _Decoded(recording.stream(topics.BASE_ESTIMATE), base_estimate_from_message),
            "control": _Decoded(recording.stream(topics.CONTROL_STATUS), control_status_from_message),
            "policy": _Decoded(recording.stream(topics.POLICY_STATUS), lambda message: message),
            "action": _Decoded(recording.stream(topics.WHOLE_BODY_TARGET), whole_body_target_from_message),
            "command": _Decoded(recording.stream(topics.JOINT_COMMAND), joint_command_from_message),
        }
        if with_order:
            self._streams["poses"] = _Decoded(recording.stream(topics.DETECTIONS), poses_from_message)
        for decoded in self._streams.values():
            if not len(decoded.stream):
                raise DataSetError(f"there is no {decoded.stream.name} in it")
            if (np.diff(decoded.stream.stamps_s) < 0).any():
                raise DataSetError(f"{decoded.stream.name} goes back in time by its stamps: the robot's clock began anew, or was set")
        self._body = BodySense(model)
        if with_order and recording.factory is None:
            raise DataSetError(f"the recorder was told of no factory file, so where totes go is not known; {WITHOUT_ORDER}")

    def demonstrations(self, *, rate_hz: int, cameras: Sequence[str], width: int, height: int) -> list[Demonstration]:
        """One for each order, or one in all where orders are not wanted.

        Args:
            rate_hz: frames per second.
            cameras: whose images are wanted.
            width, height: of the images, in pixels.

        Raises:
            DataSetError: it cannot be; with the reason.
            HumanoidControlError: something in the record is none.
        """
        missing = [camera for camera in cameras if camera not in self._recording.cameras]
        if missing:
            raise DataSetError(f"it has no images of {missing[0]}; there is {', '.join(self._recording.cameras) or 'none'}")
        senses = None
        if self._with_order:
            factory = self._recording.factory
            senses = OrderSense(factory), WaySense(factory)
            for before in self._recording.card.done_before:
                senses[0].begin(Order(**before))
                senses[0].done()
        made, spans = [], self._spans()
        for index, span in enumerate(spans):
            demonstration, shown = self._demonstration(index, span, senses, rate_hz, cameras)
            demonstration.outcome, demonstration.detail = self._outcome(span, is_only=len(spans) == 1)
            for camera in cameras:
                film, histogram, sampled = self._film(camera, shown[camera], rate_hz, width, height)
                demonstration.films[camera], demonstration.histograms[camera] = film, (histogram, sampled)
            made.append(demonstration)
            if senses is not None and demonstration.outcome == SUCCESS:
                senses[0].done()
        return made

    # --- spans ----------------------------------------------------------------------------------------------------------

    def _spans(self) -> list[_Span]:
        states = self._streams["state"].stream.stamps_s
        if not self._with_order:
            return [_Span("", None, float(states[0]), float(states[-1]))]
        orders = self._recording.stream(topics.CURRENT_ORDER)
        times = self._recording.robot_time_s(orders.log_ns) if len(orders) else np.zeros(0)
        spans: list[_Span] = []
        running = None
        for time_s, message in zip([*times, states[-1]], [*orders.messages(), None]):
            key = (message.order_id, message.tote) if message is not None and message.tote else None
            if running is not None and running[0] != key:
                spans.append(self._ended(_Span(running[0][0], running[2], running[1], float(time_s))))
                running = None
            if running is None and key is not None:
                running = key, float(time_s), order_from_message(message)
        if not spans:
            raise DataSetError(f"no order was recorded; {WITHOUT_ORDER}")
        return spans

    def _ended(self, span: _Span) -> _Span:
        """The same up to where the policy said that it was done, or gave up."""
        policy = self._streams["policy"].stream
        for index in range(*np.searchsorted(policy.stamps_s, [span.begin_s, span.end_s])):
            status = policy.message(index)
            if status.order_id == span.order_id and status.outcome in (DONE, FAILED):
                return _Span(span.order_id, span.order, span.begin_s, float(policy.stamps_s[index]), status.outcome, status.problem)
        return span

    def _outcome(self, span: _Span, *, is_only: bool) -> tuple[str, str]:
        """How it ended, and what the judge or the policy said of it: as the card has it, where the episode is that order alone."""
        card = self._recording.card
        verdicts = [message for message in self._recording.stream(topics.SIMULATION_VERDICT).messages() if message.order_id == span.order_id]
        said = verdicts[-1] if verdicts and span.order is not None else None
        detail = said.detail if said is not None else span.detail or card.note
        if is_only:
            reason = said.reason if said is not None and not said.done else ""
            return (SUCCESS if card.outcome == SUCCESS else reason or card.outcome), detail
        if said is not None:
            return (SUCCESS if said.done else said.reason), detail
        return {DONE: SUCCESS, FAILED: "gave_up"}.get(span.outcome, UNKNOWN), detail

    # --- frames ---------------------------------------------------------------------------------------------------------

    def _demonstration(
        self, index: int, span: _Span, senses: tuple[OrderSense, WaySense] | None, rate_hz: int, cameras: Sequence[str]
    ) -> tuple[Demonstration, dict[str, np.ndarray]]:
        """All but its films, and (T,) which image of each camera a frame has."""
        streams = {name: decoded.stream for name, decoded in self._streams.items()} | {camera: self._recording.camera(camera) for camera in cameras}
        begins = [stream.stamps_s[0] for stream in streams.values()]
        targets = streams["action"].stamps_s
        first = targets[np.searchsorted(targets, span.begin_s):]
        begin_s = max(span.begin_s, *begins, first[0] if len(first) else span.end_s)
        times = begin_s + np.arange(int((span.end_s - begin_s) * rate_hz + 1e-6) + 1) / rate_hz
        if len(times) < 2:
            raise DataSetError(f"{span.order_id or 'it'} has less than two frames in which all that is needed had come")
        at = {name: stream.newest(times) for name, stream in streams.items()}
        made = Demonstration(index, self._recording.card.task or "unnamed")
        if senses is not None:
            senses[0].begin(span.order)
            senses[1].begin(*senses[0].placements)
            made.task = senses[0].text
        frames = _Frames(self, span, senses)
        rows = [frames.row({name: int(at[name][frame]) for name in self._streams}, float(times[frame])) for frame in range(len(times))]
        ages = np.column_stack([times - stream.stamps_s[at[name]] for name, stream in streams.items()])
        expert = np.array([row[schema.EXPERT] for row in rows])
        names = [*self._streams, *cameras]
        if self._with_order:
            ages = np.insert(ages, len(self._streams), [row["tote_age_s"] for row in rows], axis=1)
            names.insert(len(self._streams), "tote")
        for column in schema.recorded_columns(self._model, cameras, with_order=self._with_order):
            if column.name == schema.CLEAN_STEPS:
                values = clean_steps(np.zeros(len(rows), bool), expert)
            elif column.name == schema.AGES:
                values = ages[:, [names.index(name) for name in column.names]].astype("float32")
            else:
                values = [row[column.name] for row in rows]
                values = values if column.dtype == "string" else np.array(values).astype(column.dtype)
            made.columns[column.name] = values
        made.cycle_time_s = float(times[-1] - times[0])
        made.subtask, made.problem = rows[-1][schema.SUBTASK], next((row[schema.PROBLEM] for row in reversed(rows) if row[schema.PROBLEM]), "")
        if cameras:
            made.image_age_s = ages[:, -len(cameras):].max(axis=1)  # of the oldest
        return made, {camera: at[camera] for camera in cameras}

    def _film(self, camera: str, shown: np.ndarray, rate_hz: int, width: int, height: int) -> tuple[bytes, np.ndarray, int]:
        film, frame = Film(width=width, height=height, rate_hz=rate_hz), 0
        for index, data in self._recording.images(camera, np.unique(shown).tolist()):
            image = _decoded(data, camera, width, height)
            while frame < len(shown) and shown[frame] == index:
                film.add(image)
                frame += 1
        return film.finish()

    def subtask(self, told: str, time_s: float) -> str:
        """The sub-task at a time: as a person or the segmentation has it, else as the policy said.

        Raises:
            DataSetError: it has no name that policies know.
        """
        at_s = float(self._recording.episode_time_s(np.array(time_s)))
        told = next((segment.subtask for segment in self._recording.card.segments if segment.begin_s <= at_s < segment.end_s), told) or START
        if told not in SUBTASKS:
            raise DataSetError(f"its sub-task at {at_s:.1f} s is '{told}', which is none of {', '.join(SUBTASKS)}; "
                               f"give it others with `humanoid episodes segment {self._recording.folder}`")  # fmt: skip
        return told


class _Frames:
    """Makes the frames of one demonstration, one after the other."""

    def __init__(self, episode: RecordedEpisode, span: _Span, senses: tuple[OrderSense, WaySense] | None) -> None:
        self._episode, self._span, self._senses = episode, span, senses
        self._goal: np.ndarray | None = None
        self._way = np.zeros(len(WAY_NAMES))
        self._tote: tuple[np.ndarray, float] | None = None  # odom_from_tote, and when it was seen

    def row(self, at: dict[str, int], time_s: float) -> dict:
        """One frame of some messages, by their index in each stream."""
        streams = self._episode._streams
        state, estimate, control, status, target, command = (
            streams[name](at[name]) for name in ("state", "estimate", "control", "policy", "action", "command"))
        footprint = odom_from_footprint(estimate)
        is_driven = time_s - target.stamp_s <= STALE_TARGET_S and control.mode in DRIVEN
        action = encode_target(target if is_driven else target.still(time_s), footprint)
        row = {
            schema.STATE: self._episode._body.state(state, estimate, control), schema.ACTION: action, schema.ACTION_SENT: action,
            schema.SUBTASK: self._episode.subtask(status.sub_task, time_s), schema.REASON: status.reason,
            schema.NEXT_SUBTASK: status.next_sub_task, schema.PROBLEM: status.problem, schema.PROGRESS: status.progress,
            schema.NOISE: False, schema.EXPERT: is_driven and status.tier != LEARNED_TIER,
            schema.INTERVENTION: is_driven and status.tier == OPERATOR_TIER,
            schema.BASE_ESTIMATE: np.concatenate([estimate.position, estimate.orientation]), schema.JOINT_COMMAND: command.positions,
        }  # fmt: skip
        if self._senses is not None:
            row |= self._ordered(streams["poses"](at["poses"]), estimate, footprint, time_s)
        return row

    def _ordered(self, poses: PoseSet, estimate: BaseEstimate, footprint: np.ndarray, time_s: float) -> dict:
        estimates = self._episode._streams["estimate"]
        index = max(int(estimates.stream.newest(np.array([poses.stamp_s]))[0]), 0)
        then = base_estimate_from_message(estimates.stream.message(index))
        now = carried_along(poses, inverse(_odom_from_base(estimate)) @ _odom_from_base(then))
        order_sense, way_sense = self._senses
        try:
            self._goal = order_sense.goal(now, estimate, before=self._goal)
        except OrderError as error:
            raise DataSetError(f"{self._span.order_id}: {error}") from None
        try:
            self._way = way_sense.way(now, estimate)
        except HumanoidControlError:
            pass  # there is none from here: the last one stays, as in a demonstration
        tote = now.totes.get(self._span.order.tote)
        if tote is not None:
            self._tote = _odom_from_base(estimate) @ tote.base_from_object, tote.stamp_s if np.isfinite(tote.stamp_s) else poses.stamp_s
        if self._tote is None:
            raise DataSetError(f"the pose of {self._span.order.tote} was not told when its order began")
        return {schema.GOAL: self._goal, schema.WAY: self._way, schema.SEEN_TOTE: tote_numbers(footprint, self._tote[0]),
                "tote_age_s": time_s - self._tote[1]}  # fmt: skip


def _odom_from_base(estimate: BaseEstimate) -> np.ndarray:
    return from_pose(np.concatenate([estimate.position, estimate.orientation]))


def _decoded(data: bytes, camera: str, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8, red first, of a JPEG."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataSetError(f"an image of {camera} cannot be decoded")
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

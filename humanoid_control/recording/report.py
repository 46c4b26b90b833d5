"""`humanoid episodes report`: recorded episodes as one page: how they ended, what is wrong with them, what was done when, plots and films."""

from __future__ import annotations

import argparse
import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader
from mcap.exceptions import McapError
from rich.console import Console
from rich.progress import track

from humanoid_control.errors import ConfigurationError
from humanoid_control.film import Film
from humanoid_control.footprint import footprint_from_base
from humanoid_control.standing_body import LimbKinematics
from humanoid_control.recording.card import ORDER, PROBLEM, SUBTASK, TIER, VERDICT, Card
from humanoid_control.recording.episodes import episodes_in
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.quality import Finding, check_episode
from humanoid_control.recording.reading import Recording, Stream
from humanoid_control.report.plots import time_plot
from humanoid_control.robot_model import LEG_JOINTS, SIDE_ARM_JOINTS, WAIST_JOINTS, RobotModel
from humanoid_control.ros import topics
from humanoid_control.ros.from_messages import base_estimate_from_message
from humanoid_control.types import SIDES

FILM_HZ = 10
VIEW_WIDTH, VIEW_HEIGHT = 320, 180  # pixels of each camera's picture in the film
PLOT_HZ = 20.0
COLOURS = ("#4c78a8", "#d9730d", "#3f8f3a", "#d64550", "#3d8f8a", "#a15c93", "#a07c0c", "#8a6550", "#c9587a", "#5f8a3c", "#4d7f6f", "#a8433f",
           "#6a5aa0", "#a86f3d", "#606a73", "#22857a")  # of white words on them
TIER_COLOURS = {"scripted": "#94a3b8", "learned": "#6366f1", "operator": "#f59e0b"}
HASH_DIGITS = 10


@dataclass(frozen=True)
class Bar:
    """A stretch on the timeline, in percent of the episode."""

    left: float
    width: float
    text: str
    colour: str
    title: str


@dataclass
class EpisodePage:
    """What the page shows of one episode.

    Attributes:
        name: of the episode.
        card: None where it cannot be read.
        findings: what is wrong with it.
        subtasks, tiers: on the timeline.
        events: what happened besides, with s from the begin.
        plots: title and SVG.
        cameras: in the film, from left to right.
        film: where the page finds it; empty: there is none.
    """

    name: str
    card: Card | None
    findings: list[Finding]
    subtasks: list[Bar] = field(default_factory=list)
    tiers: list[Bar] = field(default_factory=list)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    plots: list[tuple[str, str]] = field(default_factory=list)
    cameras: tuple[str, ...] = ()
    film: str = ""

    @property
    def problems(self) -> list[Finding]:
        """Why it should not be learnt from."""
        return [finding for finding in self.findings if finding.is_error]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is known of it, for people."""
        card = self.card
        if card is None:
            return []
        begun = datetime.fromtimestamp(card.begun_ns / 1e9, timezone.utc)
        rows = [("begun", f"{begun:%Y-%m-%d %H:%M:%S} UTC"), ("lasts", f"{card.duration_s:.1f} s"), ("operator", card.operator), ("task", card.task),
                ("factory", card.factory + (f", seed {card.seed}" if card.seed is not None else "")), ("note", card.note),
                ("sub-tasks by", card.segmented_by and f"{card.segmented_by}, where a person drove"),
                *((f"{what} sha256", sha256[:HASH_DIGITS]) for what, sha256 in sorted(card.hashes.items())),
                ("messages", f"{sum(card.messages.values()):,}".replace(",", " "))]  # fmt: skip
        return [(name, value) for name, value in rows if value]


def subtask_spans(card: Card) -> list[tuple[float, float, str]]:
    """Begin and end in s from the episode's begin, and name: as policies told them, and as the segmentation or a person has put them."""
    found = list(card.spans(SUBTASK))
    for segment in card.segments:
        cut = []
        for begin, end, text in found:
            cut += [(b, e, text) for b, e in ((begin, min(end, segment.begin_s)), (max(begin, segment.end_s), end)) if e > b]
        found = sorted([*cut, (segment.begin_s, segment.end_s, segment.subtask)])
    return found


def describe(folder: Path, model: RobotModel) -> tuple[EpisodePage, bytes]:
    """What the page shows of an episode, and its film; empty where there are no images.

    Args:
        folder: of the episode.
        model: the robot.
    """
    findings = check_episode(folder)
    try:
        recording = Recording(folder)
    except (RecordingError, McapError, OSError):
        return EpisodePage(folder.name, None, findings), b""
    card = recording.card
    page = EpisodePage(folder.name, card, findings)
    names = list(dict.fromkeys(text for _, _, text in subtask_spans(card)))
    page.subtasks = _bars(subtask_spans(card), card, lambda text: COLOURS[names.index(text) % len(COLOURS)])
    page.tiers = _bars(card.spans(TIER), card, lambda text: TIER_COLOURS.get(text, "#cbd5e1"))
    page.events = [((event.log_ns - card.begun_ns) / 1e9, event.kind, event.text) for event in card.events
                   if event.kind in (VERDICT, PROBLEM, ORDER) and event.text]  # fmt: skip
    page.plots = _plots(recording, model)
    page.cameras = recording.cameras
    return page, film_of(recording) if recording.cameras else b""


def _bars(spans: Sequence[tuple[float, float, str]], card: Card, colour_of) -> list[Bar]:
    whole = max(card.duration_s, 1e-9)
    return [Bar(round(100 * begin / whole, 3), round(100 * (min(end, whole) - begin) / whole, 3), text, colour_of(text), f"{text}: {begin:.1f} to {end:.1f} s")
            for begin, end, text in spans if begin < whole]  # fmt: skip


# --- plots ------------------------------------------------------------------------------------------------------------------


def _plots(recording: Recording, model: RobotModel) -> list[tuple[str, str]]:
    spans, length = subtask_spans(recording.card), recording.card.duration_s
    made = []

    def draw(title: str, label: str, lines: dict[str, tuple[np.ndarray, np.ndarray]], **how) -> None:
        if any(len(times) for times, _ in lines.values()):
            made.append((title, time_plot(lines, label=label, marks=[begin for begin, _, _ in spans], until_s=length, **how)))

    states, estimates = recording.stream(topics.ROBOT_STATE), recording.stream(topics.BASE_ESTIMATE)
    if len(states) > 1:
        every = _every(states)
        times = _log_s(states, recording)[::every]
        positions, velocities, forces, openings = states.values("joint_positions", "joint_velocities", "gripper_forces", "gripper_openings", every=every)
        groups = {"legs": LEG_JOINTS, "waist": WAIST_JOINTS, "left arm": SIDE_ARM_JOINTS[0], "right arm": SIDE_ARM_JOINTS[1]}
        draw("Joint speeds, the fastest of each group", "rad/s", {name: (times, np.abs(velocities[:, part]).max(axis=1)) for name, part in groups.items()})
        if len(estimates):
            hands = _hands(recording, states, estimates, positions, every, model)
            for axis, (letter, where) in enumerate((("x", "ahead"), ("y", "to the left"), ("z", "above the floor"))):
                draw(f"Hands, {letter} in base_footprint: {where}", "m", {f"{side} hand": (times, hands[:, number, axis]) for number, side in enumerate(SIDES)})
        draw("Gripper forces", "N", {f"{side} gripper": (times, forces[:, number]) for number, side in enumerate(SIDES)})
        draw("Gripper openings", "mm", {f"{side} gripper": (times, 1e3 * openings[:, number]) for number, side in enumerate(SIDES)})
    late = {}
    for name, stream in (("robot_state", states), ("whole_body_target", recording.stream(topics.WHOLE_BODY_TARGET)),
                         *((f"{camera} image", recording.camera(camera)) for camera in recording.cameras)):  # fmt: skip
        every = _every(stream)
        late[name] = _log_s(stream, recording)[::every], 1e-6 * (stream.log_ns - stream.sent_ns)[::every]
    draw("Latency, from sent to recorded", "ms", late)
    return made


def _hands(recording: Recording, states: Stream, estimates: Stream, positions: np.ndarray, every: int, model: RobotModel) -> np.ndarray:
    """(N, 2, 3) m in `base_footprint`."""
    limbs = LimbKinematics(model)
    at = np.maximum(estimates.newest(states.stamps_s[::every]), 0)
    rows = []
    for row, index in zip(positions, at):
        footprint = footprint_from_base(base_estimate_from_message(estimates.message(int(index))))
        rows.append([(footprint @ hand)[:3, 3] for hand in limbs.base_from_hands(row)])
    return np.array(rows)


def _every(stream: Stream) -> int:
    """How many messages one point of a plot stands for."""
    length_s = 1e-9 * float(stream.log_ns[-1] - stream.log_ns[0]) if len(stream) > 1 else 0.0
    return max(round(len(stream) / max(length_s * PLOT_HZ, 1.0)), 1)


def _log_s(stream: Stream, recording: Recording) -> np.ndarray:
    return 1e-9 * (stream.log_ns - recording.card.begun_ns)


# --- the film ---------------------------------------------------------------------------------------------------------------


def film_of(recording: Recording) -> bytes:
    """All cameras beside each other at `FILM_HZ`, as mp4: at each time the newest image of each that had come."""
    cameras = recording.cameras
    times = recording.card.begun_ns + np.arange(max(int(recording.card.duration_s * FILM_HZ), 1)) * round(1e9 / FILM_HZ)
    columns = []
    for camera in cameras:
        stream = recording.camera(camera)
        shown = np.searchsorted(stream.log_ns, times, side="right") - 1
        views, view = [], np.zeros((VIEW_HEIGHT, VIEW_WIDTH, 3), np.uint8)
        images = recording.images(camera, np.unique(shown[shown >= 0]).tolist())
        known = -1
        for index in shown:
            if index >= 0 and index != known:
                known, data = next(images)
                view = _view(data)
            views.append(view)
        columns.append(views)
    film = Film(width=VIEW_WIDTH * len(cameras), height=VIEW_HEIGHT, rate_hz=FILM_HZ)
    for frame in range(len(times)):
        film.add(np.ascontiguousarray(np.hstack([views[frame] for views in columns])))
    return film.finish()[0]


def _view(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return np.zeros((VIEW_HEIGHT, VIEW_WIDTH, 3), np.uint8)
    return cv2.cvtColor(cv2.resize(image, (VIEW_WIDTH, VIEW_HEIGHT), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


# --- the command ------------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid episodes report`."""
    parser.add_argument("folder", type=Path, help="an episode, or a folder of episodes")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page, such as report.html")
    parser.add_argument("--beside", action="store_true", help="films in a folder beside the page, not in it: for many episodes")
    parser.add_argument("--no-films", action="store_true", help="leave films out")


def run(args: argparse.Namespace) -> int:
    """Carries out the command.

    Raises:
        HumanoidControlError: there is no episode, or the page cannot be written.
    """
    console = Console(highlight=False, soft_wrap=True)
    folders, model = episodes_in(args.folder), RobotModel.load()
    films = args.out.with_name(f"{args.out.stem}_films")
    pages = []
    try:
        for folder in track(folders, "episodes", console=console, transient=True, disable=not console.is_terminal):
            page, film = describe(folder, model)
            if film and not args.no_films:
                page.film = _kept(film, films / f"{folder.name}.mp4" if args.beside else None)
            pages.append(page)
        args.out.write_text(render(pages, title=args.folder.resolve().name))
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from None
    console.print(f"{args.out}: {len(pages)} episodes, {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


def _kept(film: bytes, path: Path | None) -> str:
    """Where a page finds a film: in itself, or in a file beside it."""
    if path is None:
        return f"data:video/mp4;base64,{base64.b64encode(film).decode()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(film)
    return f"{path.parent.name}/{path.name}"


def render(pages: Sequence[EpisodePage], *, title: str) -> str:
    """The page."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    known = [page.card for page in pages if page.card is not None]
    return environment.get_template("report_template.html").render(
        pages=pages, title=title, trusted=sum(not page.problems for page in pages), successes=sum(card.outcome == "success" for card in known),
        minutes=sum(card.duration_s for card in known) / 60.0, tiers=TIER_COLOURS, view_share=VIEW_HEIGHT / VIEW_WIDTH,
    )  # fmt: skip

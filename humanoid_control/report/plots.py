"""The report's plots, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from humanoid_control.report.run_record import RunRecord

WIDTH, HEIGHT = 9.0, 2.4  # inches
COLOURS = ("#2b6cb0", "#dd6b20")
LINE_COLOURS = (*COLOURS, "#2f855a", "#9f7aea", "#d53f8c")
STATION_COLOUR, KEEP_OUT_COLOUR, SLOW_COLOUR = "#cbd5e0", "#e53e3e", "#d69e2e"
matplotlib.rcParams.update({"svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.25,
                            "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "report"})  # fmt: skip


def floor_map(record: RunRecord) -> str:
    """The base's way on the floor, true and estimated, and the totes' ways."""
    figure = Figure(figsize=(6.4, 6.0))
    axes = figure.subplots()
    half_x, half_y = (side / 2 for side in record.factory.floor.size)
    for station in record.factory.stations:
        outline = np.array(station.footprint.exterior.coords)
        axes.add_patch(Polygon(outline, facecolor=STATION_COLOUR, edgecolor="#718096"))
        axes.text(*station.position[:2], station.name, ha="center", va="center", fontsize=8)
    for zone in record.factory.zones:
        colour = KEEP_OUT_COLOUR if zone.kind == "keep_out" else SLOW_COLOUR
        axes.add_patch(Polygon(np.array(zone.polygon), facecolor=colour, alpha=0.15, edgecolor=colour, hatch="//"))
    for person in record.factory.people:
        path = np.array(person.path)
        axes.plot(path[:, 0], path[:, 1], ":", color="#805ad5", label=f"{person.name} (person)")
    for name, path in record.tote_paths.items():
        axes.plot(path[:, 1], path[:, 2], color="#38a169", linewidth=1, label=f"{name} (tote)")
    axes.plot(record.truth[:, 1], record.truth[:, 2], color=COLOURS[0], label="base, true")
    estimated = record.estimated_path()
    axes.plot(estimated[:, 0], estimated[:, 1], "--", color=COLOURS[1], linewidth=1, label="base, estimated")
    if len(record.truth):
        axes.plot(*record.truth[0, 1:3], "o", color=COLOURS[0])
    axes.set(xlim=(-half_x, half_x), ylim=(-half_y, half_y), aspect="equal", xlabel="x in map, m", ylabel="y in map, m")
    axes.legend(loc="lower right", fontsize=7)
    return _as_svg(figure)


def timeline(record: RunRecord) -> str:
    """What the policy did, when; problems are marked."""
    names = list(dict.fromkeys(subtask.name for subtask in record.subtasks))
    figure, axes = _time_axes("", height=0.4 + 0.24 * max(len(names), 1))
    for subtask in record.subtasks:
        row = names.index(subtask.name)
        colour = COLOURS[1] if subtask.problem else COLOURS[0]
        axes.barh(row, subtask.ended_s - subtask.began_s, left=subtask.began_s, height=0.7, color=colour)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    return _as_svg(figure)


def hand_errors(record: RunRecord) -> str:
    """Distance between hands and their targets."""
    return _lines(record.control[:, 0], 1e3 * record.control[:, 1:3], ("left", "right"), "hand error, mm")


def foot_forces(record: RunRecord) -> str:
    """Estimated vertical forces on the feet."""
    return _lines(record.estimate[:, 0], record.estimate[:, 7:9], ("left", "right"), "foot force, N")


def speeds(record: RunRecord) -> str:
    """Estimated velocity of the base."""
    return _lines(record.estimate[:, 0], record.estimate[:, 4:6], ("forward", "left"), "base speed, m/s")


def payloads(record: RunRecord) -> str:
    """Estimated mass in the hands."""
    return _lines(record.control[:, 0], record.control[:, 3:5], ("left", "right"), "payload, kg")


def time_plot(lines: dict[str, tuple[np.ndarray, np.ndarray]], *, label: str, marks: Sequence[float] = (), until_s: float) -> str:
    """Some lines over time, as SVG.

    Args:
        lines: times in s and values, by name.
        label: of the values' axis.
        marks: s at which something else began.
        until_s: where time ends.
    """
    figure = Figure(figsize=(6.0, 2.1))
    axes = figure.subplots()
    for mark in marks:
        axes.axvline(mark, color="#a0aec0", linewidth=0.5)
    for number, (name, (times, values)) in enumerate(lines.items()):
        axes.plot(times, values, color=LINE_COLOURS[number % len(LINE_COLOURS)], linewidth=0.9, label=name)
    axes.set(xlim=(0.0, until_s), ylabel=label, xlabel="s")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(lines), fontsize=8, frameon=False, handlelength=1.2)
    return _as_svg(figure)


def _lines(times: np.ndarray, values: np.ndarray, names: tuple[str, ...], label: str) -> str:
    figure, axes = _time_axes(label)
    for column, (name, colour) in enumerate(zip(names, COLOURS)):
        axes.plot(times, values[:, column], color=colour, linewidth=0.8, label=name)
    axes.legend(loc="upper right", fontsize=7)
    return _as_svg(figure)


def _time_axes(label: str, height: float = HEIGHT):
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots()
    axes.set(xlabel="simulated time, s", ylabel=label)
    return figure, axes


def _as_svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

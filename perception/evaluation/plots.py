"""The plots of a measurement of perception, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import chi2

from perception.evaluation.comparison import DIMENSIONS
from perception.evaluation.figures import APPROACH, FARTHEST, Rows

COLOURS = ("#2563eb", "#ea580c", "#0d9488", "#7c3aed")  # by rung, in their order
TARGET_COLOUR = "#94a3b8"
BIN, FEWEST = 0.1, 10  # m; samples, below which a bin is not drawn
NEES_MOST, NEES_BINS, HIGHEST_DENSITY = 16.0, 32, 1.0
LEAST_MM, LEAST_DEGREES = 0.3, 0.03  # where axes begin
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "perception", "font.size": 9, "font.family": "sans-serif", "axes.grid": True,
         "grid.alpha": 0.25, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#94a3b8",
         "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "legend.frameon": False}  # fmt: skip


def errors_over_distance(rows: Mapping[str, Rows], targets: dict) -> str:
    """Median and 95th percentile of position and angle, and what is found, over the distance from the camera."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 3.5))
        position, angle, recall = figure.subplots(1, 3)
        for colour, (rung, all_rows) in zip(COLOURS, rows.items()):
            fair, clear = all_rows[all_rows.fair], all_rows[all_rows.clear]
            for axes, values in ((position, 1e3 * fair.position), (angle, np.degrees(fair.angle))):
                for percent, line in ((50, "-"), (95, "--")):
                    x, y = _binned(fair.distance, values, lambda part, percent=percent: np.percentile(part, percent))
                    label = f"{rung}, {'median' if percent == 50 else '95%'}"
                    axes.plot(x, y, line, marker="o", markersize=2.5, color=colour, label=label)
            recall.plot(*_binned(clear.distance, 100.0 * clear.found, np.mean), marker="o", markersize=2.5, color=colour, label=rung)
        asked = [targets[rung] for rung in rows if rung in targets]
        for of in asked:
            for axes, key in ((position, "position_mm"), (angle, "angle_deg")):
                for value, line in ((of[key]["p50"], "-"), (of[key]["p95"], "--")):
                    if value is not None:
                        axes.plot([0, 1], [value, value], line, color=TARGET_COLOUR, linewidth=2.5, zorder=0)
        for of in asked[:1]:
            recall.plot([0, 1], [100 * of["recall"]] * 2, color=TARGET_COLOUR, linewidth=2.5, zorder=0, label="target, to 1 m")
        for axes, title in ((position, "Position error (mm)"), (angle, "Angle error (degrees)"), (recall, "Clear totes found (%)")):
            axes.set(title=title, xlabel="distance from the camera (m)", xlim=(0, _farthest(rows)))
        for axes, least in ((position, LEAST_MM), (angle, LEAST_DEGREES)):
            axes.set_yscale("log")
            axes.set_ylim(bottom=least)
        recall.set_ylim(-2, 102)
        position.legend(fontsize=7)
        recall.legend(fontsize=7, loc="lower left")
        return _as_svg(figure)


def reliability(figures: Mapping[str, dict]) -> str:
    """Which share of truths lies in the region that should hold a given share."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=TARGET_COLOUR, linewidth=1.5, label="honest")
        axes.fill_between([0, 1], [0, 1], [1, 1], color="#16a34a", alpha=0.05, linewidth=0)
        axes.fill_between([0, 1], [0, 0], [0, 1], color="#dc2626", alpha=0.05, linewidth=0)
        axes.text(0.05, 0.93, "too careful", color="#16a34a", fontsize=8)
        axes.text(0.05, 0.02, "too sure", color="#dc2626", fontsize=8)
        for colour, (rung, one) in zip(COLOURS, figures.items()):
            if one["reliability"]:
                axes.plot(one["reliability"]["nominal"], one["reliability"]["observed"], "o-", color=colour, markersize=3.5, label=rung)
        axes.plot([0.9, 0.9], [0.85, 0.95], color=TARGET_COLOUR, linewidth=6, alpha=0.6, solid_capstyle="butt", label="target at 90%")
        axes.set(title="Covariances: reliability", xlabel="should hold", ylabel="holds", xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
        axes.legend(fontsize=7, loc="lower right")
        return _as_svg(figure)


def nees(rows: Mapping[str, Rows]) -> str:
    """How the squared error over its covariance is spread, and how it should be."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 4.2))
        axes = figure.subplots()
        edges = np.linspace(0.0, NEES_MOST, NEES_BINS + 1)
        for colour, (rung, all_rows) in zip(COLOURS, rows.items()):
            values = all_rows.nees[all_rows.fair]
            if len(values):
                weights = np.full(len(values), 1.0 / len(values) / np.diff(edges)[0])
                beyond = float((values > NEES_MOST).mean())
                axes.hist(np.minimum(values, NEES_MOST), edges, weights=weights, histtype="stepfilled", color=colour, alpha=0.25)
                axes.hist(np.minimum(values, NEES_MOST), edges, weights=weights, histtype="step", color=colour,
                          label=f"{rung}; beyond {NEES_MOST:g}: {beyond:.1%}")  # fmt: skip
        x = np.linspace(0.0, NEES_MOST, 200)
        axes.plot(x, chi2.pdf(x, DIMENSIONS), color="#475569", linewidth=1.5, label="honest (chi-squared, 4 degrees)")
        axes.set(title="Squared error of x, y, z and heading over its covariance (NEES)", xlabel="NEES", ylabel="density",
                 xlim=(0, NEES_MOST), ylim=(0, HIGHEST_DENSITY))  # fmt: skip
        axes.legend(fontsize=7)
        return _as_svg(figure)


def in_sight(gaze: list[dict]) -> str:
    """Which share of each approach any camera has the tote in sight, by what it stands on."""
    fetched = [row for row in gaze if row["subtask"] in APPROACH]
    names = sorted({row["what"] for row in fetched}, key=lambda what: (what.rsplit(" at ")[0], float(what.split()[-2])))
    shades = ("#1e3a8a", "#2563eb", "#60a5fa", "#bfdbfe")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 0.9 + 0.5 * max(len(names), 1)))
        axes = figure.subplots()
        height = 0.8 / len(APPROACH)
        for k, (subtask, shade) in enumerate(zip(APPROACH, shades)):
            shares = {row["what"]: row["any_camera"] for row in fetched if row["subtask"] == subtask}
            for i, name in enumerate(names):
                if name in shares:
                    share, y = 100 * shares[name], i + (k - 1.5) * height
                    axes.barh(y, share, height=0.9 * height, color=shade, label=subtask if name == next(n for n in names if n in shares) else None)
                    axes.text(share + 0.5, y, f"{share:.0f}", va="center", fontsize=6, color="#475569")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set(title="Share of each approach in which any camera has the tote in sight (%)", xlim=(0, 104))
        if names:
            axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _as_svg(figure)


def _binned(distance: np.ndarray, values: np.ndarray, figure) -> tuple[np.ndarray, np.ndarray]:
    edges = np.arange(0.0, FARTHEST + BIN, BIN)
    which = np.digitize(distance, edges) - 1
    kept = [k for k in range(len(edges) - 1) if (which == k).sum() >= FEWEST]
    return edges[kept] + BIN / 2, np.array([figure(values[which == k]) for k in kept])


def _farthest(rows: Mapping[str, Rows]) -> float:
    distances = np.concatenate([one.distance[one.fair] for one in rows.values()] or [np.zeros(0)])
    return float(np.clip(distances.max(initial=1.0) + 0.1, 1.1, FARTHEST))


def _as_svg(figure: Figure) -> str:
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

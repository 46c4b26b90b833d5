"""The page of a measurement of perception: one file with everything in it, which opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from perception.evaluation import plots
from perception.evaluation.figures import Rows

TEMPLATE = "perception_page.html"
SHOWN_CASES = 12  # of each sort and rung
SORTS = {"error": "Worst errors", "miss": "Clear totes not found", "false": "Totes that are none"}


def perception_page(report: dict, episodes: Sequence[dict]) -> str:
    """The page's HTML.

    Args:
        report: of `perception_report`, with its heading.
        episodes: what it was made of, with cases for the gallery.
    """
    rows = {rung: Rows.of([episode["rungs"][rung]["rows"] for episode in episodes]) for rung in report["rungs"]}
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    return environment.get_template(TEMPLATE).render(
        report=report, factories=[Path(path).stem for path in report["factories"]], headline=_headline(report),
        tables=[(title, _table(report, key)) for title, key in (
            ("By distance from the camera", "by_distance"), ("By camera", "by_camera"), ("By what the robot does", "by_subtask"),
            ("By what the tote is fetched from", "by_station"), ("By how much of it is in sight", "by_visibility"))],
        over_distance=plots.errors_over_distance(rows, report["targets"]), reliability=plots.reliability(report["rungs"]),
        nees=plots.nees(rows), in_sight=plots.in_sight(report["in_sight"]), gallery=_gallery(report, episodes),
    )  # fmt: skip


def _headline(report: dict) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Rows of (figure, target, (value, class) by rung), within 1 m of the camera."""
    targets = report["targets"]
    lines = []

    def line(name: str, target: str, read, is_met) -> None:
        cells = []
        for rung, figures in report["rungs"].items():
            value, text = read(figures)
            judged = value is not None and is_met is not None and rung in targets
            verdict = ("good" if is_met(value, targets[rung]) else "bad") if judged else ""
            cells.append((text, verdict))
        lines.append((name, target, cells))

    def spread(key: str, percentile: str, unit: str):
        def read(figures: dict):
            cell = figures["within_1_m"][key]
            return cell[percentile], _with_interval(cell[percentile], cell.get(f"{percentile}_95"), unit)

        return read

    def share(key: str):
        def read(figures: dict):
            cell = figures["within_1_m"]
            interval = cell.get(f"{key}_95")
            percent = [100 * bound for bound in interval] if interval else None
            return cell[key], _with_interval(None if cell[key] is None else 100 * cell[key], percent, " %")

        return read

    def errors(name: str, key: str, percentile: str, unit: str) -> None:
        asked = {rung: of[key][percentile] for rung, of in targets.items() if rung in report["rungs"]}
        line(name, ", ".join(f"{rung} {value:g}{unit}" for rung, value in asked.items() if value is not None),
             spread(key, percentile, unit), lambda value, of: of[key][percentile] is None or value <= of[key][percentile])  # fmt: skip

    errors("position error, median", "position_mm", "p50", " mm")
    errors("position error, 95%", "position_mm", "p95", " mm")
    errors("angle error, median", "angle_deg", "p50", "°")
    errors("angle error, 95%", "angle_deg", "p95", "°")
    shared = targets["detector"]
    line("clear totes found", f"{shared['recall']:.0%}", share("recall"), lambda value, of: value >= of["recall"])
    line("of the right kind", "", share("kind_right"), None)
    low, high = shared["coverage_90"]
    line("inside the 90% region", f"{low:.0%} to {high:.0%}", share("coverage_90"), lambda value, of: low <= value <= high)
    line("errors over 60 mm", "", lambda f: (f["within_1_m"]["over_60_mm"], _of(f["within_1_m"], "over_60_mm")), None)
    line("… and not owned by the covariance", "0", lambda f: (f["within_1_m"]["over_60_mm_not_owned"],
         _of(f["within_1_m"], "over_60_mm_not_owned")), lambda value, of: value == 0)  # fmt: skip
    line("false totes per image, anywhere", f"{shared['false_per_image']:g}",
         lambda f: (f["false_per_image"], _with_interval(f["false_per_image"], f.get("false_per_image_95"), "", 4)),
         lambda value, of: value <= of["false_per_image"])  # fmt: skip
    return lines


def _of(cell: dict, key: str) -> str:
    return f"{cell[key]} of {cell['errors']}"


def _with_interval(value: float | None, interval: list[float] | None, unit: str, digits: int = 1) -> str:
    if value is None:
        return "–"
    digits = 2 if digits == 1 and abs(value) < 10 else digits
    text = f"{value:.{digits}f}{unit}"
    return text + (f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})" if interval else "")


def _table(report: dict, key: str) -> list[tuple[str, list[dict | None]]]:
    names = dict.fromkeys(name for figures in report["rungs"].values() for name in figures[key])
    return [(name, [figures[key].get(name) for figures in report["rungs"].values()]) for name in names]


def _gallery(report: dict, episodes: Sequence[dict]) -> list[tuple[str, list[tuple[str, list[dict]]]]]:
    """By rung and sort, the worst cases of all episodes, pictures as data URLs."""
    shown = []
    for rung in report["rungs"]:
        sorts = []
        for sort, title in SORTS.items():
            cases = [case | {"seed": episode["seed"], "factory": Path(report["factories"][episode["factory"]]).stem}
                     for episode in episodes for case in episode["rungs"][rung]["cases"] if case["sort"] == sort]  # fmt: skip
            cases.sort(key=lambda case: -case["badness"])
            sorts.append((title, [case | {"picture": _data_url(case["jpeg"])} for case in cases[:SHOWN_CASES]]))
        shown.append((rung, sorts))
    return shown


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()

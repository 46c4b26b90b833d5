"""Writes a run's page and key figures."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from humanoid_control.report import plots
from humanoid_control.report.run_record import RunRecord

PAGE, FIGURES = "report.html", "kpi.json"


def write_report(record: RunRecord, folder: Path, *, video: str | None = None, notes: tuple[str, ...] = ()) -> Path:
    """Writes `report.html` and `kpi.json`, and returns the page's path.

    Args:
        record: of the run.
        folder: that exists.
        video: name of a film in that folder.
        notes: what the reader should know first, such as why the run ended early.
    """
    figures = record.key_figures()
    orders = [{"order": o.name, "success": o.success, "duration_s": round(o.ended_s - o.began_s, 2), "reason": o.reason,
               "detail": o.detail, "judge": o.judge_detail} for o in record.orders]  # fmt: skip
    content = {"factory": record.factory.name, "seed": record.seed, **figures, "results": orders, "notes": list(notes)}
    (folder / FIGURES).write_text(json.dumps(content, indent=1) + "\n")
    drawn = [(title, draw(record)) for title, draw in (
        ("What it did, when", plots.timeline), ("Distance of the hands from their targets", plots.hand_errors),
        ("Vertical forces on the feet", plots.foot_forces), ("Speed of the base", plots.speeds),
        ("Mass in the hands", plots.payloads))]  # fmt: skip
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = folder / PAGE
    page.write_text(environment.get_template("report_template.html").render(
        record=record, rows=figure_rows(figures), floor=plots.floor_map(record), plots=drawn, video=video, notes=notes))
    return page


def figure_rows(figures: dict[str, object]) -> list[tuple[str, str]]:
    """Name and value of each figure, for people."""
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        if value is not None and value != "":
            rows.append((name.replace("_", " "), str(value)))
    return rows

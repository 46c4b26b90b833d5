"""`humanoid evaluate perception`: runs the episodes, prints the figures, writes them and the page."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from humanoid_control.bench.report import versions
from humanoid_control.errors import ConfigurationError
from perception.evaluation.looks import LOOKS
from policies.evaluation.journal import make_folder, write_whole
from policies.evaluation.perception_campaign import PerceptionCampaign, perception_report, run_perception
from policies.evaluation.rungs import parse_rungs
from policies.evaluation.workers import available_cores

EXIT_INTERRUPTED = 130


def run_command(args: argparse.Namespace) -> int:
    """Carries out the command; 0 if every episode was run.

    Args:
        args: `factory` (list of paths), `poses`, `episodes`, `seed`, `workers`, `look`, `json`, `html`.

    Raises:
        HumanoidControlError: whatever the user can put right.
    """
    campaign = PerceptionCampaign(
        factories=tuple(str(path) for path in args.factory), rungs=parse_rungs(args.poses),
        look=args.look or LOOKS[0], gallery=args.html is not None,
    )  # fmt: skip
    campaign.check()
    for path in (args.json, args.html):
        if path is not None:
            check_writable(path)
    began = time.perf_counter()
    jobs = [(index, seed) for index in range(len(campaign.factories)) for seed in range(args.seed, args.seed + args.episodes)]
    workers = min(args.workers or available_cores(), len(jobs))
    done: dict[tuple[int, int], dict] = {}
    interrupted = False
    try:
        with _progress() as progress:
            task = progress.add_task("", total=len(jobs))
            for episode in run_perception(campaign, jobs, workers=workers):
                done[episode["factory"], episode["seed"]] = episode
                progress.advance(task)
    except KeyboardInterrupt:
        interrupted = True
    episodes = [done[job] for job in jobs if job in done]
    report = campaign.heading() | {"seed": args.seed} | perception_report(campaign, episodes)
    report |= {"versions": versions(), "complete": not interrupted, "workers": workers,
               "wall_s": round(time.perf_counter() - began, 3)}  # fmt: skip
    if args.json:
        write_whole(args.json, json.dumps(report, indent=1) + "\n")
    if args.html:
        from policies.evaluation.perception_page import perception_page

        write_whole(args.html, perception_page(report, episodes))
    _print(report)
    if interrupted:
        print(f"interrupted after {len(episodes)} of {len(jobs)} episodes", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def check_writable(path: Path) -> None:
    """Refuses a file that cannot be written, before hours are spent on what goes into it.

    Raises:
        ConfigurationError: its folder cannot be made or written to, or it is a folder itself.
    """
    folder = path.absolute().parent
    make_folder(folder)
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; name a file in it.")
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"{path} cannot be written: no permission for {folder}.")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
                    console=console, transient=True, disable=not console.is_terminal)  # fmt: skip


def _print(report: dict) -> None:
    console = Console()
    names = ", ".join(Path(path).name for path in report["factories"])
    title = f"perception in {report['episodes']} episodes of {names}, look {report['look']}"
    table = Table(title=title)
    table.add_column("within 1 m of the camera")
    targets = report["targets"]
    table.add_column("target", justify="right")
    for rung in report["rungs"]:
        table.add_column(rung, justify="right")
    cells = {rung: figures["within_1_m"] for rung, figures in report["rungs"].items()}

    def target(key: str, percentile: str) -> str:
        values = {rung: of[key][percentile] for rung, of in targets.items() if rung in report["rungs"]}
        return ", ".join(f"{rung} {value:g}" for rung, value in values.items() if value is not None)

    shared = targets["detector"]
    rows = [
        ("position, median (mm)", target("position_mm", "p50"), lambda c: _with(c["position_mm"], "p50")),
        ("position, 95% (mm)", target("position_mm", "p95"), lambda c: _with(c["position_mm"], "p95")),
        ("angle, median (degrees)", target("angle_deg", "p50"), lambda c: _with(c["angle_deg"], "p50")),
        ("angle, 95% (degrees)", target("angle_deg", "p95"), lambda c: _with(c["angle_deg"], "p95")),
        ("clear totes found", f"{shared['recall']:.0%}", lambda c: _share(c["recall"], c.get("recall_95"))),
        ("of the right kind", "", lambda c: _share(c["kind_right"], None)),
        ("inside the 90% region", "85 to 95%", lambda c: _share(c["coverage_90"], c.get("coverage_90_95"))),
        ("over 60 mm", "", lambda c: f"{c['over_60_mm']} of {c['errors']}"),
        ("  and not owned", "0", lambda c: str(c["over_60_mm_not_owned"])),
    ]
    for name, asked, text in rows:
        table.add_row(name, asked, *(text(cells[rung]) for rung in cells))
    table.add_row("false per image, anywhere", f"{shared['false_per_image']:g}",
                  *(str(figures["false_per_image"]) for figures in report["rungs"].values()))  # fmt: skip
    console.print(table)
    far = Table(title="median / 95% in mm; found")
    for name in ("", *report["rungs"]):
        far.add_column(name, justify="right")
    for label, key in (("by distance", "by_distance"), ("by camera", "by_camera"), ("by sub-task", "by_subtask"),
                       ("fetched from", "by_station")):  # fmt: skip
        far.add_section()
        far.add_row(f"[bold]{label}")
        for name in dict.fromkeys(name for figures in report["rungs"].values() for name in figures[key]):
            far.add_row(name, *(_short(figures[key].get(name)) for figures in report["rungs"].values()))
    console.print(far)
    console.print(f"{report['success']} of {report['episodes']} episodes did their orders; {report['simulated_s']:.0f} s simulated "
                  f"in {report['wall_s']:.0f} s with {report['workers']} process{'es' if report['workers'] > 1 else ''}")  # fmt: skip


def _with(values: dict, name: str) -> str:
    if values[name] is None:
        return "-"
    interval = values.get(f"{name}_95")
    return f"{values[name]:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")


def _share(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" + (f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else "")


def _short(cell: dict | None) -> str:
    if cell is None or cell["position_mm"]["p50"] is None:
        return "-"
    found = f"{cell['recall']:.0%} of {cell['clear']}" if cell["clear"] else "-"
    return f"{cell['position_mm']['p50']:.1f} / {cell['position_mm']['p95']:.1f}; {found}"

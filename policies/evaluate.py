"""`humanoid evaluate`: carries out a factory's orders without ROS, as fast as the machine can, and counts successes.

What is counted, and what each key of the JSON file means, is in docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from humanoid_control.bench.report import versions
from humanoid_control.errors import ConfigurationError
from humanoid_control.simulation.layouts import SPLITS
from perception.evaluation.looks import LOOKS
from perception.poses import RUNGS
from policies.evaluation.campaign import VIDEO_ALL, VIDEO_FAILURES, Campaign, run_campaign
from policies.evaluation.journal import Journal, make_folder, write_whole
from policies.evaluation.soak import make_soak_worker, memory_trend
from policies.evaluation.rungs import parse_rungs
from policies.evaluation.summary import paired_difference, percentiles, summarise
from policies.evaluation.workers import available_cores, run_jobs

EXIT_BELOW_REQUIRED = 1
EXIT_INTERRUPTED = 130
SHOWN_FAILURES = 20
PERCEPTION = "perception"
RUNGS_OF_PERCEPTION = "detector,tracker"  # measured by default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid evaluate`."""
    add, file = parser.add_argument, {"metavar": "FILE", "type": Path}
    add("what", nargs="?", choices=(PERCEPTION,), metavar=PERCEPTION,
        help="measure rungs of perception in whole episodes, instead of a policy's success")  # fmt: skip
    add("--factory", required=True, nargs="+", help="the factory file: stations, totes, orders and what varies; "
        f"several for {PERCEPTION}", **file)  # fmt: skip
    add("--policy", metavar="NAME", help="who decides: scripted")
    add("--poses", metavar="RUNG[,RUNG...]", help=f"who says where things are: {', '.join(RUNGS)} (default oracle; "
        f"for {PERCEPTION} {RUNGS_OF_PERCEPTION})")  # fmt: skip
    add("--layouts", metavar="SPLIT", help=f"draw each episode's floor from its seed, in one of two splits that share none: "
        f"{', '.join(SPLITS)}")  # fmt: skip
    add("--checkpoint", help="parameters of a learned policy", **file)
    add("--episodes", type=int, metavar="N", help="how many episodes, one a seed")
    add("--hours", type=float, metavar="H",
        help="instead of episodes: so many hours of robot time of random orders in one go, watching memory and drift")  # fmt: skip
    add("--seed", type=int, default=0, metavar="S", help="the first episode's (default 0); the others count on from it")
    add("--workers", type=int, metavar="W", help="processes (default: one a core); they do not change what comes out")
    add("--video", metavar="DIR", type=Path, help="write a film of each episode")
    add("--video-failures", action="store_true", help="of failed episodes only, which are run again for it")
    add("--json", help="write the figures; each episode's record goes at once to the .jsonl file beside it", **file)
    add("--resume", action="store_true", help="go on with what that .jsonl file holds already")
    add("--require", type=float, metavar="RATE", help="exit with 1 if a smaller share of episodes succeeds")
    add("--look", metavar="LOOK", help=f"{PERCEPTION}: how scenes are painted: {', '.join(LOOKS)} (default {LOOKS[0]})")
    add("--html", help=f"{PERCEPTION}: write a page with curves and pictures of what went wrong", **file)


def run(args: argparse.Namespace) -> int:
    """Carries out the command.

    Returns:
        0 if every episode was run and `--require` is met.

    Raises:
        HumanoidControlError: whatever the user can put right.
    """
    _check(args)
    if args.what == PERCEPTION:
        from policies.evaluation.perception_command import run_command  # with OpenGL and the networks' runtime

        args.poses = args.poses or RUNGS_OF_PERCEPTION
        return run_command(args)
    rungs = parse_rungs("oracle" if args.poses is None else args.poses)
    if len(rungs) > 1 and args.hours is not None:
        raise ConfigurationError(f"--hours goes with one pose source; --poses names {len(rungs)}.")
    campaigns = [_campaign(args, rung, video=args.video / rung if args.video and len(rungs) > 1 else args.video) for rung in rungs]
    for campaign in campaigns:
        campaign.check()
        if campaign.video:
            make_folder(Path(campaign.video))
    if args.json:
        make_folder(args.json.absolute().parent)
    if args.hours is not None:
        return _soak(args, campaigns[0])
    return _evaluate(args, campaigns[0]) if len(rungs) == 1 else _compare(args, campaigns)


def _campaign(args: argparse.Namespace, rung: str, *, video: Path | None) -> Campaign:
    return Campaign(
        factory=str(args.factory[0]), policy=args.policy, poses=rung, layouts=args.layouts,
        checkpoint=str(args.checkpoint) if args.checkpoint else None,
        video=str(video) if video else None, video_of=VIDEO_FAILURES if args.video_failures else VIDEO_ALL,
    )  # fmt: skip


def _check(args: argparse.Namespace) -> None:
    if args.what == PERCEPTION:
        _check_of_perception(args)
    else:
        for option in ("look", "html"):
            if getattr(args, option) is not None:
                raise ConfigurationError(f"--{option} goes with `humanoid evaluate {PERCEPTION}` only.")
        if len(args.factory) > 1:
            raise ConfigurationError(f"--factory names {len(args.factory)} files; evaluate one, or several for {PERCEPTION}.")
        if args.policy is None:
            raise ConfigurationError("--policy is missing; name one, such as scripted.")
    if (args.episodes is None) == (args.hours is None):
        raise ConfigurationError("Give either --episodes N or --hours H.")
    if args.episodes is not None and args.episodes < 1:
        raise ConfigurationError(f"--episodes is {args.episodes}; at least 1 is needed.")
    if args.hours is not None and not (math.isfinite(args.hours) and args.hours > 0):
        raise ConfigurationError(f"--hours is {args.hours:g}; more than 0 is needed.")
    if args.seed < 0:
        raise ConfigurationError(f"--seed is {args.seed}; 0 or more is allowed.")
    if args.workers is not None and args.workers < 1:
        raise ConfigurationError(f"--workers is {args.workers}; at least 1 is needed.")
    if args.require is not None and not 0 <= args.require <= 1:
        raise ConfigurationError(f"--require is {args.require:g}; a rate from 0 to 1 is allowed.")
    if args.resume and not args.json:
        raise ConfigurationError("--resume needs --json FILE: the episodes so far are in the .jsonl file beside it.")
    if args.video_failures and not args.video:
        raise ConfigurationError("--video-failures needs --video DIR.")
    if args.hours is not None and args.layouts is not None:
        raise ConfigurationError("--hours stays on one floor; --layouts does not go with it.")
    if args.hours is not None and (args.video or args.resume or (args.workers or 1) > 1):
        raise ConfigurationError("--hours is one long episode in one process; --video, --resume and --workers do not go with it.")


def _check_of_perception(args: argparse.Namespace) -> None:
    for option in ("hours", "layouts", "checkpoint", "video", "resume", "require"):
        if getattr(args, option):
            raise ConfigurationError(f"--{option} does not go with `humanoid evaluate {PERCEPTION}`.")
    if args.policy not in (None, "scripted"):
        raise ConfigurationError(f"--policy is {args.policy}; perception is measured beside the policy scripted.")
    if args.episodes is None:
        raise ConfigurationError("--episodes N is missing.")


# --- a campaign of episodes -------------------------------------------------------------------------------------------


def _evaluate(args: argparse.Namespace, campaign: Campaign) -> int:
    report, _ = _run(args, campaign, journal_path(args.json) if args.json else None)
    if args.json:
        write_whole(args.json, json.dumps(report, indent=1) + "\n")
    _print(report)
    if not report["complete"]:
        return _interrupted(args, report["episodes"], args.episodes)
    return _exit_code(args, report["success_rate"])


def _run(args: argparse.Namespace, campaign: Campaign, journal_file: Path | None) -> tuple[dict, dict[int, dict]]:
    """The report of one campaign, and its records by seed."""
    began = time.perf_counter()
    seeds = range(args.seed, args.seed + args.episodes)
    journal = Journal(journal_file, campaign.fingerprint(), resume=args.resume) if journal_file else None
    records = {seed: record for seed, record in (journal.records if journal else {}).items() if seed in seeds}
    left = [seed for seed in seeds if seed not in records]
    workers = min(args.workers or available_cores(), max(len(left), 1))
    interrupted = False
    try:
        with _progress() as progress:
            task = progress.add_task("", total=len(seeds), completed=len(records), rate=_rate_text(records), poses=campaign.poses)
            for record in run_campaign(campaign, left, workers=workers):
                records[record["seed"]] = record
                if journal:
                    journal.add(record)
                progress.update(task, completed=len(records), rate=_rate_text(records))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if journal:
            journal.close(complete=len(records) == len(seeds))
    report = _heading(campaign) | summarise([records[seed] for seed in seeds if seed in records])
    report |= {"complete": not interrupted, "workers": workers, "wall_s": round(time.perf_counter() - began, 3)}
    return report, records


def _interrupted(args: argparse.Namespace, done: int, wanted: int) -> int:
    note = "the episodes so far are kept; --resume goes on" if args.json else "with --json FILE the episodes so far would be kept"
    print(f"interrupted after {done} of {wanted} episodes: {note}", file=sys.stderr)
    return EXIT_INTERRUPTED


def _compare(args: argparse.Namespace, campaigns: list[Campaign]) -> int:
    """Carries out the same seeds with each pose source in turn, and compares them with the first."""
    reports: dict[str, dict] = {}
    records: dict[str, dict[int, dict]] = {}
    for campaign in campaigns:
        file = rung_journal_path(args.json, campaign.poses) if args.json else None
        reports[campaign.poses], records[campaign.poses] = _run(args, campaign, file)
        if not reports[campaign.poses]["complete"]:
            break
    first = campaigns[0].poses
    complete = len(reports) == len(campaigns) and all(report["complete"] for report in reports.values())
    joined = {
        "factory": campaigns[0].factory, "policy": campaigns[0].policy, "poses": [campaign.poses for campaign in campaigns],
        "layouts": campaigns[0].layouts, "checkpoint": campaigns[0].checkpoint, "seed": args.seed, "reports": reports,
        "against": first, "differences": {rung: paired_difference(records[first], records[rung]) for rung in reports if rung != first},
        "complete": complete,
    }  # fmt: skip
    if args.json:
        write_whole(args.json, json.dumps(joined, indent=1) + "\n")
    _print_compared(joined)
    if not complete:
        return _interrupted(args, sum(report["episodes"] for report in reports.values()), args.episodes * len(campaigns))
    return max(_exit_code(args, report["success_rate"], rung) for rung, report in reports.items())


def journal_path(json_path: Path) -> Path:
    """Where the episodes' records of a campaign with `--json` go."""
    return json_path.with_suffix(".jsonl") if json_path.suffix == ".json" else json_path.with_name(json_path.name + ".jsonl")


def rung_journal_path(json_path: Path, rung: str) -> Path:
    """Where the episodes' records of one of several pose sources go."""
    path = journal_path(json_path)
    return path.with_name(f"{path.stem}.{rung}{path.suffix}")


def _heading(campaign: Campaign) -> dict:
    fingerprint = campaign.fingerprint()
    return {"factory": campaign.factory, "policy": campaign.policy, "poses": campaign.poses, "layouts": campaign.layouts,
            "checkpoint": campaign.checkpoint, "factory_sha256": fingerprint["factory_sha256"], "model_sha256": fingerprint["model_sha256"],
            "code_sha256": fingerprint["code_sha256"], "versions": versions()}  # fmt: skip


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(TextColumn("episodes, {task.fields[poses]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                    TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True,
                    disable=not console.is_terminal)  # fmt: skip


def _rate_text(records: dict[int, dict]) -> str:
    if not records:
        return ""
    return f"{100 * sum(r['success'] for r in records.values()) / len(records):.1f}% succeeded"


def _exit_code(args: argparse.Namespace, rate: float | None, rung: str = "") -> int:
    if args.require is None or (rate is not None and rate >= args.require):
        return 0
    of = f" with poses from {rung}" if rung else ""
    print(f"the success rate{of} is {rate}; {args.require:g} is required", file=sys.stderr)
    return EXIT_BELOW_REQUIRED


def _print(report: dict) -> None:
    floors = f", {report['layouts']} layouts" if report["layouts"] else ""
    table = Table(title=f"{report['policy']} on {Path(report['factory']).name}{floors}, poses from {report['poses']}", show_header=False)

    def row(name: str, text: str) -> None:
        table.add_row(name, text)

    if report["episodes"]:
        low, high = report["wilson_95"]
        row("episodes done", f"{report['success']} of {report['episodes']}: {100 * report['success_rate']:.1f}% "
                             f"(95% interval {100 * low:.1f} to {100 * high:.1f}%)")  # fmt: skip
        row("orders done", f"{report['orders_done']} of {report['orders']}")
        row("falls, drops, retries", f"{report['falls']}, {report['drops']}, {report['retries']}")
        row("time per order", _pair(report["cycle_time_s"], "s", 1.0, 1))
        if report["tiers"]:
            shares = ", ".join(f"{name} {share:.1%}" for name, share in report["tiers"]["share_of_time"].items())
            row("who drove", f"{shares}; changed {report['tiers']['switches']} times")
        row("drift of the estimate", _pair(report["drift_per_metre"], "mm per metre walked", 1000.0, 1))
        row("simulated", f"{report['simulated_s']:.0f} s, {report['real_time_factor']} times real time in each process")
    row("wall clock", f"{report['wall_s']:.0f} s with {report['workers']} process{'es' if report['workers'] > 1 else ''}")
    console = Console()
    console.print(table)
    _print_failures(console, report["failures"])


def _print_compared(joined: dict) -> None:
    floors = f", {joined['layouts']} layouts" if joined["layouts"] else ""
    table = Table(title=f"{joined['policy']} on {Path(joined['factory']).name}{floors}, the same seeds with each pose source")
    ran = {rung: report for rung, report in joined["reports"].items() if report["episodes"]}
    for column in ("poses from", *ran):
        table.add_column(column)
    first = joined["against"]
    lines = (
        ("episodes done", lambda r: f"{r['success']} of {r['episodes']}: {r['success_rate']:.1%}"),
        ("95% interval", lambda r: f"{r['wilson_95'][0]:.1%} to {r['wilson_95'][1]:.1%}"),
        (f"points more than {first}", lambda r: _difference_text(joined["differences"].get(r["poses"]))),
        ("won, lost against it", lambda r: _exchange_text(joined["differences"].get(r["poses"]))),
        ("orders done", lambda r: f"{r['orders_done']} of {r['orders']}"),
        ("falls, drops, retries", lambda r: f"{r['falls']}, {r['drops']}, {r['retries']}"),
        ("time per order", lambda r: _pair(r["cycle_time_s"], "s", 1.0, 1)),
        ("wall clock", lambda r: f"{r['wall_s']:.0f} s"),
    )
    for name, text in lines:
        table.add_row(name, *(text(report) for report in ran.values()))
    console = Console()
    console.print(table)
    for rung, report in joined["reports"].items():
        if report["failures"]:
            console.print(f"poses from {rung}:", highlight=False)
            _print_failures(console, report["failures"])


def _difference_text(difference: dict | None) -> str:
    if difference is None or difference["difference"] is None:
        return "-"
    low, high = difference["interval_95"]
    return f"{100 * difference['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _exchange_text(difference: dict | None) -> str:
    return "-" if difference is None else f"{difference['only_this']}, {difference['only_first']}"


def _print_failures(console: Console, failures: list[dict]) -> None:
    for failure in failures[:SHOWN_FAILURES]:
        where = f" in {failure['subtask']}" if failure["subtask"] else ""
        detail = f": {failure['detail']}" if failure["detail"] else ""
        if failure["control_stop"]:
            detail += f" (control stopped: {failure['control_stop']})"
        console.print(f"seed {failure['seed']}, order {failure['order']}: {failure['reason']}{where}{detail}",
                      markup=False, highlight=False)  # fmt: skip
    if len(failures) > SHOWN_FAILURES:
        console.print(f"... and {len(failures) - SHOWN_FAILURES} more failures")


def _pair(values: dict, unit: str, factor: float, digits: int) -> str:
    if values["p50"] is None:
        return "-"
    return f"median {factor * values['p50']:.{digits}f}, 95th percentile {factor * values['p95']:.{digits}f} {unit}"


# --- hours of random orders -------------------------------------------------------------------------------------------


def _soak(args: argparse.Namespace, campaign: Campaign) -> int:
    began = time.perf_counter()
    rows: list[dict] = []
    outcome: dict | None = None
    console = Console(stderr=True)
    bar = Progress(TextColumn("random orders"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn(),
                   TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)  # fmt: skip
    try:
        with bar as progress:
            task = progress.add_task("", total=3600.0 * args.hours, text="")
            for message in run_jobs(make_soak_worker, (campaign, args.hours), [args.seed], workers=1):
                if "rows" in message:
                    outcome = message
                    break
                rows.append(message)
                progress.update(task, completed=message["simulated_s"], text=f"{len(rows)} done, {message['rss_mib']:.0f} MiB")
    except KeyboardInterrupt:
        pass
    interrupted = outcome is None
    failures = outcome["failures"] if outcome else []
    simulated = outcome["simulated_s"] if outcome else (rows[-1]["simulated_s"] if rows else 0.0)
    wall = time.perf_counter() - began
    orders = len(rows) + len(failures)
    report = _heading(campaign) | {
        "hours": args.hours,
        "seed": args.seed,
        "episodes": outcome["episodes"] if outcome else None,
        "orders": orders,
        "orders_done": len(rows),
        "success_rate": round(len(rows) / orders, 4) if orders else None,
        "rss_mib": memory_trend(rows),
        "drift_m": percentiles([row["drift_m"] for row in rows], 4) | {"end": rows[-1]["drift_m"] if rows else None},
        "walked_m": outcome["walked_m"] if outcome else None,
        "cycle_time_s": percentiles([row["time_s"] for row in rows]),
        "simulated_s": simulated,
        "real_time_factor": round(simulated / wall, 3),
        "failures": failures,
        "rows": rows,
        "complete": not interrupted,
        "wall_s": round(wall, 3),
    }
    if args.json:
        write_whole(args.json, json.dumps(report, indent=1) + "\n")
    _print_soak(report)
    if interrupted:
        print(f"interrupted after {simulated / 3600:.2f} of {args.hours:g} hours", file=sys.stderr)
        return EXIT_INTERRUPTED
    return _exit_code(args, report["success_rate"])


def _print_soak(report: dict) -> None:
    table = Table(title=f"{report['simulated_s'] / 3600:.2f} hours of random orders on {Path(report['factory']).name}",
                  show_header=False)  # fmt: skip
    memory, drift = report["rss_mib"], report["drift_m"]
    table.add_row("orders done", f"{report['orders_done']} of {report['orders']}")
    if memory["start"] is not None:
        table.add_row("memory", f"{memory['start']:.1f} MiB at the start, {memory['end']:.1f} at the end, "
                                f"{memory['slope_per_hour']:+.1f} MiB per hour")  # fmt: skip
    if drift["end"] is not None:
        walked = f" after {report['walked_m']:.0f} m walked" if report["walked_m"] is not None else ""
        table.add_row("drift of the estimate", f"{drift['end']:.2f} m at the end{walked}")
    table.add_row("time per order", _pair(report["cycle_time_s"], "s", 1.0, 1))
    table.add_row("wall clock", f"{report['wall_s']:.0f} s, {report['real_time_factor']} times real time")
    console = Console()
    console.print(table)
    _print_failures(console, report["failures"])

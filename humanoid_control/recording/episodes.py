"""`humanoid episodes`: what was recorded, whether it can be trusted, and a person's word on it."""

from __future__ import annotations

import argparse
import importlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from humanoid_control.errors import ConfigurationError
from humanoid_control.recording.card import CARD, ORDER, OUTCOMES, PROBLEM, SUBTASK, SWITCH, TIER, VERDICT, Card
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.quality import check_episode, duplicates_of

ACTIONS = {
    "list": "a line for each episode",
    "show": "one episode: who, what, how it ended, and what happened when",
    "check": "whether they can be trusted: gaps, late or frozen streams, jumps, idle time, wrong outcomes, duplicates",
    "label": "put a person's outcome, note or sub-tasks on an episode's card",
}
# More than a look: each has a module of its own, imported when it is wanted; found by name, as nothing here may import policies.
COMMANDS = {
    "export": ("policies.data.export", "make a LeRobotDataset of episodes, to learn from"),
    "segment": ("policies.segmentation", "tell sub-tasks by what hands, grippers and base did, where a person drove"),
    "report": ("humanoid_control.recording.report", "one page of all: outcomes, problems, what was done when, plots and films"),
    "replay": ("humanoid_control.recording.replay", "send again in simulation what was sent to control, and report how far that leads"),
}
PAGE = "policies.label_page"  # which knows the sub-tasks' names


class _OnDemand(argparse.ArgumentParser):
    """The parser of one of `COMMANDS`, which asks its module for arguments when it is to parse some."""

    def parse_known_args(self, args=None, namespace=None):
        """See `argparse.ArgumentParser`."""
        name = self.prog.split()[-1]
        if name in COMMANDS and not self.get_default("module"):
            module = importlib.import_module(COMMANDS[name][0])
            self.set_defaults(module=module)
            module.add_arguments(self)
        return super().parse_known_args(args, namespace)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_OnDemand)
    for name, (_, text) in COMMANDS.items():
        actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        action.add_argument("folder", type=Path, help="an episode" if name in ("show", "label") else "an episode, or a folder of episodes")
        if name == "label":
            action.add_argument("--outcome", choices=OUTCOMES)
            action.add_argument("--note")
            action.add_argument("--page", action="store_true", help="put sub-tasks right on a page, which is served on this machine alone")
            action.add_argument("--port", type=int, default=0, help="of the page (default: any that is free)")
        else:
            action.add_argument("--json", type=Path, metavar="FILE", help="write it to a file, for machines")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; `check` returns 1 if an episode should not be learnt from."""
    if args.action in COMMANDS:
        return args.module.run(args)
    console = Console(highlight=False, soft_wrap=True)
    return {"list": _list, "show": _show, "check": _check, "label": _label}[args.action](console, args)


def episodes_in(folder: Path) -> list[Path]:
    """The folder of an episode, or those in it, the oldest first.

    Raises:
        RecordingError: there is none.
    """
    if (folder / CARD).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{CARD}") if not path.parent.name.startswith("."))
    if not found:
        what = "is no folder" if not folder.is_dir() else f"holds no episode: no folder with {CARD} in it"
        raise RecordingError(f"{folder} {what}; record some with `humanoid launch factory record:={folder}`")
    return found


def _list(console: Console, args: argparse.Namespace) -> int:
    folders = episodes_in(args.folder)
    table = Table("episode", "s", "by a person", "task", "outcome", "operator", "messages", "MB")
    rows = []
    for folder in folders:
        card = Card.read(folder / CARD)
        size = sum(path.stat().st_size for path in folder.iterdir())
        by_person_s = sum(end - begin for begin, end in card.interventions)
        rows.append({"name": folder.name, "duration_s": card.duration_s, "by_person_s": by_person_s, "task": card.task, "outcome": card.outcome,
                     "operator": card.operator, "messages": sum(card.messages.values()), "bytes": size})  # fmt: skip
        table.add_row(folder.name, f"{card.duration_s:.1f}", f"{by_person_s:.1f}" if by_person_s else "", card.task, card.outcome, card.operator, f"{rows[-1]['messages']}", f"{size / 1e6:.1f}")
    console.print(table)
    _write(args.json, {"episodes": rows})
    return 0


def _show(console: Console, args: argparse.Namespace) -> int:
    folder = _one(args.folder)
    card = Card.read(folder / CARD)
    begun = datetime.fromtimestamp(card.begun_ns / 1e9, timezone.utc)
    console.print(f"{folder.name}: {card.task or 'no task'}, {card.outcome}, {card.duration_s:.1f} s from {begun:%Y-%m-%d %H:%M:%S} UTC"
                  + (f", operator {card.operator}" if card.operator else ""))  # fmt: skip
    if card.note:
        console.print(f"note: {card.note}")
    for kind in (ORDER, SUBTASK, TIER):
        spans = card.spans(kind)
        if spans:
            console.print(f"{kind}: " + ", ".join(f"{text} {begin:.1f} to {end:.1f}" for begin, end, text in spans))
    for event in card.events:
        if event.kind in (VERDICT, SWITCH, PROBLEM):
            console.print(f"{event.kind} at {(event.log_ns - card.begun_ns) / 1e9:.1f} s: {event.text}")
    table = Table("topic", "messages", "Hz")
    for topic, count in card.messages.items():
        table.add_row(topic, f"{count}", f"{count / max(card.duration_s, 1e-9):.1f}")
    console.print(table)
    _write(args.json, json.loads(card.to_json()))
    return 0


def _check(console: Console, args: argparse.Namespace) -> int:
    folders = episodes_in(args.folder)
    rows, bad = [], set()
    for folder in track(folders, "checks", console=console, transient=True, disable=not console.is_terminal):
        findings = check_episode(folder)
        if any(finding.is_error for finding in findings):
            bad.add(folder)
        rows.append({"name": folder.name, "findings": [vars(finding) for finding in findings]})
        for finding in findings:
            console.print(f"{folder.name}: {'' if finding.is_error else 'odd: '}{finding.kind}: {finding.text}")
    for first, second in duplicates_of(folders):
        bad.add(second)
        next(row for row in rows if row["name"] == second.name)["findings"].append(
            {"kind": "duplicate", "text": f"the same as {first.name}", "is_error": True})  # fmt: skip
        console.print(f"{second.name}: duplicate: the same as {first.name}")
    console.print(f"{len(folders) - len(bad)} of {len(folders)} episodes can be trusted")
    _write(args.json, {"episodes": rows, "trusted": len(folders) - len(bad)})
    return 1 if bad else 0


def _label(console: Console, args: argparse.Namespace) -> int:
    folder = _one(args.folder)
    if args.page:
        return importlib.import_module(PAGE).serve(folder, port=args.port)
    if args.outcome is None and args.note is None:
        raise ConfigurationError("nothing to put on the card; give --outcome, --note or both, or --page")
    card = Card.read(folder / CARD)
    card.outcome, card.note = args.outcome or card.outcome, card.note if args.note is None else args.note
    card.write(folder / CARD)
    console.print(f"{folder.name}: {card.outcome}{f', {card.note}' if card.note else ''}")
    return 0


def _one(folder: Path) -> Path:
    if not (folder / CARD).is_file():
        raise RecordingError(f"{folder} is no episode: there is no {CARD} in it; `humanoid episodes list {folder}` names those it holds")
    return folder


def _write(path: Path | None, content: Any) -> None:
    if path is not None:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

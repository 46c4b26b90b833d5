"""Benchmarks, side by side with the peers where they install: `humanoid bench WHAT`.

A benchmark is a module of this package with the function `run(report, *, quick) -> None`, which adds rows to the
report. `python -m humanoid_control.bench WHAT` runs it too.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path

from humanoid_control.bench.report import Report
from humanoid_control.errors import ConfigurationError

BENCHES = ("ik", "control", "sim", "push")


def available() -> tuple[str, ...]:
    """The benchmarks this installation has."""
    return tuple(name for name in BENCHES if importlib.util.find_spec(f"{__name__}.{name}"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid bench`."""
    parser.add_argument(
        "what", metavar="WHAT", choices=(*available(), "all"), help=f"one of {', '.join(available())}, all"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the rows to a file")
    parser.add_argument("--quick", action="store_true", help="fewer samples: to see that it runs, not to quote")


def run(args: argparse.Namespace) -> int:
    """Runs what was asked and prints its table; 0 on success.

    Raises:
        ConfigurationError: if the JSON file cannot be written, or `all` was asked together with `--json`.
    """
    names = available() if args.what == "all" else (args.what,)
    if args.json and len(names) > 1:
        raise ConfigurationError("--json takes the rows of one benchmark; name it instead of 'all'.")
    for name in names:
        report = Report(name)
        importlib.import_module(f"{__name__}.{name}").run(report, quick=args.quick)
        report.print()
        if args.json:
            report.write(args.json)
    return 0

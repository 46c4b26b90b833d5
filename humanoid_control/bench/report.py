"""The rows of a benchmark: collected, printed as a table, written as JSON (the format is in docs/cli.md)."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from humanoid_control.errors import ConfigurationError

PACKAGES = ("numpy", "numba", "pin", "mujoco", "daqp", "mink", "pin-pink", "qpsolvers", "quadprog", "proxsuite")
COLUMNS = ("unit", "p50", "p95", "p99", "value", "n", "residual")


class Report:
    """The rows of one benchmark.

    Attributes:
        bench: its name.
        rows: one dict per candidate and case.
        notes: lines to print below the table: ratios, peers that are not installed.
    """

    def __init__(self, bench: str) -> None:
        self.bench = bench
        self.rows: list[dict] = []
        self.notes: list[str] = []

    def add_times(self, name: str, seconds: Sequence[float], *, peer: bool, residual: float | None = None) -> dict:
        """Adds a row of durations, in microseconds; returns it."""
        us = 1e6 * np.asarray(seconds)
        row = {"name": name, "unit": "us", "p50": round(float(np.percentile(us, 50)), 2),
               "p99": round(float(np.percentile(us, 99)), 2), "n": len(us)}  # fmt: skip
        if residual is not None:
            row["residual"] = float(f"{residual:.4g}")
        row["peer"] = peer
        self.rows.append(row)
        return row

    def add_latencies(self, name: str, seconds: Sequence[float]) -> dict:
        """Adds a row of latencies, in milliseconds; returns it."""
        p50, p95, p99 = (round(1e3 * float(value), 1) for value in np.percentile(seconds, (50, 95, 99)))
        row = {"name": name, "unit": "ms", "p50": p50, "p95": p95, "p99": p99, "n": len(seconds), "peer": False}
        self.rows.append(row)
        return row

    def add_value(self, name: str, value: float, unit: str, *, n: int | None = None, peer: bool = False) -> dict:
        """Adds a row of one figure; returns it."""
        row = {"name": name, "unit": unit, "value": float(f"{value:.4g}")}
        if n is not None:
            row["n"] = n
        row["peer"] = peer
        self.rows.append(row)
        return row

    def print(self) -> None:
        """Prints the table and the notes."""
        used = [c for c in COLUMNS if any(c in row for row in self.rows)]
        table = Table(title=f"bench {self.bench}")
        table.add_column("")
        for column in used:
            table.add_column(column, justify="left" if column == "unit" else "right")
        for row in self.rows:
            cells = [f"{row[c]:g}" if isinstance(row.get(c), (int, float)) else str(row.get(c, "")) for c in used]
            table.add_row(row["name"], *cells, style="dim" if row["peer"] else None)
        console = Console()
        console.print(table)
        for note in self.notes:
            console.print(note, highlight=False, markup=False)

    def write(self, path: Path) -> None:
        """Writes the rows and the versions they were measured with.

        Raises:
            ConfigurationError: if the file cannot be written.
        """
        try:
            path.write_text(
                json.dumps({"bench": self.bench, "rows": self.rows, "versions": versions()}, indent=1) + "\n"
            )
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None


def versions() -> dict[str, str]:
    """Python, the packages a figure may depend on, and the processor."""
    found = {"python": platform.python_version(), "processor": _processor()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def progress(items: Sequence, what: str) -> Iterable:
    """The items, with a progress bar where the output is a terminal."""
    return track(items, what, transient=True, disable=not sys.stdout.isatty())

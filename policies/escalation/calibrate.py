"""How unsure a network may be before another goes on: `python -m policies.escalation.calibrate --checkpoint FILE RECORDS...`

Reads what `humanoid evaluate --policy teacher|student --json` wrote of orders that nobody took over: those that failed should have been
the unsure ones. How well the two are told apart is the area under the curve of hits over false alarms (AUROC); the limit is
where a given share of the orders that were done would have been taken over for nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.hashes import file_hash
from policies.evaluation.journal import write_whole
from policies.evaluation.summary import Z_95
from policies.registry import learner_of

FALSE_ALARMS = 0.10  # of orders that were done
FEWEST_DONE = 20  # orders, for a limit
LIMIT = "limit"  # in a checkpoint's card


def auroc(done: np.ndarray, failed: np.ndarray) -> tuple[float, tuple[float, float]]:
    """How likely a failed order was more unsure than one that was done, with its 95% interval (Hanley and McNeil 1982).

    Args:
        done, failed: (N,), (M,) how unsure they were.
    """
    if not len(done) or not len(failed):
        return math.nan, (0.0, 1.0)
    above = (failed[:, None] > done[None]).mean() + 0.5 * (failed[:, None] == done[None]).mean()
    q1, q2 = above / (2 - above), 2 * above**2 / (1 + above)
    m, n = len(failed), len(done)
    variance = (above * (1 - above) + (m - 1) * (q1 - above**2) + (n - 1) * (q2 - above**2)) / (m * n)
    half = Z_95 * math.sqrt(max(variance, 0.0))
    return float(above), (max(above - half, 0.0), min(above + half, 1.0))


def limit_of(done: np.ndarray, false_alarms: float = FALSE_ALARMS) -> float:
    """The uncertainty that this share of orders that were done was above."""
    return float(np.quantile(done, 1.0 - false_alarms))


def read_records(paths: Sequence[Path], policy: str, sha256: str) -> tuple[np.ndarray, np.ndarray]:
    """How unsure the orders were that were done (N,), and that failed (M,).

    Args:
        paths: of the .jsonl files that `humanoid evaluate` writes beside its report.
        policy: that they must be of,
        sha256: and of its checkpoint.

    Raises:
        ConfigurationError: a file cannot be read, or is of another policy or checkpoint.
    """
    unsure: dict[bool, list[float]] = {True: [], False: []}
    for path in paths:
        try:
            rows = [json.loads(line) for line in path.read_text().splitlines() if line]
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from None
        campaign = next((row["campaign"] for row in rows if "campaign" in row), {})
        if campaign.get("policy") != policy or campaign.get("checkpoint_sha256") != sha256:
            raise ConfigurationError(f"{path} is of policy {campaign.get('policy')} and checkpoint {campaign.get('checkpoint_sha256')}; "
                                     f"{policy} and {sha256} are needed.")  # fmt: skip
        for row in rows:
            for order in row.get("orders", ()):
                unsure[bool(order["done"])].append(order["unsure"])
    return np.array(unsure[True]), np.array(unsure[False])


def main(arguments: list[str] | None = None) -> int:
    """Runs from a command line."""
    parser = argparse.ArgumentParser(prog="python -m policies.escalation.calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="+", type=Path, help=".jsonl files of `humanoid evaluate --policy teacher|student`, of training layouts")
    parser.add_argument("--checkpoint", required=True, type=Path, help="the network's file")
    parser.add_argument("--false-alarms", type=float, default=FALSE_ALARMS, help=f"share of orders done (default {FALSE_ALARMS})")
    parser.add_argument("--write", action="store_true", help="write the limit into the checkpoint's card")
    args = parser.parse_args(arguments)
    try:
        done, failed = read_records(args.records, learner_of(args.checkpoint), file_hash(args.checkpoint))
        if len(done) < FEWEST_DONE:
            raise ConfigurationError(f"{len(done)} orders were done; {FEWEST_DONE} are needed for a limit.")
    except HumanoidControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    area, interval = auroc(done, failed)
    limit = limit_of(done, args.false_alarms)
    print(f"{len(done)} orders done, {len(failed)} failed; AUROC {area:.3f} ({interval[0]:.3f} to {interval[1]:.3f})")
    print(f"limit {limit:.3f}: {(done > limit).mean():.1%} of those done and {(failed > limit).mean():.1%} of those failed were above it")
    if args.write:
        card = args.checkpoint.with_suffix(".json")
        content = json.loads(card.read_text()) | {LIMIT: round(limit, 4), "calibration": {
            "done": len(done), "failed": len(failed), "auroc": round(area, 4), "auroc_95": [round(bound, 4) for bound in interval],
            "false_alarms": round(float((done > limit).mean()), 4), "hits": round(float((failed > limit).mean()), 4) if len(failed) else None,
        }}  # fmt: skip
        write_whole(card, json.dumps(content, indent=1) + "\n")
        print(f"written into {card}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

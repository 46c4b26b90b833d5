"""The limit of a network's uncertainty, and how well uncertainty tells what will fail."""

import hashlib
import json

import numpy as np
import pytest

from policies.escalation.calibrate import auroc, limit_of, main


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    area, (low, high) = auroc(np.array([0.1, 0.2, 0.3]), np.array([0.25, 0.9]))
    assert area == pytest.approx(5 / 6) and 0.0 <= low < area < high <= 1.0
    assert auroc(np.array([0.1, 0.2]), np.array([0.3]))[0] == 1.0
    assert auroc(np.array([0.5]), np.array([0.5]))[0] == 0.5
    assert np.isnan(auroc(np.array([0.5]), np.array([]))[0])


def test_the_limit_leaves_the_share_of_false_alarms():
    done = np.linspace(0.0, 1.0, 101)
    assert (done > limit_of(done, 0.1)).mean() == pytest.approx(0.1, abs=0.01)


def test_the_limit_is_written_into_the_card_of_its_own_checkpoint_only(tmp_path, capsys):
    network, card = tmp_path / "pose_policy.onnx", tmp_path / "pose_policy.json"
    network.write_bytes(b"network")
    card.write_text('{"sha256": "x"}')
    records = tmp_path / "records.jsonl"

    def write(sha256, policy="teacher"):
        rows = [{"campaign": {"policy": policy, "checkpoint_sha256": sha256}}]
        rows += [{"seed": k, "orders": [{"done": k % 4 > 0, "unsure": 0.1 + 0.001 * k + 0.5 * (k % 4 == 0)}]} for k in range(40)]
        records.write_text("\n".join(json.dumps(row) for row in rows))

    digest = hashlib.sha256(b"network").hexdigest()
    write("another")
    assert main(["--checkpoint", str(network), str(records), "--write"]) == 2
    assert "checkpoint another" in capsys.readouterr().err and "limit" not in json.loads(card.read_text())
    write(digest)
    assert main(["--checkpoint", str(network), str(records), "--write"]) == 0
    written = json.loads(card.read_text())
    assert written["sha256"] == "x" and written["calibration"]["auroc"] == 1.0 and written["calibration"]["failed"] == 10
    assert 0.1 < written["limit"] < 0.15

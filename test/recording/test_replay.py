"""`humanoid episodes replay`: what was sent, sent again."""

import json

import numpy as np
import pytest

from humanoid_control.cli import main
from humanoid_control.recording.card import FACTORY
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.replay import LIMITS, replay_episode


def test_from_the_simulations_begin_it_is_the_same_motion_and_the_same_outcome(real, tmp_path, capsys):
    written = tmp_path / "replay.json"
    assert main(["episodes", "replay", str(real[0]), "--json", str(written), "--plot", str(tmp_path / "replay.svg")]) == 0
    found = json.loads(written.read_text())
    assert found["same_outcome"] and found["from_begin"] and found["recorded"] == found["replayed"] == "done: t1 stands on outfeed"
    assert max(found["apart"]["base"]) < 1e-4 and max(found["apart"]["joints"]) < 1e-4 and not found["refused"]
    assert len(found["times_s"]) > 2000 and "<svg" in (tmp_path / "replay.svg").read_text()
    assert "outcome: the same" in capsys.readouterr().out


def test_from_the_middle_it_begins_where_it_was_and_says_where_it_leaves(real, copied, tmp_path):
    piece = copied(real[0], tmp_path / "pieces", "piece", begin_s=1.0, end_s=4.0)
    found = replay_episode(piece)
    assert not found.from_begin and found.apart["base"][0] < 0.002 and found.apart["joints"][0] < 0.01 and found.apart["totes"].max() < 0.01
    for name, values in found.apart.items():
        beyond = np.flatnonzero(values > LIMITS[name])
        assert found.first_beyond(name) == (pytest.approx(found.times_s[beyond[0]]) if len(beyond) else None)
    assert found.subtask_at(0.5) == "approach" and found.subtask_at(2.5) == "ready"


def test_what_cannot_be_replayed_is_refused_with_the_reason(real, copied, tmp_path):
    bare = copied(real[0], tmp_path / "pieces", "bare", begin_s=0.0, end_s=2.0)
    (bare / FACTORY).unlink()
    with pytest.raises(RecordingError, match="bare: the recorder was told of no factory file; record with `factory:=`"):
        replay_episode(bare)

"""Nothing is lost, nothing is mixed up."""

from __future__ import annotations

import json

import pytest

from humanoid_control.errors import ConfigurationError
from policies.evaluation.journal import Journal, write_whole

CAMPAIGN = {"policy": "scripted", "factory_sha256": "abc"}


def test_records_are_in_the_file_before_it_is_closed(tmp_path):
    journal = Journal(tmp_path / "j.jsonl", CAMPAIGN, resume=False)
    journal.add({"seed": 7, "success": True})
    assert json.loads((tmp_path / "j.jsonl").read_text().splitlines()[-1]) == {"seed": 7, "success": True}


def test_a_killed_campaign_goes_on_where_it_was_even_after_half_a_line(tmp_path):
    path = tmp_path / "j.jsonl"
    journal = Journal(path, CAMPAIGN, resume=False)
    journal.add({"seed": 7})
    with path.open("a") as file:
        file.write('{"seed": 8, "succ')
    again = Journal(path, CAMPAIGN, resume=True)
    assert list(again.records) == [7]
    again.add({"seed": 3})
    again.close(complete=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row.get("seed") for row in rows] == [None, 3, 7, None]


def test_an_unfinished_campaign_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "j.jsonl"
    Journal(path, CAMPAIGN, resume=False).add({"seed": 7})
    with pytest.raises(ConfigurationError, match="1 episodes of an unfinished campaign.*--resume"):
        Journal(path, CAMPAIGN, resume=False)
    Journal(path, CAMPAIGN, resume=True).close(complete=True)
    assert Journal(path, CAMPAIGN, resume=False).records == {}


def test_another_campaigns_episodes_are_not_mixed_in(tmp_path):
    path = tmp_path / "j.jsonl"
    Journal(path, CAMPAIGN, resume=False).add({"seed": 7})
    with pytest.raises(ConfigurationError, match="its policy is scripted, not learned"):
        Journal(path, CAMPAIGN | {"policy": "learned"}, resume=True)


def test_a_file_that_cannot_be_written_is_said_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match="missing/x.json cannot be written"):
        write_whole(tmp_path / "missing" / "x.json", "")

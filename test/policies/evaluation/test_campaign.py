"""Which floor an episode of a campaign is carried out on."""

from __future__ import annotations

from pathlib import Path

import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.simulation.layouts import SPLITS, draw_layout
from policies.evaluation import campaign
from policies.evaluation.campaign import Campaign, make_episode_worker

TASK = Path(__file__).resolve().parents[3] / "config" / "factories" / "table_to_conveyor.yaml"


@pytest.fixture
def floors(monkeypatch) -> list:
    """The factories of the episodes asked for; none is carried out."""
    asked = []
    monkeypatch.setattr(campaign, "record_episode", lambda model, factory, seed, **_: asked.append(factory) or {"success": True})
    return asked


@pytest.mark.parametrize("split", SPLITS)
def test_each_episode_has_the_layout_of_its_seed(floors, split):
    carry_out = make_episode_worker(Campaign(str(TASK), "scripted", layouts=split))
    for seed in (4, 5):
        carry_out(seed)
    assert floors == [draw_layout(load_factory(TASK), seed, split=split) for seed in (4, 5)]


def test_without_layouts_all_episodes_are_on_the_files_floor(floors):
    carry_out = make_episode_worker(Campaign(str(TASK), "scripted"))
    for seed in (4, 5):
        carry_out(seed)
    assert floors == [load_factory(TASK)] * 2


def test_episodes_on_other_layouts_are_not_comparable():
    prints = [Campaign(str(TASK), "scripted", layouts=layouts).fingerprint() for layouts in (None, *SPLITS)]
    assert all(first != second for index, first in enumerate(prints) for second in prints[:index])

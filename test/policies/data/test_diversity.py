"""What a data set holds is counted right, and one that has collapsed is refused."""

import json

import numpy as np
import pytest

from policies.data import schema
from policies.data.diversity import (
    CELLS, Gate, check_diversity, entropy_bits, equal_cells, make_card, near_duplicates, quantities, way_difference, write_card,
)  # fmt: skip
from policies.data.errors import DataSetError
from policies.data.reader import Demonstrations

ATTEMPT = {"orders": [{"outcome": "success"}]}


def test_equal_cells_is_the_number_of_cells_where_all_are_equally_full():
    assert equal_cells(np.repeat([0.005, 0.015, 0.025, 0.035], 7), 0.01) == pytest.approx(4.0)
    assert equal_cells(np.full(50, 0.3), 0.01) == pytest.approx(1.0)
    assert 1.0 < equal_cells(np.array([0.005] * 99 + [0.015]), 0.01) < 1.1
    assert equal_cells(np.array([np.nan]), 0.01) == 0.0


def test_entropy_counts_what_an_action_says():
    assert entropy_bits(np.full(100, 0.2), -1, 1) == 0.0
    assert entropy_bits(np.tile([-0.9, 0.9], 50), -1, 1) == pytest.approx(1.0)
    assert entropy_bits(np.linspace(-1, 1, 4000), -1, 1) == pytest.approx(np.log2(40), abs=0.01)


def test_ways_differ_by_what_only_one_was_in():
    assert way_difference([{1, 2}, {1, 2}]) == 0.0
    assert way_difference([{1, 2, 3}, {3, 4, 5}]) == pytest.approx(0.8)
    assert way_difference([{1}]) == 1.0


@pytest.fixture
def varied(make_up, tmp_path):
    return Demonstrations(make_up.data_set(tmp_path / "varied", range(24)))


def test_quantities_come_from_grip_and_begin(varied, make_up):
    values = quantities(varied)
    assert values.shape == (24, len(CELLS))
    made = make_up.demonstration(5).columns
    grip = made[schema.SUBTASK].index("grip")
    np.testing.assert_allclose(values[5, :2], made[schema.TOTE_POSE][grip, :2])
    assert values[5, list(CELLS).index("source height (m)")] == pytest.approx(made[schema.TOTE_POSE][0, 2])
    assert values[5, list(CELLS).index("goal height (m)")] == pytest.approx(made[schema.GOAL_POSE][0, 2])


def test_a_varied_data_set_passes_and_has_a_card(varied, make_up):
    card = write_card(varied, [ATTEMPT] * 24)
    check_diversity(card)
    assert json.loads((varied.folder / "data_card.json").read_text()) == card
    assert card["attempts"] == {"episodes": 24, "orders": 24, "done": 24, "by_outcome": {"success": 24}}
    grips = make_up.demonstration(0).columns[schema.SUBTASK].count("grip")
    assert card["by_subtask"]["grip"] == {"frames": 24 * grips, "episodes": 24}
    assert card["near_duplicates"] == []


def test_the_same_episode_again_is_found_also_when_it_was_there_before(make_up, varied):
    make_up.data_set(varied.folder, [3], name="again")
    data = Demonstrations(varied.folder)
    assert near_duplicates(data, quantities(data)) == [(24, 3)]
    assert make_card(data, [ATTEMPT] * 25)["near_duplicates"] == [["again_000003", "made_up_000003"]]


def test_a_collapsed_data_set_is_refused_with_all_it_lacks(make_up, tmp_path):
    folder = tmp_path / "collapsed"
    for number in range(20):
        make_up.data_set(folder, [3], name=f"copy_{number}")
    data = Demonstrations(folder)
    with pytest.raises(DataSetError) as error:
        check_diversity(make_card(data, [ATTEMPT] * 20))
    text = str(error.value)
    for part in ("source height (m): as varied as 1 cells, 2.5 needed", "ways of the base: 0% of two differ",
                 "near-duplicates: 19 of 20 episodes, at most 5%, such as copy_1_000003 of copy_0_000003",
                 "`randomise` of the factory file"):  # fmt: skip
        assert part in text


def test_few_episodes_are_not_judged(make_up, tmp_path):
    for number in range(3):
        make_up.data_set(tmp_path / "few", [3], name=f"copy_{number}")
    card = make_card(Demonstrations(tmp_path / "few"), [ATTEMPT] * 3)
    check_diversity(card)
    with pytest.raises(DataSetError):
        check_diversity(card, Gate(episodes=3))


def test_actions_that_always_say_the_same_are_refused(varied):
    card = make_card(varied, [ATTEMPT] * 24)
    with pytest.raises(DataSetError, match="torso pitch: 0.1 bits of entropy, 0.5 needed"):
        check_diversity(card | {"action_bits": card["action_bits"] | {"torso pitch": 0.1}})

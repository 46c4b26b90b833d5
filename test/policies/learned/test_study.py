"""The study: what is compared, on what, that it goes on where it was stopped, and what a fit says."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError

pytest.importorskip("torch")

from policies.learned.pose_policy import DEFAULT  # noqa: E402
from policies.learned.training import study  # noqa: E402
from policies.learned.training.study import StudyPlan, curves_of, data_sets_of, fit_power, load_study_plan, trials_of, write_results  # noqa: E402


@pytest.fixture
def plan(tmp_path):
    return load_study_plan(None, data=str(tmp_path / "data"), out=str(tmp_path / "out"), workers=1)


@pytest.mark.parametrize("text, named", [
    ("losses: [huber]", "losses.0 is 'huber'"),
    ("new_task: racks", "new_task 'racks' is none of the factories"),
    ("few: [3]", "few has 3; 10 to"),
    ("sizes: [40]", "sizes has 40; 2 to 39 is allowed"),
])  # fmt: skip
def test_a_wrong_plan_is_refused_by_name(tmp_path, text, named):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load_study_plan(path)
    assert named in str(error.value) and "\n" not in str(error.value)


def test_no_floor_is_demonstrated_twice_and_the_new_task_is_not_learnt_before(plan):
    sets = data_sets_of(plan)
    seeds = [seed for data in sets for seed in range(data.seed, data.seed + data.episodes)]
    assert len(seeds) == len(set(seeds))
    trials = trials_of(plan)
    names = [trial.name for trial in trials]
    assert len(names) == len(set(names))
    for trial in trials:
        assert trial.begin_with == "" or names.index(trial.begin_with) < names.index(trial.name)
        needed = {data.folder.name: trial.demonstrations for data in sets if data.folder.name in trial.tasks}
        assert set(needed) == set(trial.tasks)
    before = next(trial for trial in trials if trial.name == study.WITHOUT_NEW)
    assert plan.new_task not in before.tasks and set(before.tasks) | {plan.new_task} == set(plan.factories)


def test_a_network_is_trained_once_measured_and_begun_anew_for_another_plan(plan, monkeypatch):
    trained = []

    def train(data, out, **how):
        trained.append((out.name, how["minutes"], how["loss"], how["width"], how["episodes"]))
        for path in (DEFAULT, DEFAULT.with_suffix(".json")):
            shutil.copy(path, out)
        return out / DEFAULT.name

    trial = next(each for each in trials_of(plan) if each.name == "scratch_10")
    monkeypatch.setattr(study, "run_campaign", lambda _campaign, seeds, workers: ({"seed": seed, "success": seed % 2 == 0} for seed in seeds))
    told = []
    first = study.carry_out(plan, trial, train, lambda *words: told.append(words))
    assert first["success"] == {plan.new_task: 10} and first["episodes"] == 20 and told[-1] == ("episodes", 20, 20)
    assert study.carry_out(plan, trial, train, lambda *_: pytest.fail("it is done already")) == first
    study.carry_out(plan.model_copy(update={"minutes": 7.0}), trial, train, lambda *_: None)
    assert trained == [("scratch_10", plan.minutes, "l1", 320, 10), ("scratch_10", 7.0, "l1", 320, 10)]


def test_an_interrupted_measurement_goes_on_with_the_episodes_that_are_left(plan, monkeypatch):
    trial = next(each for each in trials_of(plan) if each.name == "scratch_10")
    asked = []

    def train(_data, out, **_how):
        for path in (DEFAULT, DEFAULT.with_suffix(".json")):
            shutil.copy(path, out)
        return out / DEFAULT.name

    def campaign(_campaign, seeds, workers):
        asked.append(len(seeds))
        for seed in seeds[: 5 if len(asked) == 1 else None]:
            yield {"seed": seed, "success": True}
        if len(asked) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_campaign", campaign)
    with pytest.raises(KeyboardInterrupt):
        study.carry_out(plan, trial, train, lambda *_: None)
    assert study.carry_out(plan, trial, lambda *_, **__: pytest.fail("it is trained already"), lambda *_: None)["success"] == {plan.new_task: 20}
    assert asked == [20, 15]


def test_a_fit_finds_the_power_and_says_how_sure_it_is():
    amounts = np.array([10, 20, 40, 80])
    failed = (1000 * 0.8 * (amounts / 10) ** -0.5).round().astype(int)
    fit = fit_power(amounts, failed, np.full(4, 1000))
    assert fit.power == pytest.approx(0.5, abs=0.02) and fit.predicted == pytest.approx(0.8 * 80**-0.5, abs=0.01)
    few = fit_power(amounts, [8, 6, 4, 3], [10] * 4)
    low, high = few.interval
    assert low < few.predicted < high and high - low > 3 * (fit.interval[1] - fit.interval[0])
    assert fit_power(amounts[:2], failed[:2], [1000] * 2) is None


def test_all_figures_are_written_and_drawn(plan):
    def result(trial):
        return {"success": {task: 3 for task in trial.measured}, "episodes": trial.episodes * len(trial.measured), "parameters": 1000 * trial.width,
                "not_trained_on": {"check_hand_mm": 4.0, "check_subtask_right": 0.97}}  # fmt: skip

    Path(plan.out).mkdir()
    results = {trial.name: result(trial) for trial in trials_of(plan)}
    found = write_results(plan, results)
    assert found["curves"] == curves_of(plan, results)
    assert [point["amount"] for point in found["curves"]["demonstrations"]] == [25, 50, 100, 200]
    assert StudyPlan(**json.loads((Path(plan.out) / study.RESULTS).read_text())["plan"]) == plan
    assert (Path(plan.out) / study.PICTURE).stat().st_size > 10_000

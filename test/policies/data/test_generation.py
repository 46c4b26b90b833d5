"""Episodes come together in a data set, whoever made them, however often that was broken off."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from humanoid_control import cli
from humanoid_control.errors import ConfigurationError
from policies.data.errors import DataSetError
from policies.data.generation import ATTEMPTS, FAILURES, FactoryText, Generation, Plan, jobs_of, make_demonstration_worker
from policies.data.reader import Demonstrations
from policies.evaluation.workers import run_jobs


@pytest.fixture
def pen_file(penned_in_text, tmp_path):
    path = tmp_path / "pen.yaml"
    path.write_text(penned_in_text)
    return path


@pytest.fixture
def plan(pen_file) -> Plan:
    """Episodes that fail at once, whose frames are kept."""
    return Plan((FactoryText.read(pen_file),), fps=10, cameras=(), width=64, height=48, noise=0.2, layouts=False, learner="", checkpoint="", checkpoint_sha256="", keep_failures=True, sightings="", versions="{}",
                code_sha256="0" * 64)  # fmt: skip


def in_this_process(make_worker, arguments, jobs, *, workers):
    worker = make_worker(*arguments)
    for job in jobs:
        yield worker(job)


def make(folder, plan, episodes, *, by=in_this_process, workers=1, seed=0):
    with Generation(folder, plan) as generation:
        left = generation.left(jobs_of(plan, episodes=episodes, seed=seed))
        made = list(generation.run(left, run_jobs=by, workers=workers))
        generation.assemble()
    return made


def numbers_of(folder):
    """All that was written but when."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / FAILURES).rglob("*") if path.is_file()}


def test_every_failure_is_told_and_kept_apart(plan, tmp_path):
    made = make(tmp_path / "set", plan, 3)
    assert [record["orders"][0]["outcome"] for record in made] == ["gave_up"] * 3
    rows = [json.loads(line) for line in (tmp_path / "set" / ATTEMPTS).read_text().splitlines()]
    assert [row["seed"] for row in rows[1:]] == [0, 1, 2] and "statistics" not in rows[1]["orders"][0]
    data = Demonstrations(tmp_path / "set" / FAILURES)
    assert [row["seed"] for row in data.episodes] == [0, 1, 2] and data.episodes[0]["factory"] == "penned_in"
    assert not (tmp_path / "set" / "meta").exists()


def test_the_number_of_workers_changes_nothing(plan, tmp_path):
    make(tmp_path / "one", plan, 4)
    make(tmp_path / "two", plan, 4, by=run_jobs, workers=2)
    assert numbers_of(tmp_path / "one") == numbers_of(tmp_path / "two")


def test_the_same_command_goes_on_and_more_episodes_are_added(plan, tmp_path):
    folder = tmp_path / "set"
    assert len(make(folder, plan, 2)) == 2
    assert make(folder, plan, 2) == []
    assert [record["seed"] for record in make(folder, plan, 4)] == [2, 3]
    assert [row["seed"] for row in Demonstrations(folder / FAILURES).episodes] == [0, 1, 2, 3]


def test_an_episode_that_was_staged_but_not_noted_is_not_made_again(plan, tmp_path):
    folder = tmp_path / "set"
    with Generation(folder, plan) as generation:
        jobs = jobs_of(plan, episodes=2, seed=0)
        generation._staging.put(make_demonstration_worker(plan)(jobs[0]))
    with Generation(folder, plan) as generation:
        assert [job.seed for job in generation.left(jobs)] == [1]


def test_factories_are_taken_in_turn(plan, penned_in_text, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(penned_in_text.replace("name: penned_in", "name: other_pen"))
    both = replace(plan, factories=(*plan.factories, FactoryText.read(other)))
    assert [job.name.split("_0000")[0][:5] for job in jobs_of(both, episodes=3, seed=4)] == ["penne", "other", "penne"]


def test_episodes_of_another_kind_are_not_mixed_in(plan, tmp_path):
    make(tmp_path / "set", plan, 1)
    with pytest.raises(ConfigurationError, match="its noise is 0.2, not 0.1; choose another folder with --out"):
        make(tmp_path / "set", replace(plan, noise=0.1), 1)


def test_two_at_a_time_are_refused(plan, tmp_path):
    with Generation(tmp_path / "set", plan):
        with pytest.raises(DataSetError, match="another command is writing to"):
            make(tmp_path / "set", plan, 1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"fps": 7}, "--fps is 7; allowed: 1, 2, 5, 10, 25, 50"),
        ({"noise": 0.9}, "--noise is 0.9; a share from 0 to 0.5"),
        ({"width": 63}, "--size: the width is 63; an even number from 32 to 4096"),
        ({"cameras": ("gaze",)}, "--cameras 'gaze': there is no such camera; allowed: head_camera,"),
        ({"cameras": ("head_camera",) * 2}, "--cameras 'head_camera': it is there twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused_before_anything_is(plan, change, message):
    with pytest.raises(ConfigurationError, match=message):
        replace(plan, **change).check()


def test_a_factory_given_twice_is_refused(plan):
    with pytest.raises(ConfigurationError, match="--factory names .*pen.yaml or the like of it twice"):
        replace(plan, factories=plan.factories * 2).check()


# --- the command ------------------------------------------------------------------------------------------------------


def generate(*arguments) -> int:
    return cli.main(["generate", *map(str, arguments)])


@pytest.mark.slow
def test_a_run_killed_outright_goes_on_where_it_was(pen_file, tmp_path):
    folder = tmp_path / "set"
    command = [sys.executable, "-m", "humanoid_control.cli", "generate", "--factory", str(pen_file), "--episodes", "12", "--out",
               str(folder), "--workers", "1", "--no-images", "--keep-failures"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def noted():
        path = folder / ATTEMPTS
        return path.read_text().count('"episode"') if path.exists() else 0

    try:
        deadline = time.monotonic() + 120
        while noted() < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert 2 <= noted() < 12 and not (folder / FAILURES).exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    assert "none of the 12 episodes was done, so there is no data set; the first failed with gave_up" in done.stderr
    assert sorted(row["seed"] for row in Demonstrations(folder / FAILURES).episodes) == list(range(12))
    assert not list((folder / "staging").iterdir())


@pytest.mark.slow
def test_the_command_makes_a_data_set_with_its_card(tmp_path, capsys, line_side_file):
    folder = tmp_path / "set"
    arguments = ("--factory", line_side_file, "--seed", 11, "--out", folder, "--workers", 1, "--cameras", "head_camera", "--size", "64x36")
    assert generate(*arguments, "--episodes", 1) == 0
    assert "added now" in capsys.readouterr().out
    data = Demonstrations(folder)
    assert data.images(0, "head_camera", [0]).shape == (1, 36, 64, 3)
    assert data.episodes[0]["outcome"] == "success" and len(data.episodes[0]["factory_sha256"]) == 64
    card = json.loads((folder / "data_card.json").read_text())
    assert card["by_task"] == {"bring a klt_3147 from a table to a conveyor": 1}
    assert card["by_subtask"]["grip"]["episodes"] == 1
    assert (folder / "data_card.md").read_text().startswith("# Data card")


def test_wrong_arguments_are_told_in_a_line(pen_file, tmp_path, capsys):
    for arguments, message in (
        (("--episodes", 0), "--episodes is 0; at least 1 is needed."),
        (("--episodes", 1, "--seed", -1), "--seed is -1; 0 or more is allowed."),
        (("--episodes", 1, "--workers", 0), "--workers is 0; at least 1 is needed."),
        (("--episodes", 1, "--size", "640"), "--size is '640'; give width and height as in 640x360."),
    ):
        assert generate("--factory", pen_file, "--out", tmp_path / "set", *arguments) == 1
        assert capsys.readouterr().err == f"error: {message}\n"
    (tmp_path / "taken").write_text("")
    assert generate("--factory", pen_file, "--episodes", 1, "--no-images", "--out", tmp_path / "taken") == 1
    assert f"{tmp_path / 'taken'} cannot be made: File exists" in capsys.readouterr().err

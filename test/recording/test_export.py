"""`humanoid episodes export`: recorded episodes as demonstrations that reader and trainer take; nothing is lost, nothing bad gets in."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from humanoid_control.cli import main
from humanoid_control.recording.card import CARD, FACTORY, FAILURE, SUCCESS, Card, Event
from humanoid_control.recording.reading import Recording
from humanoid_control.ros import topics
from policies.data import schema
from policies.data.reader import Demonstrations
from policies.learned.action_space import decode_action
from policies.learned.observation_space import GOAL_NAMES

ROOT_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
CAMERA, SIZE = "head_camera", "64x36"


def export(*arguments):
    return main(["episodes", "export", *map(str, arguments), "--size", SIZE, "--workers", "1"])


@pytest.fixture(scope="module")
def exported(real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "data"
    assert export(real[0], "--out", folder) == 0
    return Demonstrations(folder), Recording(real[0])


def times_of(data, recording):
    """(T,) on the robot's clock: a state's stamp and its age tell each frame's."""
    states = recording.stream(topics.ROBOT_STATE)
    names = data.features[schema.AGES]["names"]
    ages = data.column(schema.AGES)
    orders = recording.stream(topics.CURRENT_ORDER)
    heard = recording.robot_time_s(orders.log_ns)[[bool(message.tote) for message in orders.messages()].index(True)]
    targets = recording.stream(topics.WHOLE_BODY_TARGET).stamps_s
    begin = targets[targets >= heard][0]
    times = begin + np.arange(data.frames) / data.fps
    found = states.stamps_s[states.newest(times)]
    np.testing.assert_allclose(times - found, ages[:, names.index("state")], atol=1e-4)
    return times


def test_numbers_are_those_of_the_record(exported, real):
    data, recording = exported
    times = times_of(data, recording)
    ages = dict(zip(data.features[schema.AGES]["names"], data.column(schema.AGES).T))
    for name, period_s in (("state", 0.004), ("estimate", 0.004), ("command", 0.004), ("control", 0.02), ("action", 0.02), ("poses", 0.044), ("policy", 0.104)):
        assert (ages[name] > -1e-6).all() and ages[name].max() < period_s + 1e-3, name
    states, commands, estimates = (recording.stream(topic) for topic in (topics.ROBOT_STATE, topics.JOINT_COMMAND, topics.BASE_ESTIMATE))
    (positions,) = states.values("joint_positions")
    np.testing.assert_allclose(data.column(schema.STATE)[:, :29], positions[states.newest(times)], atol=1e-6)
    (sent,) = commands.values("positions")
    np.testing.assert_allclose(data.column(schema.JOINT_COMMAND), sent[commands.newest(times)], atol=1e-6)
    (position,) = estimates.values("position")
    np.testing.assert_allclose(data.column(schema.BASE_ESTIMATE)[:, :3], position[estimates.newest(times)], atol=1e-6)
    targets = recording.stream(topics.WHOLE_BODY_TARGET)
    for frame in range(0, data.frames, 37):
        target = targets.message(int(targets.newest(times[frame : frame + 1])[0]))
        action = decode_action(data.column(schema.ACTION)[frame].astype(float), stamp_s=0.0)
        assert action.pelvis_height == pytest.approx(target.pelvis_height, abs=1e-6)
        np.testing.assert_allclose(action.base_velocity, [target.base_velocity.x, target.base_velocity.y, target.base_velocity.z], atol=1e-6)
        np.testing.assert_allclose(action.gripper_openings, target.gripper_openings, atol=1e-6)


def test_sub_tasks_are_those_that_the_policy_was_in(exported, real):
    data, recording = exported
    told = [data.subtasks[number] for number in data.column(schema.SUBTASK_INDEX)]
    stamps, names = zip(*real[1].subtasks)
    true = [names[index] for index in np.searchsorted(stamps, times_of(data, recording) + 1e-6) - 1]
    assert np.mean([one == other for one, other in zip(told, true)]) > 0.95  # the policy tells it ten times a second
    assert list(dict.fromkeys(told))[:5] == ["approach", "ready", "reach", "grip", "lift"]


def test_goal_and_tote_are_where_they_were_seen(exported):
    data, _ = exported
    goal = data.column(schema.GOAL)[-1, [GOAL_NAMES.index(f"goal_place.{axis}") for axis in "xyz"]]
    np.testing.assert_allclose(data.column(schema.SEEN_TOTE)[-1, :3], goal, atol=0.05)
    assert np.linalg.norm(data.column(schema.SEEN_TOTE)[0, :2]) > 0.6


def test_nothing_privileged_is_in_it_and_all_that_a_robot_knows_is(exported):
    data, _ = exported
    assert not [name for name in data.features if name.startswith(schema.PRIVILEGED)]
    assert {schema.STATE, schema.GOAL, schema.WAY, schema.ACTION, schema.EXPERT, schema.CLEAN_STEPS, "observation.images.head_camera"} <= set(data.features)
    assert data.column(schema.EXPERT).all() and not data.column(schema.INTERVENTION).any() and not data.column(schema.NOISE).any()
    assert data.column(schema.CLEAN_STEPS)[0] == data.frames


def test_images_are_the_newest_by_their_exposure(exported, real):
    data, recording = exported
    shade = real[1].shade
    exposed = times_of(data, recording) - data.column(schema.IMAGE_AGE)
    assert data.column(schema.IMAGE_AGE).min() > -1e-6 and data.column(schema.IMAGE_AGE).max() < 1 / 15 + 0.005
    images = data.images(0, CAMERA)
    shown = images[:, 10:].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shown, [shade(stamp) for stamp in exposed], atol=5)


def test_who_what_and_with_which_hashes_is_kept(exported, real):
    row = exported[0].episodes[0]
    assert (row["episode"], row["outcome"], row["seed"], row["factory"]) == (real[0].name, "success", 11, "line_side")
    assert row["factory_sha256"] == "f" * 64 and json.loads(row["hashes"])["model"] == "m" * 64 and row["policy"] == "scripted"
    assert row["detail"] == "t1 stands on outfeed" and row["intervention_share"] == 0.0


def test_a_trainer_takes_a_step_on_it(exported):
    torch = pytest.importorskip("torch")
    from policies.learned.training.pose_task import PoseTask, read_frames

    frames = read_frames(exported[0])
    assert len(frames) == exported[0].frames
    task, rng = PoseTask(frames, "cpu"), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(task.network.parameters(), 1e-3)
    batch = task.batch(task.epoch(rng)[:64], rng, vary=False)
    losses = []
    for _ in range(8):
        loss, _ = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_what_cannot_be_trusted_is_refused_with_the_reason(real, copied, tmp_path, capsys):
    folder, card = tmp_path / "episodes", Card.read(real[0] / CARD)
    copied(real[0], folder, "good", begin_s=0.0, end_s=6.0)
    copied(real[0], folder, "wrong", begin_s=0.5, end_s=6.0, events=[Event(card.begun_ns + 10**9, "verdict", "dropped: t1 fell")])
    copied(real[0], folder, "failed", begin_s=1.0, end_s=6.0, outcome=FAILURE)
    shutil.copytree(folder / "good", folder / "again")
    unknown = copied(real[0], folder, "no_factory", begin_s=1.5, end_s=6.0)
    (unknown / FACTORY).unlink()
    assert export(folder, "--out", tmp_path / "data", "--no-images") == 1
    said = capsys.readouterr().out
    assert "refused: wrong: wrong outcome: its card says success, the judge said: dropped: t1 fell" in said
    assert "passed over: failed: its outcome is failure" in said
    assert "refused: no_factory: the recorder was told of no factory file" in said and "--without-order" in said
    assert "refused: good: duplicate: the same as again" in said or "refused: again: duplicate: the same as good" in said
    assert len(Demonstrations(tmp_path / "data")) == 1
    assert export(folder / "wrong", "--out", tmp_path / "data", "--no-images", "--force") == 0
    assert [row["outcome"] for row in Demonstrations(tmp_path / "data").episodes] == ["success", "success"]
    assert export(unknown, "--out", tmp_path / "bare", "--no-images", "--without-order") == 0
    bare = Demonstrations(tmp_path / "bare")
    assert schema.GOAL not in bare.features and bare.tasks == ["an order"]
    assert export(folder / "failed", "--out", tmp_path / "none", "--no-images") == 1
    assert "none of 1 episodes was a success" in capsys.readouterr().err


def test_an_export_that_was_killed_goes_on_and_is_the_same(real, copied, tmp_path):
    folder = tmp_path / "episodes"
    for number in range(4):
        copied(real[0], folder, f"e{number}", begin_s=2.0 * number, end_s=2.0 * number + 8.0, outcome=SUCCESS)
    command = [sys.executable, "-m", "humanoid_control.cli", "episodes", "export", str(folder), "--no-images", "--workers", "1", "--out"]
    assert subprocess.run([*command, str(tmp_path / "whole")], env=ROOT_ENVIRONMENT, check=False).returncode == 0
    killed = subprocess.Popen([*command, str(tmp_path / "data")], env=ROOT_ENVIRONMENT, start_new_session=True)
    staged = tmp_path / "data" / "staging"
    until = time.monotonic() + 60
    while not (staged.is_dir() and any(not path.name.startswith(".") for path in staged.iterdir())):
        assert time.monotonic() < until and killed.poll() is None
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = [path.name for path in staged.iterdir()]
    assert subprocess.run([*command, str(tmp_path / "data")], env=ROOT_ENVIRONMENT, check=False).returncode == 0
    data, whole = Demonstrations(tmp_path / "data"), Demonstrations(tmp_path / "whole")
    assert kept and [row["episode"] for row in data.episodes] == [row["episode"] for row in whole.episodes] == ["e0", "e1", "e2", "e3"]
    for name in (schema.STATE, schema.ACTION, schema.GOAL, schema.WAY, schema.AGES):
        np.testing.assert_array_equal(data.column(name), whole.column(name))


def test_a_persons_driving_has_sub_tasks_and_is_marked(driven, tmp_path, capsys):
    assert main(["episodes", "segment", str(driven)]) == 0
    assert "reach" in capsys.readouterr().out and Card.read(driven / CARD).segmented_by == "automatic"
    assert export(driven, "--out", tmp_path / "data", "--no-images") == 0
    data = Demonstrations(tmp_path / "data")
    assert data.column(schema.INTERVENTION).mean() > 0.99 and data.column(schema.EXPERT).mean() > 0.99
    assert {"reach", "grip", "lift", "carry", "set_down", "let_go"} <= set(data.subtasks) and "teleoperate" not in data.subtasks
    row = data.episodes[0]
    assert row["segmented_by"] == "automatic" and row["operator"] == "Ada" and row["intervention_share"] > 0.99


def test_a_persons_driving_without_sub_tasks_is_refused_with_the_way_out(driven, copied, tmp_path, capsys):
    bare = copied(driven, tmp_path / "bare", "bare", segments=[], segmented_by="")
    assert export(bare, "--out", tmp_path / "data", "--no-images") == 1
    assert "its sub-task at" in (said := capsys.readouterr().out) and "humanoid episodes segment" in said

"""The teacher's plan, and a network from demonstrations to orders."""

import json

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch")

from humanoid_control.errors import ConfigurationError  # noqa: E402
from humanoid_control.mission.factory import load_factory  # noqa: E402
from humanoid_control.nodes.factory_file import find_factory_file  # noqa: E402
from humanoid_control.robot_model import RobotModel  # noqa: E402
from policies.data import generate  # noqa: E402
from policies.data.errors import DataSetError  # noqa: E402
from policies.data.reader import Demonstrations  # noqa: E402
from policies.learned.pose_policy import NAME, PosePolicy  # noqa: E402
from policies.learned.pose_space import MOVING, STEPS  # noqa: E402
from policies.learned.training import train_pose  # noqa: E402
from policies.learned.training.pose_task import BEFORE_FAILURE_S, LOSSES, _learnt_of_failure, longest, read_frames, standing  # noqa: E402
from policies.learned.training.rounds import demonstrations_command, rounds_of  # noqa: E402
from policies.learned.training.teacher import load_teacher_plan  # noqa: E402
from policies.subtasks import SUBTASKS  # noqa: E402
from policies.runtime import run_episode  # noqa: E402


@pytest.mark.parametrize("text, named", [
    ("minuts: 3", "no key 'minuts'; allowed: data, out"),
    ("minutes: 0", "minutes is 0"),
    ("workers: yes", "workers is True"),
    ("device: tpu", "device is 'tpu'"),
    ("factories: line_side", "factories is 'line_side'"),
    ("- 1", "holds list"),
])  # fmt: skip
def test_a_wrong_plan_is_refused_by_name(tmp_path, text, named):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load_teacher_plan(path)
    assert named in str(error.value) and "\n" not in str(error.value)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("minutes: 2\nworkers: 3\n")
    plan = load_teacher_plan(path, workers=1, data=None)
    assert (plan.minutes, plan.workers, plan.data) == (2.0, 1, load_teacher_plan().data)
    first, second, third = rounds_of(plan)
    assert "--layouts" in demonstrations_command(plan, first, NAME) and "--learner" not in demonstrations_command(plan, first, NAME)
    assert demonstrations_command(plan, third, NAME)[-3:] == ["--learner", str(second.out / f"{NAME}.onnx"), "--keep-failures"]
    assert first.seed + first.episodes == second.seed and second.seed + second.episodes == third.seed  # never the same floor twice


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demonstrations")
    parser = generate.argparse.ArgumentParser()
    generate.add_arguments(parser)
    generate.run(parser.parse_args(["--factory", str(find_factory_file("line_side")), "--episodes", "2", "--out", str(folder), "--no-images",
                                    "--workers", "1"]))  # fmt: skip
    return folder


def test_frames_hold_what_follows_and_what_was_before(demonstrations):
    frames = read_frames(Demonstrations(demonstrations))
    assert frames.chunk.shape[1] == STEPS and np.isfinite(frames.chunk).all()
    first = np.flatnonzero(np.diff(frames.episode, prepend=-1))
    assert (frames.turn_s[first] == 0.0).all() and (frames.since_s[first] == 0.0).all()
    changes = np.flatnonzero(np.diff(frames.subtask, prepend=-1))
    assert (np.flatnonzero(frames.since_s == 0.0) == np.union1d(first, changes)).all()
    assert frames.valid[:, 0].all() and frames.done.sum() == 2 * 3
    assert {"reach", "grip", "carry"} <= {SUBTASKS[number] for number in frames.subtask}
    stands = {name for name, each in zip(SUBTASKS, standing(frames)) if each}
    assert {"reach", "grip", "lift", "set_down", "let_go"} <= stands and not stands & {"approach", "ready", "step_back", "carry", "align"}
    lasts = dict(zip(SUBTASKS, longest(frames)))
    assert 0.3 < lasts["grip"] < 1.5 < lasts["reach"] < 6.0 < lasts["carry"] and lasts["pull"] == np.inf  # none was pulled
    lift = frames.subtask == SUBTASKS.index("lift")
    assert not frames.chunk[lift][..., MOVING].any()  # no chunk steps back before its sub-task does


def test_of_an_order_that_failed_by_turns_all_but_its_end_is_learnt():
    turns = np.repeat([False, True, False, True], 50)
    learnt = _learnt_of_failure("hit", turns, 10)
    assert learnt.sum() == 100 - 10 * BEFORE_FAILURE_S and not learnt[~turns].any() and not learnt[-round(10 * BEFORE_FAILURE_S) :].any()
    assert (_learnt_of_failure("timeout", turns, 10) == turns).all()
    assert not _learnt_of_failure("hit", np.ones(200, bool), 10).any()


def test_a_network_is_trained_goes_on_is_exported_and_drives(demonstrations, tmp_path, monkeypatch):
    with pytest.raises(DataSetError, match="2 demonstrations; 10 are needed"):
        train_pose.train_pose_policy([demonstrations], tmp_path, minutes=0.02)
    monkeypatch.setattr(train_pose, "FEWEST", 2)
    path = train_pose.train_pose_policy([demonstrations], tmp_path, minutes=0.02, device="cpu")
    steps = json.loads(path.with_suffix(".json").read_text())["steps"]
    trained_s = json.loads((tmp_path / "pose_policy_curve.json").read_text())[-1]["trained_s"]
    train_pose.train_pose_policy([demonstrations], tmp_path, minutes=trained_s / 60 + 0.02, device="cpu")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["steps"] > steps and card["demonstrations"] == 2 and len(card["data_hash"]) == 64
    model, ticks = RobotModel.load(), []

    def look(_floor, loop, output):
        ticks.append(loop.status().mode)
        if len(ticks) > 500:
            raise _Enough

    with pytest.raises(_Enough):  # hardly trained, it does something, and the robot stands
        run_episode(model, load_factory(find_factory_file("line_side")), 3, policy=PosePolicy(model, path), on_tick=look)
    assert "stopped" not in ticks


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_makes_a_network_that_ships_and_says_the_same_each_time(demonstrations, tmp_path, monkeypatch, loss):
    monkeypatch.setattr(train_pose, "FEWEST", 1)
    path = train_pose.train_pose_policy([demonstrations], tmp_path, minutes=0.01, device="cpu", loss=loss, width=32, episodes=1, checking=[demonstrations])
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["loss"] == loss and card["demonstrations"] == 1 and np.isfinite(card["not_trained_on"]["check_hand_mm"])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {"inputs": np.random.default_rng(0).normal(size=(1, session.get_inputs()[0].shape[1])).astype(np.float32), "allowed": np.ones((1, len(SUBTASKS)), np.float32)}
    first, again = session.run(None, given), session.run(None, given)
    assert all(np.isfinite(one).all() and (one == other).all() for one, other in zip(first, again))


class _Enough(Exception):
    """Ends an episode that was watched for long enough."""


def test_a_checkpoint_of_another_robot_is_refused_with_its_hash(tmp_path):
    with pytest.raises(ConfigurationError, match="train one with `humanoid train teacher`"):
        PosePolicy(RobotModel.load(), tmp_path / "pose_policy.onnx")
    with pytest.raises(ConfigurationError, match="its file is called pose_policy.onnx"):
        PosePolicy(RobotModel.load(), tmp_path / "other.onnx")

"""The student: its eyes' geometry, the same numbers in training and on the robot, nothing privileged, and bad input refused."""

import json
from dataclasses import replace
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from humanoid_control.errors import ConfigurationError  # noqa: E402
from humanoid_control.mission.factory import load_factory  # noqa: E402
from humanoid_control.mission.load_carriers import LOAD_CARRIERS  # noqa: E402
from humanoid_control.nodes.factory_file import find_factory_file  # noqa: E402
from humanoid_control.robot_model import RobotModel  # noqa: E402
from humanoid_control.simulation.episode import draw_episode  # noqa: E402
from humanoid_control.transforms import inverse, planar, rotation_z, transform, yaw_of  # noqa: E402
from perception.attention import box_before  # noqa: E402
from perception.camera_model import CameraModel  # noqa: E402
from perception.camera_rig import CameraRig  # noqa: E402
from perception.detector import FILES, ToteDetector  # noqa: E402
from perception.frame import CameraFrame  # noqa: E402
from perception.keypoints import tote_corners  # noqa: E402
from perception.network_file import DEFAULT_FOLDER, open_network  # noqa: E402
from perception.poses import ObjectPose, PoseSet  # noqa: E402
from perception.training.export import export_network  # noqa: E402
from perception.true_cameras import camera_from_map, camera_models  # noqa: E402
from policies.data import schema  # noqa: E402
from policies.data.demonstration import Recorder  # noqa: E402
from policies.data.errors import DataSetError  # noqa: E402
from policies.learned import pose_policy, tote_sight  # noqa: E402
from policies.learned.eyes import FARTHEST, Eyes  # noqa: E402
from policies.learned.observation_space import GOAL_SIZE  # noqa: E402
from policies.learned.pose_space import FINGERS_FORCE, FINGERS_OPEN, HANDS, KIND, SOURCE_PLACE, STEP_SIZE, STEPS, pose_inputs  # noqa: E402
from policies.learned.rotations import to_columns  # noqa: E402
from policies.learned.sight_space import (  # noqa: E402
    AGE, CAMERA, CAMERAS, CORNERS_OF_KIND, DEVIATIONS, INSIDE, PRESENCE, PRIOR, RAYS, SEEN, SIGHTING_SIZE, SIGHTINGS_NAMES, TOLD, VISIBLE, Belief,
    Holding, Posture, footprint_of, kind_of, place_of,
)  # fmt: skip
from policies.learned.student import NAME, SIGHT, make_student  # noqa: E402
from policies.learned.tote_sight import SeenTote, believed  # noqa: E402
from policies.learned.training import sight_task, train_student  # noqa: E402
from policies.learned.training.pose_network import PoseNet, PoseNetForExport, begin_as, weights_of  # noqa: E402
from policies.learned.training.pose_task import PoseFrames, _labelled, memory_of  # noqa: E402
from policies.learned.training.sight_network import HIDDEN, SightNet  # noqa: E402
from policies.learned.training.rounds import demonstrations_command, rounds_of  # noqa: E402
from policies.learned.training.student import load_student_plan  # noqa: E402
from policies.policy import FAILED, IMAGES, RUNNING  # noqa: E402
from policies.registry import learner_of, make_policy  # noqa: E402
from policies.runtime import run_episode  # noqa: E402
from policies.subtasks import SUBTASKS  # noqa: E402

KIND_OF_TOTE = 0
TOTE = planar(0.55, 0.1, 0.2, 0.7)
LOOKS_DOWN = np.array([[0.0, -0.77, 0.64], [-1.0, 0.0, 0.0], [0.0, -0.64, -0.77]])  # forward and down, in optical axes


def sighting(footprint_from_tote: np.ndarray, eye: tuple[float, float, float], deviation: float = 0.002) -> np.ndarray:
    """(SIGHTING_SIZE,) what a camera at a point in `base_footprint` sees of a tote."""
    camera = transform(LOOKS_DOWN, np.array(eye))
    seen = (inverse(camera) @ footprint_from_tote @ np.c_[CORNERS_OF_KIND[KIND_OF_TOTE], np.ones(8)].T)[:3].T
    row = np.zeros(SIGHTING_SIZE)
    row[[SEEN, AGE, PRESENCE]] = 1.0, 0.1, 1.0
    row[CAMERA], row[RAYS], row[DEVIATIONS] = camera[:3].ravel(), (seen[:, :2] / seen[:, 2:]).ravel(), deviation
    row[VISIBLE] = row[INSIDE] = 1.0
    return row


class Scene:
    """Demonstrations made up: a robot walks up to a tote, grips it and carries it, seen all the time. As `Demonstrations` has them."""

    folder, frames = "made", 60

    def __init__(self) -> None:
        names = (schema.STATE, schema.GOAL, schema.BASE_ESTIMATE, schema.TOTE_POSE, schema.SIGHTINGS)
        rows = {name: [] for name in names}
        grip = [transform(np.eye(3), np.array([0.0, side * LOAD_CARRIERS[tuple(LOAD_CARRIERS)[KIND_OF_TOTE]].length / 2, 0.12])) for side in (1, -1)]
        for step in range(self.frames):
            walked, lifted = 0.02 * min(step, 20), 0.01 * max(step - 30, 0)
            footprint = planar(walked, 0.0, 0.01 * step)
            tote = transform(np.eye(3), np.array([0.0, 0.0, lifted])) @ planar(1.0, 0.1, 0.2, 0.7)
            if step > 30:
                tote = planar(0.02 * (step - 30), 0.0, 0.005 * (step - 30)) @ tote
            seen = inverse(footprint) @ tote
            state, goal = np.zeros(94), np.zeros(GOAL_SIZE)
            hands = [seen @ each if step > 24 else planar(0.2, side * 0.3, 0.0, 0.6) for each, side in zip(grip, (1, -1))]
            state[HANDS] = np.concatenate([np.concatenate([hand[:3, 3], to_columns(hand)]) for hand in hands])
            state[FINGERS_OPEN], state[FINGERS_FORCE] = (0.02, 20.0) if step > 26 else (0.08, 0.0)
            file = inverse(footprint) @ planar(1.03, 0.06, 0.15, 0.7)
            goal[SOURCE_PLACE] = [*file[:3, 3], np.cos(yaw_of(file)), np.sin(yaw_of(file))]
            goal[KIND.start + KIND_OF_TOTE] = 1.0
            looks = np.zeros((len(CAMERAS), SIGHTING_SIZE))
            if step > 3:
                looks[0], looks[1] = sighting(seen, (0.05, 0.0, 1.2)), sighting(seen, (0.08, 0.02, 1.25))
            base = np.array([*footprint[:2, 3], 0.75, 0.0, 0.0, np.sin(0.005 * step), np.cos(0.005 * step)])
            for name, value in zip(names, (state, goal, base, np.concatenate([seen[:3, 3], to_columns(seen)]), looks.ravel())):
                rows[name].append(value)
        self._columns = {name: np.array(value, np.float32) for name, value in rows.items()}
        self.features = dict.fromkeys(names)

    def __len__(self) -> int:
        return 1

    def span(self, _index: int) -> slice:
        return slice(0, self.frames)

    def column(self, name: str) -> np.ndarray:
        return self._columns[name]


@pytest.fixture(scope="module")
def scene():
    return Scene()


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, scene):
    """A folder with a student that begins as the teacher."""
    folder = tmp_path_factory.mktemp("student")
    torch.manual_seed(0)
    export_network(SIGHT, SightNet(), train_student._example(sight_task.read_sightings(scene)), folder, output_names=train_student.SIGHT_OUTPUTS, card={})
    weights = weights_of(pose_policy.DEFAULT)
    known = len(weights["mean"])
    network = PoseNet(known + len(TOLD), len(SUBTASKS), torch.zeros(known + len(TOLD)), torch.ones(known + len(TOLD)))
    begin_as(network, weights)
    card = json.loads(pose_policy.DEFAULT.with_suffix(".json").read_text())
    detector = ToteDetector()
    card |= {"cameras": list(CAMERAS), "sightings": list(SIGHTINGS_NAMES), "networks": {**detector.hashes, SIGHT: open_network(SIGHT, folder)[1]}}
    example = {"inputs": torch.randn(2, known + len(TOLD)), "allowed": torch.ones(2, len(SUBTASKS))}
    export_network(NAME, PoseNetForExport(network), example, folder, output_names=("chunk", "subtask", "done"), card=card)
    return folder


def corrected(folder, off, sightings, steps=8):
    """(4,) how far a belief that was off is off after some steps of the same sightings."""
    network, _ = open_network(SIGHT, folder)
    belief, holding, state = Belief.at(TOTE @ planar(off[0], off[1], off[3], off[2]), HIDDEN), Holding(), np.zeros(94)
    state[HANDS] = np.tile([0.2, 0.0, 0.5, 1, 0, 0, 0, 1, 0], 2)
    for _ in range(steps):
        belief = believed(network, belief, holding, Posture.of_state(state, np.eye(4)), sightings, KIND_OF_TOTE)
    left = inverse(TOTE) @ belief.pose
    return np.append(left[:3, 3], yaw_of(left)), belief


def looks_of(tote):
    sightings = np.zeros((len(CAMERAS), SIGHTING_SIZE))
    sightings[0], sightings[2] = sighting(tote, (0.0, 0.0, 1.3)), sighting(tote, (0.2, 0.3, 1.2))
    return sightings


def test_a_perfect_sighting_leaves_the_belief_and_makes_it_surer(untrained):
    left, belief = corrected(untrained, np.zeros(4), looks_of(TOTE))
    assert np.abs(left).max() < 1e-4 and (np.diag(belief.covariance) < 0.1).all() and (belief.deviation < PRIOR).all()


def test_a_belief_that_is_off_is_led_to_what_is_seen_and_half_a_turn_of_the_axes_is_no_error(untrained):
    for off in ((0.08, -0.06, 0.04, 0.15), (-0.05, 0.08, -0.03, -0.2)):
        left, _ = corrected(untrained, np.array(off), looks_of(TOTE))
        assert np.abs(left[:3]).max() < 1e-3 and abs(left[3]) < 3e-3
    turned = torch.tensor([[1.0, 2.0, 0.5, 0.3 + np.pi]])
    assert sight_task.error_of(turned, torch.tensor([[1.0, 2.0, 0.5, 0.3]])).abs().max() < 1e-5


def test_without_sightings_it_stays_where_it_was_and_grows_unsure(untrained):
    left, belief = corrected(untrained, np.array([0.02, 0.0, 0.0, 0.1]), np.zeros((len(CAMERAS), SIGHTING_SIZE)))
    assert np.allclose(left, [0.02, 0.0, 0.0, 0.1], atol=1e-6) and np.isinf(belief.unseen_s)
    assert np.diag(belief.covariance).sum() > np.sum((PRIOR / sight_task.UNITS) ** 2)


def test_the_robot_believes_what_training_does_also_while_it_carries(scene, untrained):
    frames = sight_task.read_sightings(scene)
    torch.manual_seed(0)
    in_training, deviation, unseen_s = sight_task.believed(SightNet().eval(), frames, np.random.default_rng(4))
    place = sight_task.placed(frames, np.random.default_rng(4))
    network, _ = open_network(SIGHT, untrained)
    holding, belief, on_robot = Holding(), None, []
    state, goal, base, looks = (scene.column(name) for name in (schema.STATE, schema.GOAL, schema.BASE_ESTIMATE, schema.SIGHTINGS))
    for step in range(scene.frames):
        if belief is None or np.isinf(belief.unseen_s):
            x, y, z, yaw = place[step]
            belief = Belief.at(planar(x, y, yaw, z), HIDDEN)
        belief = believed(network, belief, holding, Posture.of_state(state[step], footprint_of(base[step])),
                          looks[step].reshape(len(CAMERAS), SIGHTING_SIZE), kind_of(goal[step]))  # fmt: skip
        on_robot.append(np.append(belief.mean, belief.unseen_s))
    on_robot = np.array(on_robot)
    seen = np.isfinite(unseen_s)
    assert frames.context[40:, 0].all() and not frames.context[:20, 0].any()  # held, and not yet
    assert np.abs(on_robot[seen, :4] - in_training[seen]).max() < 5e-4
    assert (on_robot[seen, 4] == pytest.approx(unseen_s[seen])) and np.isinf(on_robot[~seen, 4]).all()
    assert np.abs(sight_task.error_of(torch.tensor(in_training), torch.tensor(frames.truth)).numpy()[15:]).max() < 0.01
    assert (deviation > 0).all()


def test_a_sequence_is_told_from_where_it_begins_and_holds_the_truth(scene):
    frames = sight_task.read_sightings(scene)
    batch = sight_task.SightTask(frames, "cpu").batch(np.array([5]), np.random.default_rng(0), vary=False)
    assert torch.allclose(batch["truth"][0, 0, :3], torch.zeros(3), atol=1e-6)
    span = slice(5, 5 + sight_task.STEPS)
    assert np.allclose(batch["truth"][0, :, :3].numpy(), frames.truth[span, :3] - frames.truth[5, :3], atol=1e-5)
    moved, truth = batch["moved"].double(), batch["truth"].double()
    turned = rotation_z(float(moved[0, 35, 0])) @ truth[0, 34, :3].numpy() + moved[0, 35, 1:].numpy()
    assert np.allclose(turned, truth[0, 35, :3], atol=1e-3)  # what hands hold goes with them


def test_training_its_eyes_for_a_moment_makes_the_loss_fall(scene, monkeypatch):
    monkeypatch.setattr(sight_task, "STEPS", 10)
    torch.manual_seed(1)
    task = sight_task.SightTask(sight_task.read_sightings(scene), "cpu")
    batch = task.batch(task.epoch(np.random.default_rng(0))[:8], np.random.default_rng(0), vary=True)
    optimiser, losses = torch.optim.AdamW(task.network.parameters(), lr=2e-3), []
    for _ in range(6):
        loss, figures = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05 and all(np.isfinite(value) for value in figures.values())


def test_where_a_learner_drove_the_teacher_who_knows_the_tote_s_pose_says_what_was_right(scene):
    state, goal, true = (scene.column(name) for name in (schema.STATE, schema.GOAL, schema.TOTE_POSE))
    count, asked = scene.frames, []
    believed_tote, learner = true + np.float32(0.02), np.arange(count) >= 40
    frames = PoseFrames(state=state, reference=state[:, HANDS], goal=goal, way=np.zeros((count, 6), np.float32), tote=believed_tote,
                        told=np.zeros((count, len(TOLD)), np.float32), subtask=np.full(count, 2), since_s=0.1 * np.arange(count),
                        turn_s=0.1 * (np.arange(count) % 40), chunk=np.zeros((count, STEPS, STEP_SIZE), np.float32), valid=np.zeros((count, STEPS), bool),
                        done=np.zeros(count, np.float32), episode=np.zeros(count, int), intervention=np.zeros(count, bool), labelled=learner)  # fmt: skip

    def teacher(inputs):
        asked.append(inputs)
        return np.ones((len(inputs), STEPS, STEP_SIZE)), np.where(np.arange(len(inputs)) < 12, 3, 4), np.arange(len(inputs)) > 18

    made = _labelled(frames, true, teacher)
    rows = np.flatnonzero(learner)
    before, elapsed_s = memory_of(frames, rows, np.full(len(rows), 5))
    told = {name: getattr(frames, name)[rows] for name in ("state", "reference", "goal", "way")}
    assert np.array_equal(asked[0], pose_inputs(**told, tote=true[rows], subtask=before, elapsed_s=elapsed_s, subtasks=len(SUBTASKS)))
    assert (made.chunk[learner] == 1.0).all() and made.valid[learner].all() and not made.valid[~learner].any()
    assert (made.subtask[40:52] == 3).all() and (made.subtask[52:] == 4).all() and (made.subtask[:40] == 2).all()
    assert made.since_s[[40, 51, 52, 59]] == pytest.approx([0.0, 1.1, 0.0, 0.7]) and made.done.sum() == 1
    assert np.array_equal(made.tote, believed_tote)  # what it sees is still its own


def test_demonstrations_without_sightings_are_refused():
    with pytest.raises(DataSetError, match="has no observation.sightings: make it with `humanoid generate --sightings`"):
        sight_task.read_sightings(SimpleNamespace(features={}, folder="there"))


def test_a_student_that_has_learnt_nothing_says_what_its_teacher_says_whatever_it_is_told(untrained):
    teacher, student = open_network(pose_policy.NAME, pose_policy.DEFAULT.parent)[0], open_network(NAME, untrained)[0]
    rng, allowed = np.random.default_rng(0), np.ones((4, len(SUBTASKS)), np.float32)
    inputs = rng.normal(size=(4, teacher.get_inputs()[0].shape[1])).astype(np.float32)
    told = rng.normal(size=(4, len(TOLD))).astype(np.float32)
    says = student.run(None, {"inputs": np.concatenate([inputs, told], axis=1), "allowed": allowed})
    assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(says, teacher.run(None, {"inputs": inputs, "allowed": allowed})))


def test_few_demonstrations_forbid_nothing_that_the_teacher_s_had():
    teacher = json.loads(pose_policy.DEFAULT.with_suffix(".json").read_text())
    nothing = {"following": {name: [name] for name in SUBTASKS}, "longest": {"grip": 100.0}, "standing": list(SUBTASKS), "frames": 3}
    made = train_student.with_teacher_s(nothing, pose_policy.DEFAULT)
    assert all(set(made["following"][name]) == {name, *teacher["following"][name]} for name in SUBTASKS)
    assert made["standing"] == teacher["standing"] and made["frames"] == 3
    assert made["longest"]["grip"] == 100.0 and made["longest"]["lift"] == teacher["longest"]["lift"]


def test_it_has_fewer_parameters_than_may_be():
    eyes = sum(json.loads((DEFAULT_FOLDER / f"{file}.json").read_text())["parameters"] for file in FILES.values())
    sight = sum(p.numel() for p in SightNet().parameters())
    assert eyes + sight + json.loads(pose_policy.DEFAULT.with_suffix(".json").read_text())["parameters"] <= 5_000_000


# --- at run time --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rig(model):
    focal = 300.0
    return CameraRig(model, {name: CameraModel(name, 64, 36, np.array([[focal / 10, 0, 31.5], [0, focal / 10, 17.5], [0, 0, 1]])) for name in CAMERAS})


def looking(observation, rig, images=(), poses=None):
    return type(observation)(observation.stamp_s, observation.state, observation.estimate, observation.control,
                             poses if poses is not None else observation.poses, tuple(images), rig)  # fmt: skip


def picture(rng, camera, stamp_s):
    return CameraFrame(camera, stamp_s, rng.integers(40, 200, (36, 64, 3)).astype(np.uint8))


def test_its_tote_s_pose_among_the_poses_makes_no_difference(onlooker, rig, untrained, model):
    """What perception, or an oracle, says of its own tote is not even read."""
    found = []
    for shift in (None, 0.5):
        source = SeenTote(model, Eyes(ToteDetector()), open_network(SIGHT, untrained)[0])
        order = onlooker.factory.orders[0]
        source.begin(order)
        for tick in range(20):
            observation = onlooker.observe(0.02 * tick)
            totes = dict(observation.poses.totes)
            if shift is None:
                del totes[order.tote]
            else:
                pose = totes[order.tote]
                totes[order.tote] = ObjectPose(pose.name, planar(shift, 0.0, 0.0) @ pose.base_from_object, pose.covariance, pose.stamp_s)
            goal = np.zeros(GOAL_SIZE)
            goal[SOURCE_PLACE], goal[KIND.start] = [1.0, 0.0, 0.7, 1.0, 0.0], 1.0
            source.look(looking(observation, rig, poses=PoseSet(observation.stamp_s, totes, observation.poses.surfaces)), lambda goal=goal: goal)
        found.append(source.odom_from_tote)
        assert np.allclose(found[-1], place_of(goal, source._posture(observation).odom_from_footprint))
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize(("higher", "feels", "stays"), [(0.05, False, True), (-0.14, False, False), (0.14, False, False), (0.14, True, True)])
def test_another_tote_of_the_stack_is_not_taken_for_its_own_before_a_hand_has_it(onlooker, rig, untrained, model, monkeypatch, higher, feels, stays):
    source = SeenTote(model, Eyes(ToteDetector()), open_network(SIGHT, untrained)[0])
    source.begin(onlooker.factory.orders[0])
    goal = np.zeros(GOAL_SIZE)
    goal[SOURCE_PLACE], goal[KIND.start] = [1.0, 0.0, 0.7, 1.0, 0.0], 1.0
    monkeypatch.setattr(tote_sight, "believed", lambda _network, belief, *_rest: replace(belief, mean=belief.mean + (0.0, 0.0, higher, 0.0), unseen_s=0.0))
    observation = onlooker.observe(0.0)
    if feels:
        observation = replace(observation, state=replace(observation.state, gripper_forces=np.array([0.0, 15.0])))
    source.look(looking(observation, rig), lambda: goal)
    expected = place_of(goal, source._posture(observation).odom_from_footprint)
    assert source.odom_from_tote[2, 3] - expected[2, 3] == pytest.approx(higher if stays else 0.0)
    assert source.is_seen == stays


def outcome_of(policy, onlooker, rig, seconds, frames_at):
    policy.forget()
    policy.reset(onlooker.factory, onlooker.factory.orders[0])
    said = []
    for tick in range(round(seconds / 0.1)):
        now = round(0.1 * tick, 3)
        said.append(policy.act(looking(onlooker.observe(now), rig, frames_at(now))))
    return said


def test_a_camera_that_is_silent_or_shows_nothing_holds_the_robot_with_the_reason_and_ends_the_order(onlooker, rig, untrained, model):
    policy, rng = make_student(model, untrained / f"{NAME}.onnx"), np.random.default_rng(0)
    black = np.zeros((36, 64, 3), np.uint8)

    def without_left_wrist(now):
        return [picture(rng, name, now) for name in CAMERAS if name != "left_wrist_camera"]

    said = outcome_of(policy, onlooker, rig, 7.0, without_left_wrist)
    assert said[2].outcome == RUNNING and not said[2].problem
    assert said[15].problem == "waits for an image of left_wrist_camera: none came for 1.5 s" and not said[15].targets[0].base_velocity.any()
    assert said[-1].outcome == FAILED and "left_wrist_camera" in said[-1].detail and not said[-1].targets[0].base_velocity.any()

    def head_black(now):
        return [CameraFrame(name, now, black) if name == "head_camera" else picture(rng, name, now) for name in CAMERAS]

    said = outcome_of(policy, onlooker, rig, 1.5, head_black)
    assert said[-1].problem == "waits for an image of head_camera: black: 100% of it"
    one_less = CameraRig(model, {name: rig.cameras[name] for name in CAMERAS[:3]})
    said = outcome_of(policy, onlooker, one_less, 0.1, lambda now: [])
    assert said[-1].problem == "waits for an image of right_wrist_camera: there is no such camera"
    said = outcome_of(policy, onlooker, None, 0.1, lambda now: [])
    assert said[-1].problem == "waits for any image: no cameras are known"


def test_a_camera_that_a_white_tote_dazzles_holds_the_robot_only_while_nothing_else_tells_where_the_tote_is(onlooker, rig):
    eyes, rng, white = Eyes(ToteDetector()), np.random.default_rng(0), np.full((36, 64, 3), 255, np.uint8)
    for tick in range(20):
        now = round(0.1 * tick, 3)
        eyes.feel(onlooker.observe(now))
        frames = [CameraFrame(name, now, white) if name == "head_camera" else picture(rng, name, now) for name in CAMERAS]
        eyes.look(frames, rig, planar(0.5, 0.0, 0.0, 0.8), tuple(LOAD_CARRIERS)[KIND_OF_TOTE], is_held=False, is_unsure=False)
    assert eyes.missing(now, rig, is_known=False) == "an image of head_camera: overexposed: 100% of it is white"
    assert eyes.missing(now, rig, is_known=True) == ""
    assert eyes.missing(now + 1.5, rig, is_known=True).startswith("an image of head_camera")


@pytest.mark.parametrize(("deviation", "goes_on"), [(0.004, True), (0.03, False)])
def test_a_dazzled_camera_holds_no_robot_that_knows_its_tote_to_a_centimetre(onlooker, rig, untrained, model, monkeypatch, deviation, goes_on):
    source, rng, white = SeenTote(model, Eyes(ToteDetector()), open_network(SIGHT, untrained)[0]), np.random.default_rng(0), np.full((36, 64, 3), 255, np.uint8)
    source.begin(onlooker.factory.orders[0])
    goal = np.zeros(GOAL_SIZE)
    goal[SOURCE_PLACE], goal[KIND.start] = [1.0, 0.0, 0.7, 1.0, 0.0], 1.0
    monkeypatch.setattr(tote_sight, "believed", lambda _network, belief, *_rest: replace(belief, deviation=np.full(4, deviation), unseen_s=5.0))
    for tick in range(20):
        now = round(0.1 * tick, 3)
        frames = [CameraFrame(name, now, white) if name == "head_camera" else picture(rng, name, now) for name in CAMERAS]
        missing = source.look(looking(onlooker.observe(now), rig, frames), lambda: goal)
    assert (missing == "") == goes_on
    assert goes_on or missing.startswith("an image of head_camera: overexposed")


def test_a_network_that_says_what_is_no_number_ends_the_order(onlooker, rig, untrained, model):
    class Broken:
        def get_inputs(self):
            return [SimpleNamespace(name="hidden", shape=["batch", HIDDEN])]

        def run(self, _names, given):
            return [np.full((1, 4), np.nan), given["covariance"], given["hidden"], np.ones((1, 4))]

    policy = make_student(model, untrained / f"{NAME}.onnx")
    policy._source = SeenTote(model, Eyes(ToteDetector()), Broken())
    said = outcome_of(policy, onlooker, rig, 0.1, lambda now: [])
    assert said[-1].outcome == FAILED and said[-1].detail == "the student's network of sightings says what is no number"


@pytest.mark.parametrize("key, value, named", [
    ("cameras", list(CAMERAS[:2]), "has other cameras than this robot: head_camera, head_forward_camera instead of"),
    ("sightings", ["seen"], "has other sightings than this robot"),
    ("networks", {}, "was trained with the network finder with sha256 None"),
])  # fmt: skip
def test_a_checkpoint_of_other_eyes_is_refused(untrained, tmp_path, model, key, value, named):
    for file in untrained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    card = json.loads((tmp_path / f"{NAME}.json").read_text())
    (tmp_path / f"{NAME}.json").write_text(json.dumps(card | {key: value}))
    with pytest.raises(ConfigurationError, match=named):
        make_policy("student", model, checkpoint=tmp_path / f"{NAME}.onnx")


def test_a_checkpoint_without_its_eyes_says_how_to_train_one(model, untrained, tmp_path):
    for suffix in (".onnx", ".json"):
        (tmp_path / f"{NAME}{suffix}").write_bytes((untrained / f"{NAME}{suffix}").read_bytes())
    with pytest.raises(ConfigurationError, match="train one with `humanoid train student`"):
        make_policy("student", model, checkpoint=tmp_path / f"{NAME}.onnx")


def test_what_a_checkpoint_is_of_is_told_by_its_file_s_name(tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="is no checkpoint of a learner"):
        learner_of(tmp_path / "other.onnx")
    assert learner_of(tmp_path / f"{NAME}.onnx") == "student" and learner_of(pose_policy.DEFAULT) == "teacher"


def test_with_escalation_it_is_the_first_tier_before_the_scripted_skills(model, untrained):
    learned = make_policy("learned", model, checkpoint=untrained / f"{NAME}.onnx")
    assert [tier.policy.name for tier in learned.tiers] == ["student", "scripted", "person"] and IMAGES in learned.needs


class _Enough(Exception):
    """Ends an episode that was watched for long enough."""


def test_what_eyes_see_of_a_simulated_tote_is_where_it_is(model):
    factory = load_factory(find_factory_file("table_to_conveyor"))
    recorder = Recorder(model, factory, rate_hz=10, noise=0.0, cameras=None, eyes=Eyes(ToteDetector()))

    def look(floor, _loop, _output):
        if floor.robot.data.time > 2.5:
            raise _Enough

    with pytest.raises(_Enough):
        run_episode(model, factory, 3, policy=recorder, on_tick=look, build=recorder.build)
    made = recorder.demonstrations([], "")[0].columns
    off = []
    for looks, tote, goal in zip(made[schema.SIGHTINGS].reshape(-1, len(CAMERAS), SIGHTING_SIZE), made[schema.TOTE_POSE], made[schema.GOAL]):
        pose = transform(np.column_stack([tote[3:6], tote[6:9], np.cross(tote[3:6], tote[6:9])]), tote[:3])
        for look in looks[looks[:, SEEN] > 0]:
            camera = np.vstack([look[CAMERA].reshape(3, 4), [0, 0, 0, 1]])
            corners = (inverse(camera) @ pose @ np.c_[CORNERS_OF_KIND[kind_of(goal)], np.ones(8)].T)[:3].T
            counts = look[INSIDE] > 0.5
            rays = look[RAYS].reshape(8, 2)
            turns = [corners, corners[[2, 3, 0, 1, 6, 7, 4, 5]]]
            off += [min(np.median(np.linalg.norm(rays - each[:, :2] / each[:, 2:], axis=1)[counts] * each[counts, 2]) for each in turns)]
    assert len(off) >= 5 and np.median(off) < 0.03  # m, across the line of sight


def test_every_camera_whose_image_could_show_the_tote_is_rendered_and_few_others(model):
    factory = load_factory(find_factory_file("table_to_conveyor"))
    recorder = Recorder(model, factory, rate_hz=10, noise=0.0, cameras=None, eyes=Eyes(ToteDetector()))
    floor = recorder.build(model, draw_episode(factory, 3))
    order, data, rng = factory.orders[0], floor.robot.data, np.random.default_rng(0)
    recorder.reset(factory, order)
    models, corners = camera_models(floor.scene, width=640, height=360), tote_corners(floor.episode.factory.tote(order.tote).carrier)
    first, shown, rendered = int(floor.scene.jnt_qposadr[floor.scene.body_jntadr[floor.world.tote_bodies[order.tote]]]), 0, 0
    for _ in range(300):
        data.qpos[first : first + 3] = data.qpos[:3] + rng.uniform([-2.5, -2.5, -0.8], [2.5, 2.5, 0.8])
        mujoco.mj_kinematics(floor.scene, data)
        mujoco.mj_camlight(floor.scene, data)
        for camera in CAMERAS:
            seen_from = camera_from_map(data, camera) @ floor.world.tote_pose(data, order.tote)
            could_show = box_before(models[camera], seen_from, corners) is not None and np.linalg.norm(seen_from[:3, 3]) < FARTHEST
            assert recorder.is_worth(camera) or not could_show
            shown, rendered = shown + could_show, rendered + recorder.is_worth(camera)
    assert 30 < shown < rendered < 0.5 * 300 * len(CAMERAS)


# --- the plan -----------------------------------------------------------------------------------------------------


def test_rounds_follow_one_another_and_eyes_learn_in_each(tmp_path):
    plan = load_student_plan(None, data=str(tmp_path / "data"), workers=1, rounds=2)
    first, second, third = rounds_of(plan)
    assert plan.teacher_file == pose_policy.DEFAULT and first.seed + first.episodes == second.seed and second.before == first.out
    assert [plan.sight_minutes_of(each) for each in (first, second)] == [plan.sight_minutes, plan.round_sight_minutes]
    assert demonstrations_command(plan, first, NAME)[-1] == "--sightings"
    assert demonstrations_command(plan, third, NAME)[-4:] == ["--sightings", "--learner", str(second.out / f"{NAME}.onnx"), "--keep-failures"]
    path = tmp_path / "plan.yaml"
    path.write_text("sight_minuts: 3\n")
    with pytest.raises(ConfigurationError, match="no key 'sight_minuts'"):
        load_student_plan(path)

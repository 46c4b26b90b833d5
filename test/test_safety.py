"""Each rule of the safety filter by itself; the filter in the loop, on a walking robot, is in test_control_loop.py."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from humanoid_control import safety
from humanoid_control.rigid_body import VELOCITIES, dynamics, forward_kinematics, motion_record, tree_record
from humanoid_control.robot_model import ARM_JOINTS, RobotModel
from humanoid_control.robots.command_checks import DAMPING_STOP_KD
from humanoid_control.safety import SafetyFilter
from humanoid_control.self_collision import capsule_distances, pairs_record, proximity_record
from humanoid_control.types import ImuSample, JointCommand, RobotState
from humanoid_control.whole_body_control.controller import standing_posture

PERIOD = 0.004
ELBOW = 18
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture
def rules(model):
    return SafetyFilter(model, PERIOD)


def state_at(model, tick=0, **changes):
    imu = ImuSample(np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), np.array([0.0, 0.0, 9.81]))
    state = RobotState(tick * PERIOD, standing_posture(model), np.zeros(29), np.zeros(29), imu, np.full(2, 0.05), np.zeros(2))
    return replace(state, **changes)


def motion_of(model, state):
    motion, velocity = motion_record(), np.zeros(VELOCITIES)
    velocity[6:] = state.joint_velocities
    dynamics(tree_record(model.tree), np.eye(3), state.joint_positions, velocity, motion)
    return motion


def command_for(model, state, **changes):
    """Keeps still against gravity, softly."""
    torques = motion_of(model, state)["bias"][6:].copy()
    torques[:12] = 0.0  # the legs' share is the floor's
    command = JointCommand(state.stamp_s, state.joint_positions.copy(), np.zeros(29), torques, np.full(29, 50.0), np.full(29, 2.0),
                           np.full(2, 0.04), np.full(2, 10.0))  # fmt: skip
    return replace(command, **changes)


def total_torque(command, state):
    return (command.torques + command.kp * (command.positions - state.joint_positions)
            + command.kd * (command.velocities - state.joint_velocities))  # fmt: skip


def start(rules, model):
    """One good tick."""
    state = state_at(model)
    assert rules.accept(state)
    rules.filter(command_for(model, state), state, motion_of(model, state))
    return state


def with_joint(array, index, value):
    changed = array.copy()
    changed[index] = value
    return changed


def test_good_command_passes_unchanged(rules, model):
    state = state_at(model)
    command = command_for(model, state)
    assert rules.accept(state)
    sent = rules.filter(command, state, motion_of(model, state))
    assert rules.limits_met == () and not rules.is_stopped and rules.reason == ""
    for name in ("positions", "velocities", "kp", "kd", "gripper_openings", "gripper_forces"):
        np.testing.assert_array_equal(getattr(sent, name), getattr(command, name))
    np.testing.assert_allclose(sent.torques, command.torques, atol=1e-12)


@pytest.mark.parametrize("field", ["joint_positions", "joint_velocities", "joint_torques"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_state_that_stays_not_finite_stops(rules, model, field, value):
    state = start(rules, model)
    for tick in range(1, 10):
        bad = replace(state, stamp_s=tick * PERIOD, **{field: with_joint(getattr(state, field), 3, value)})
        assert not rules.accept(bad)
        assert np.isfinite(rules.last_command(bad).positions).all()
    assert rules.is_stopped and rules.code == safety.STATE_NOT_FINITE and "not finite" in rules.reason


def test_quaternion_without_unit_length_is_no_state(rules, model):
    state = state_at(model)
    assert not rules.accept(replace(state, pelvis_imu=replace(state.pelvis_imu, orientation=np.zeros(4))))


def test_single_bad_state_is_bridged_with_the_last_command(rules, model):
    state = start(rules, model)
    before = rules.last_command(state)
    assert not rules.accept(state_at(model, 1, joint_positions=np.full(29, np.nan)))
    assert not rules.is_stopped and rules.last_command(state) is before
    good = state_at(model, 2)
    assert rules.accept(good)
    rules.filter(command_for(model, good), good, motion_of(model, good))
    assert rules.reason == ""


def test_state_that_stays_old_stops(rules, model):
    state = start(rules, model)
    ticks = 0
    while not rules.is_stopped:
        assert not rules.accept(state)
        ticks += 1
    assert ticks * PERIOD == pytest.approx(0.024)
    assert rules.code == safety.STATE_STALE and "0.024 s (0.020 s allowed)" in rules.reason


def test_clock_that_goes_back_stops(rules, model):
    start(rules, model)
    rules.accept(state_at(model, 5))
    assert not rules.accept(state_at(model, 2))
    assert rules.is_stopped and rules.code == safety.CLOCK_WENT_BACK and "0.012 s" in rules.reason


def test_joint_that_jumps_stops(rules, model):
    state = start(rules, model)
    for tick in range(1, 8):
        assert not rules.accept(replace(state, stamp_s=tick * PERIOD, joint_positions=with_joint(state.joint_positions, ELBOW, -0.6)))
    assert rules.is_stopped and rules.code == safety.STATE_JUMPED and "left_elbow_joint" in rules.reason


def test_joint_measured_beyond_its_limit_stops(rules, model):
    state = state_at(model)
    limit = model.position_upper[5]
    assert rules.accept(replace(state, joint_positions=with_joint(state.joint_positions, 5, limit + 0.09)))
    assert not rules.accept(replace(state, stamp_s=PERIOD, joint_positions=with_joint(state.joint_positions, 5, limit + 0.12)))
    assert rules.code == safety.POSITION_EXCEEDED and "left_ankle_roll_joint is 0.120 rad" in rules.reason


def test_joint_too_fast_for_several_ticks_stops(rules, model):
    start(rules, model)
    fast = with_joint(np.zeros(29), ELBOW, -1.05 * model.velocity_limit[ELBOW])
    assert rules.accept(state_at(model, 1, joint_velocities=fast))
    assert rules.accept(state_at(model, 2, joint_velocities=fast))
    assert not rules.accept(state_at(model, 3, joint_velocities=fast))
    assert rules.code == safety.VELOCITY_EXCEEDED and "left_elbow_joint moves at" in rules.reason


def test_one_noisy_velocity_does_not_stop(rules, model):
    start(rules, model)
    fast = with_joint(np.zeros(29), ELBOW, 1.5 * model.velocity_limit[ELBOW])
    for tick in range(1, 9):
        assert rules.accept(state_at(model, tick, joint_velocities=fast if tick % 3 == 0 else np.zeros(29)))


@pytest.mark.parametrize("axis", [0, 1])
def test_tilt_stops(model, axis):
    for angle, stops in ((0.85, False), (0.95, True), (2.5, True)):
        rules = SafetyFilter(model, PERIOD)
        state = state_at(model)
        quaternion = np.array([0.0, 0.0, 0.0, np.cos(angle / 2)])
        quaternion[axis] = np.sin(angle / 2)
        rules.accept(replace(state, pelvis_imu=replace(state.pelvis_imu, orientation=quaternion)))
        assert rules.is_stopped == stops
        if stops:
            assert rules.code == safety.TILTED and f"{angle:.2f} rad" in rules.reason


def test_turning_on_the_spot_is_no_tilt(rules, model):
    state = state_at(model)
    assert rules.accept(replace(state, pelvis_imu=replace(state.pelvis_imu, orientation=np.array([0, 0, 1.0, 0]))))


def test_position_target_beyond_the_limit_is_clipped(rules, model):
    state = state_at(model)
    command = command_for(model, state, positions=with_joint(state.joint_positions, 12, 5.0), kp=with_joint(np.full(29, 50.0), 12, 1.0))
    rules.accept(state)
    sent = rules.filter(command, state, motion_of(model, state))
    assert sent.positions[12] <= model.position_upper[12]
    assert "position clipped" in rules.limits_met


def test_velocity_target_beyond_the_limit_is_clipped(rules, model):
    state = state_at(model)
    command = command_for(model, state, velocities=with_joint(np.zeros(29), ELBOW, -99.0))
    rules.accept(state)
    sent = rules.filter(command, state, motion_of(model, state))
    assert sent.velocities[ELBOW] == -model.velocity_limit[ELBOW]
    assert "velocity clipped" in rules.limits_met


@pytest.mark.parametrize("change", ["torques", "positions"])
def test_total_torque_stays_within_the_effort_limit(model, change):
    rng = np.random.default_rng(0)
    legs = np.arange(29) < 12
    for _ in range(20):
        rules = SafetyFilter(model, PERIOD)
        state = state_at(model, joint_velocities=rng.normal(size=29))
        command = command_for(model, state)
        wild = getattr(command, change) + np.where(legs, rng.normal(size=29) * (500.0 if change == "torques" else 30.0), 0.0)
        command = replace(command, **{change: wild})
        rules.accept(state)
        sent = rules.filter(command, state, motion_of(model, state))
        assert (np.abs(total_torque(command, state)) > model.effort_limit).any()
        assert (np.abs(total_torque(sent, state)) <= model.effort_limit + 1e-9).all()
        assert (np.abs(sent.torques) <= model.effort_limit + 1e-9).all()
        assert "torque clipped" in rules.limits_met


def test_torque_rises_no_faster_than_its_rate(rules, model):
    state = start(rules, model)
    before = total_torque(rules.last_command(state), state)
    limit = model.effort_limit[3]
    state = state_at(model, 1)
    rules.accept(state)
    command = command_for(model, state, torques=with_joint(rules.last_command(state).torques, 3, limit))
    down = replace(command, torques=with_joint(command.torques, 3, -limit))
    sent = rules.filter(command, state, motion_of(model, state))
    assert total_torque(sent, state)[3] <= before[3] + 250.0 * limit * PERIOD + 1e-9
    state = state_at(model, 2)
    rules.accept(state)
    sent = rules.filter(down, state, motion_of(model, state))
    assert total_torque(sent, state)[3] == pytest.approx(0.0, abs=1e-6)  # from full to full takes two ticks
    assert "torque rate clipped" in rules.limits_met


@pytest.fixture(scope="module")
def pairs(model):
    return pairs_record(model)


def distances(model, pairs, joints):
    motion, proximity = motion_record(), proximity_record()
    forward_kinematics(tree_record(model.tree), np.eye(3), joints, motion)
    capsule_distances(pairs, motion, np.inf, proximity)
    return proximity["distance"][: int(pairs["pair_count"])].copy()


def arms_in(model, roll, yaw=0.0):
    """Upper arms turned inwards, forearms forward."""
    joints = standing_posture(model)
    for side, sign in (("left", 1), ("right", -1)):
        joints[model.joint_index(f"{side}_shoulder_roll_joint")] = sign * roll
        joints[model.joint_index(f"{side}_shoulder_yaw_joint")] = -sign * yaw
    return joints


def test_arm_driven_into_the_body_is_bent_away(rules, model, pairs):
    """The acceleration that the arms' masses give to the closest pair meets the barrier; without the filter it does not."""
    joints = arms_in(model, 0.0)
    inwards = np.zeros(29)
    inwards[model.joint_index("left_shoulder_roll_joint")] = -1.0
    state = state_at(model, joint_positions=joints, joint_velocities=inwards)
    motion = motion_of(model, state)
    command = command_for(model, state)
    command = replace(command, kp=np.zeros(29), kd=np.zeros(29), torques=command.torques + 20.0 * inwards)
    rules.accept(state)
    sent = rules.filter(command, state, motion)
    assert "kept clear of own body" in rules.limits_met
    index = model.joint_index("left_shoulder_roll_joint")
    assert sent.torques[index] > command.torques[index] + 2.0
    # Integrated over 60 ms, with the arms' own masses, the distance stays above nothing only with the filter.
    arms = slice(6 + ARM_JOINTS.start, 6 + ARM_JOINTS.stop)

    def smallest_distance(filtered):
        q, v = joints.copy(), inwards.copy()
        rules.reset()
        lowest = np.inf
        for tick in range(15):
            state = state_at(model, tick, joint_positions=q.copy(), joint_velocities=v.copy())
            motion = motion_of(model, state)
            wanted = replace(command, torques=motion["bias"][6:] + 20.0 * inwards)
            if filtered:
                assert rules.accept(state)
                wanted = rules.filter(wanted, state, motion)
                assert not rules.is_stopped, rules.reason
            force = (wanted.torques - motion["bias"][6:])[ARM_JOINTS]
            v[ARM_JOINTS] += PERIOD * np.linalg.solve(motion["mass_matrix"][arms, arms], force)
            q[ARM_JOINTS] += PERIOD * v[ARM_JOINTS]
            lowest = min(lowest, distances(model, pairs, q).min())
        return lowest

    assert smallest_distance(filtered=False) < 0.0
    assert smallest_distance(filtered=True) > 0.0


def test_arm_that_moves_away_is_left_alone(rules, model):
    joints = arms_in(model, 0.1)
    outwards = with_joint(np.zeros(29), model.joint_index("left_shoulder_roll_joint"), 1.0)
    outwards[model.joint_index("right_shoulder_roll_joint")] = -1.0
    state = state_at(model, joint_positions=joints, joint_velocities=outwards)
    rules.accept(state)
    command = command_for(model, state)  # at constant speed
    rules.filter(replace(command, kp=np.zeros(29), kd=np.zeros(29)), state, motion_of(model, state))
    assert rules.smallest_distance < 0.04
    assert "kept clear of own body" not in rules.limits_met


def test_parts_that_overlap_stop(rules, model, pairs):
    joints = arms_in(model, 0.0)
    for roll in np.linspace(0.0, -0.8, 60):
        joints = arms_in(model, roll)
        if distances(model, pairs, joints).min() < -0.035:
            break
    else:
        pytest.fail("no overlapping pose found")
    state = state_at(model, joint_positions=joints)
    assert rules.accept(state)
    rules.filter(command_for(model, state), state, motion_of(model, state))
    assert rules.is_stopped and rules.code == safety.BODY_TOUCHED
    assert re.search(r"\w+ and \w+ overlap by 0\.0\d+ m", rules.reason)


def test_failed_solver_is_bridged_and_then_stops(rules, model):
    state = start(rules, model)
    before = rules.last_command(state)
    for tick in range(1, 6):
        state = state_at(model, tick)
        assert rules.accept(state)
        assert rules.filter(command_for(model, state), state, motion_of(model, state), solver_failed=True) is before
        assert not rules.is_stopped
    state = state_at(model, 6)
    rules.accept(state)
    sent = rules.filter(command_for(model, state), state, motion_of(model, state), solver_failed=True)
    assert rules.is_stopped and rules.code == safety.SOLVER_FAILED and "the solver failed for 0.024 s" in rules.reason
    np.testing.assert_array_equal(sent.kp, 0.0)


def test_solver_that_fails_at_once_stops(rules, model):
    state = state_at(model)
    rules.accept(state)
    rules.filter(command_for(model, state), state, motion_of(model, state), solver_failed=True)
    assert rules.is_stopped


@pytest.mark.parametrize("field", ["positions", "velocities", "torques", "kp", "kd"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_command_that_is_not_finite_never_leaves(rules, model, field, value):
    state = start(rules, model)
    for tick in range(1, 8):
        state = state_at(model, tick)
        command = command_for(model, state)
        rules.accept(state)
        sent = rules.filter(replace(command, **{field: with_joint(getattr(command, field), 7, value)}), state, motion_of(model, state))
        assert all(np.isfinite(getattr(sent, name)).all() for name in JointCommand.__dataclass_fields__)
    assert rules.is_stopped and rules.code == safety.COMMAND_NOT_FINITE


def test_stop_is_a_damped_stop_that_stays_until_reset(rules, model):
    start(rules, model)
    rules.stop(text="someone pressed the button")
    rules.stop(text="a later reason")
    for tick in range(1, 5):
        state = state_at(model, tick)
        sent = rules.filter(command_for(model, state), state, motion_of(model, state))
        np.testing.assert_array_equal(sent.kp, 0.0)
        np.testing.assert_array_equal(sent.kd, DAMPING_STOP_KD)
        np.testing.assert_array_equal(sent.torques, 0.0)
        np.testing.assert_array_equal(sent.gripper_openings, 0.04)  # what was held stays held
    assert rules.reason == "someone pressed the button" and rules.code == safety.STOP_REQUESTED
    rules.reset()
    assert not rules.is_stopped and rules.reason == ""
    start(rules, model)
    assert not rules.is_stopped


def page_rows():
    """First and last cell of each line of the page's tables."""
    rows = {}
    for line in (ROOT / "docs" / "safety.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `"):
            rows[cells[0].strip("`")] = cells
    return rows


CODES = {name for name, value in vars(safety).items()
         if name.isupper() and isinstance(value, int)
         and (value in safety.STOP_REASONS or value in safety.LIMIT_NAMES or value in safety.HOLD_REASONS)
         and name not in ("PASSED", "LIMITED", "BRIDGED", "STOPPED", "ARM_COUNT", "FIRST_ARM", "MAX_NEAR", "JOINTS", "VELOCITIES")}  # fmt: skip


def test_every_code_has_its_line_in_the_page_and_its_test_exists():
    assert len(CODES) == len(safety.STOP_REASONS) + len(safety.LIMIT_NAMES) + len(safety.HOLD_REASONS)
    tests = "".join(p.read_text() for p in (ROOT / "test").rglob("test_*.py"))
    rows = page_rows()
    assert set(rows) == CODES, set(rows) ^ CODES
    for code, cells in rows.items():
        names = re.findall(r"`(test_\w+)`", cells[-1])
        assert names, f"{code} names no test"
        for name in names:
            assert f"def {name}(" in tests, f"{code}: there is no {name}"
        is_limit = code.endswith("_CLIPPED") or code == "KEPT_CLEAR"
        texts = safety.LIMIT_NAMES if is_limit else safety.STOP_REASONS | safety.HOLD_REASONS
        words = re.split(r"\{[^}]*\}", texts[getattr(safety, code)])
        assert all(word.strip(" ()") in cells[1] for word in words if len(word) > 4), f"{code}: the page does not quote its reason"

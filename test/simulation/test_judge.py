"""Each rule of the judge, with a case that keeps it and one that breaks it."""

from __future__ import annotations

import time

import mujoco
import numpy as np
import pytest

from humanoid_control.errors import SimulationError
from humanoid_control.mission.factory import Order
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.simulation.judge import HIT_FORCE, HOLD_S, Judge, time_allowed

CARRIER = LOAD_CARRIERS["klt_3147"]


@pytest.fixture
def stage(factory, running, puppet):
    """Returns a function that starts a judged order, with ways to pose the tote and the puppet."""
    factory = factory.model_copy(update={"clutter": type(factory.clutter)(count=0)})

    class Stage:
        def __init__(self, order: Order) -> None:
            scene = running(factory, robot=puppet)
            self.scene, self.data, self.model, self.factory = scene, scene.data, scene.model, factory
            self.base = self.model.joint("floating_base").qposadr[0]
            self.hand = self.model.joint("fist_x").dofadr[0]
            self.judge = Judge(scene.world)
            self.stand(0.0, 0.0)
            self.run(0.1, judged=False)
            self.judge.begin(order, self.data)

        def stand(self, x: float, y: float) -> None:
            self.data.qpos[self.base : self.base + 7] = x, y, 0.75, 1, 0, 0, 0

        def put(
            self, tote: str, station: str, at, *, height: float | None = None, yaw: float = 0.0, lift=0.001
        ) -> None:
            place = self.factory.station(station)
            x, y, heading = place.in_map((*at, yaw))
            z = (place.surfaces[0] if height is None else height) + lift
            address, velocity = self.scene.world._tote_qpos[tote], self.scene.world._tote_qvel[tote]
            self.data.qpos[address : address + 7] = x, y, z, np.cos(heading / 2), 0, 0, np.sin(heading / 2)
            self.data.qvel[velocity : velocity + 6] = 0
            mujoco.mj_forward(self.model, self.data)

        def reach(self, point, *, velocity=(0, 0, 0)) -> None:
            """Puts the fist at `point` in the map."""
            address = self.model.joint("fist_x").qposadr[0]
            home = self.data.qpos[self.base : self.base + 3] + (0, 0, 0.6)
            self.data.qpos[address : address + 3] = np.asarray(point) - home
            self.data.qvel[self.hand : self.hand + 3] = velocity
            mujoco.mj_forward(self.model, self.data)

        def run(self, seconds: float, *, judged: bool = True, each=None):
            def look(data):
                if each:
                    each(data)
                return self.judge.update(data) if judged else None

            return self.scene.step(seconds, each=look)

        def tote(self, name: str) -> np.ndarray:
            return self.scene.world.tote_pose(self.data, name)

    return Stage


TO_RACK = Order(tote="t1", to="rack", shelf=0, at=(-0.08, 0.0))
TO_TABLE = Order(tote="t1", to="infeed")
TO_BELT = Order(tote="t1", to="belt")
ONTO_T3 = Order(tote="t1", to="infeed", on="t3")


def test_order_is_done_when_its_tote_rests_where_ordered(stage):
    play = stage(TO_RACK)
    assert play.run(1.0) is None
    assert "does not stand on rack" in play.judge.lacking
    play.put("t1", "rack", (-0.08, 0.03))
    verdict = play.run(2.0)
    assert verdict.done and verdict.reason == ""
    assert verdict.time_s >= 1.0 + HOLD_S
    assert play.judge.update(play.data) is verdict


def test_half_turned_tote_is_done_too(stage):
    play = stage(TO_RACK)
    play.put("t1", "rack", (-0.08, 0.0), yaw=np.pi)
    assert play.run(2.0).done


@pytest.mark.parametrize(
    ("at", "height", "lacking"),
    [
        ((-0.08, 0.06), 0.45, "cm from where it was ordered"),
        ((-0.02, 0.04), 0.45, "cm from where it was ordered"),
        ((-0.08, 0.0), 0.85, "not on shelf 0"),
    ],
)
def test_tote_at_the_wrong_place_is_not_done(stage, at, height, lacking):
    play = stage(TO_RACK)
    if height == 0.85:
        play.put("t5", "rack", (-0.07, -0.4), height=0.85)
    play.put("t1", "rack", at, height=height)
    assert play.run(2.0) is None
    assert lacking in play.judge.lacking


def test_tote_over_the_edge_is_not_wholly_on(stage):
    station_edge = 0.3 - CARRIER.width / 2
    for over, done in ((-0.003, True), (0.012, False)):
        play = stage(TO_TABLE)
        play.put("t1", "infeed", (station_edge + over, -0.3), height=0.70)
        verdict = play.run(1.5)
        assert (verdict is not None) == done
        assert done or "not wholly on" in play.judge.lacking


def test_turned_tote_is_measured_over_its_corners(stage):
    station_edge = 0.3 - CARRIER.width / 2
    play = stage(TO_TABLE)
    play.put("t1", "infeed", (station_edge - 0.003, -0.3), height=0.70, yaw=0.5)
    assert play.run(1.5) is None and "not wholly on" in play.judge.lacking


def test_held_tote_is_not_released(stage):
    play = stage(TO_TABLE)
    top = play.tote("t1")[:3, 3] + (0.0, 0.13, CARRIER.height + 0.0299)
    touch = lambda data: play.reach(top)
    assert play.run(1.5, each=touch) is None
    assert "not released" in play.judge.lacking
    play.reach(top + (0, 0, 0.3))
    assert play.run(1.5).done


def test_tilted_tote_is_not_upright(stage):
    play = stage(TO_TABLE)
    address = play.scene.world._tote_qpos["t1"]

    def lean(data):
        data.qpos[address + 3 : address + 7] = np.cos(0.06), np.sin(0.06), 0, 0

    assert play.run(1.0, each=lean) is None
    assert any(word in play.judge.lacking for word in ("upright", "does not stand on"))


def test_moving_tote_is_not_at_rest(stage):
    play = stage(TO_TABLE)
    address = play.scene.world._tote_qpos["t1"]

    def slide(data):
        data.qpos[address + 1] -= 0.04 * play.model.opt.timestep

    assert play.run(1.0, each=slide) is None
    assert "still moves" in play.judge.lacking
    assert play.run(1.5).done


def test_turning_tote_is_not_at_rest(stage):
    play = stage(TO_TABLE)
    address = play.scene.world._tote_qpos["t1"]

    def turn(data):
        mujoco.mju_quatIntegrate(data.qpos[address + 3 : address + 7], np.array([0, 0, 0.2]), play.model.opt.timestep)

    assert play.run(0.8, each=turn) is None
    assert "still turns" in play.judge.lacking


def test_robot_in_the_air_does_not_stand(stage):
    play = stage(TO_TABLE)

    def hover(data):
        data.qpos[play.base + 2] = 0.85
        data.qvel[:6] = 0

    assert play.run(1.0, each=hover) is None
    assert "does not stand" in play.judge.lacking


def test_tote_on_a_belt_is_done_while_it_rides(stage):
    play = stage(TO_BELT)
    play.put("t1", "belt", (-0.08, -0.3))
    assert play.run(2.0).done
    assert np.linalg.norm(play.scene.world.tote_velocity(play.data, "t1")[:2]) == pytest.approx(0.1, abs=0.01)


def test_place_on_a_belt_counts_where_the_tote_touched_down(stage):
    for y, done in ((-0.30, True), (-0.20, False)):
        play = stage(Order(tote="t1", to="belt", at=(-0.08, -0.30)))
        play.put("t1", "belt", (-0.08, y), lift=0.002)
        verdict = play.run(1.5)
        assert (verdict is not None and verdict.done) == done


def test_tote_that_waits_at_the_end_of_a_belt_is_done(stage):
    play = stage(TO_BELT)
    play.put("t1", "belt", (-0.08, 1.02))
    play.run(1.0, judged=False)
    assert play.run(2.0).done


def test_tote_in_the_rim_of_another_is_done(stage):
    play = stage(ONTO_T3)
    below = play.factory.tote_pose("t3")[2] - 0.7
    at = play.factory.station("infeed").in_station((*play.tote("t3")[:2, 3], 0.0))[:2]
    play.put("t1", "infeed", (at[0] + 0.008, at[1]), height=0.7 + below + CARRIER.stacking_height, lift=0.004)
    assert play.run(2.5).done


def test_tote_beside_the_rim_of_another_is_not_done(stage):
    play = stage(ONTO_T3)
    below = play.factory.tote_pose("t3")[2] - 0.7
    at = play.factory.station("infeed").in_station((*play.tote("t3")[:2, 3], 0.0))[:2]
    play.put("t1", "infeed", (at[0] + 0.04, at[1]), height=0.7 + below + CARRIER.stacking_height, lift=0.01)
    verdict = play.run(2.0)
    assert verdict is None or not verdict.done


# --- failures -----------------------------------------------------------------------------------------------------


def test_tote_on_the_floor_was_dropped(stage):
    play = stage(TO_RACK)
    play.put("t2", "infeed", (-1.2, -0.6), height=0.0)
    verdict = play.run(1.0)
    assert (verdict.reason, verdict.done) == ("dropped", False)
    assert "t2 is on the floor" in verdict.detail


def test_falling_tote_was_dropped_before_it_arrives(stage):
    play = stage(TO_RACK)
    play.put("t1", "infeed", (-0.08, 0.0), height=0.70, lift=0.5)
    verdict = play.run(1.0)
    assert verdict.reason == "dropped" and "falls" in verdict.detail
    assert play.tote("t1")[2, 3] > 1.0


def test_tote_set_down_from_two_centimetres_was_not_dropped(stage):
    play = stage(TO_TABLE)
    play.put("t1", "infeed", (-0.08, 0.0), height=0.70, lift=0.02)
    assert play.run(2.0).done


def test_tote_on_its_side_was_dropped(stage):
    play = stage(TO_RACK)
    play.put("t1", "infeed", (0.0, -0.3), height=0.72)
    address = play.scene.world._tote_qpos["t1"]
    play.data.qpos[address + 3 : address + 7] = np.cos(0.75), 0, np.sin(0.75), 0
    play.data.qpos[address + 2] = 0.80
    assert play.run(1.0).reason == "dropped"


def test_robot_that_lies_has_fallen(stage):
    play = stage(TO_RACK)
    play.data.qpos[play.base : play.base + 7] = 0, -2.0, 0.5, np.cos(0.8), np.sin(0.8), 0, 0
    assert play.run(1.0).reason == "fall"


def test_robot_that_touches_the_floor_with_its_hand_has_fallen(stage):
    play = stage(TO_RACK)
    play.reach((-0.3, -1.5, 0.02))
    verdict = play.run(0.1)
    assert verdict.reason == "fall" and "fist touches the floor" in verdict.detail


def test_low_pelvis_is_a_fall(stage):
    play = stage(TO_RACK)
    play.data.qpos[play.base + 2] = 0.30
    mujoco.mj_forward(play.model, play.data)
    assert play.judge.update(play.data).reason == "fall"


def test_knock_on_a_tote_is_a_hit_and_a_touch_is_none(stage):
    for speed, reason in ((3.0, "hit"), (0.1, None)):
        play = stage(TO_RACK)
        side = play.tote("t1")[:3, 3] + (-CARRIER.width / 2 - 0.035, 0.0, 0.07)
        play.reach(side, velocity=(speed, 0, 0))
        verdict = play.run(0.2)
        assert (verdict.reason if verdict else None) == reason
        if reason:
            assert "t1 was hit" in verdict.detail


def test_force_on_a_station_is_a_hit_from_its_limit_on(stage):
    for force, reason in ((0.8 * HIT_FORCE, None), (1.2 * HIT_FORCE, "hit")):
        play = stage(TO_RACK)
        play.reach((0.9, -0.5, 0.70 + 0.0299))

        def press(data, force=force):
            data.qfrc_applied[play.hand + 2] = -force
            data.qfrc_applied[play.hand : play.hand + 2] = -200.0 * data.qvel[play.hand : play.hand + 2]
            data.qfrc_applied[play.hand + 2] -= 60.0 * data.qvel[play.hand + 2]

        verdict = play.run(0.3, each=press)
        assert (verdict.reason if verdict else None) == reason
        if reason:
            assert "infeed was hit" in verdict.detail


def test_squeezing_the_lip_is_no_hit(stage):
    play = stage(TO_RACK)
    lip = play.tote("t1")[:3, 3] + (0.0, CARRIER.length / 2 - 0.012, CARRIER.grip_height)
    play.reach(lip - (0.3, 0, 0))
    upper, lower = (play.model.joint(name).dofadr[0] for name in ("upper", "lower"))
    for name, gap in (("upper", -0.003), ("lower", 0.003)):  # from a distance, the fingers would knock
        play.data.qpos[play.model.joint(name).qposadr[0]] = gap
    squeezed, began = [], play.data.time

    def squeeze(data):
        data.qfrc_applied[play.hand : play.hand + 3] = -300.0 * data.qvel[play.hand : play.hand + 3]
        force = min(200.0, 2000.0 * (data.time - began))
        data.qfrc_applied[upper] = -force - 20.0 * data.qvel[upper]
        data.qfrc_applied[lower] = force - 20.0 * data.qvel[lower]
        pads = [play.model.geom(name).id for name in ("upper", "lower")]
        for index in range(data.ncon):
            if set(data.contact.geom[index]) & set(pads) and data.contact.efc_address[index] >= 0:
                squeezed.append(data.efc_force[data.contact.efc_address[index]])

    assert play.run(0.3, each=squeeze) is None
    assert max(squeezed) > 40.0  # four contacts a finger


def test_keep_out_zone_entered_with_a_foot(stage):
    play = stage(TO_RACK)
    play.stand(1.7, -2.5)
    assert play.run(0.2) is None
    play.stand(1.9, -1.8)
    verdict = play.run(0.2)
    assert verdict.reason == "keep_out" and "aisle" in verdict.detail


def test_slow_zone_may_be_entered(stage):
    play = stage(TO_RACK)
    play.stand(0.0, -1.5)
    assert play.run(0.3) is None


def test_time_runs_out_by_the_distance_of_the_stations(stage):
    play = stage(TO_RACK)
    infeed, rack = (play.factory.station(name) for name in ("infeed", "rack"))
    allowed = 60.0 + 12.0 * np.hypot(0.9, 1.6)
    assert time_allowed(infeed, rack) == pytest.approx(allowed)
    began = play.data.time
    play.data.time = began + allowed - 0.5
    assert play.run(0.2) is None
    play.data.time = began + allowed + 0.01
    verdict = play.run(0.1)
    assert verdict.reason == "timeout"
    assert "does not stand on rack" in verdict.detail


def test_time_counts_from_where_the_tote_is_now(stage):
    play = stage(TO_RACK)
    play.put("t1", "rack", (-0.08, 0.4))
    play.run(0.1, judged=False)
    play.judge.begin(TO_RACK, play.data)
    began = play.data.time
    play.data.time = began + 60.5
    assert play.run(0.1).reason == "timeout"


def test_judge_without_order_or_robot_is_refused(factory, running, puppet):
    with pytest.raises(SimulationError, match="pelvis"):
        Judge(running(factory).world)
    with pytest.raises(SimulationError, match="no order"):
        scene = running(factory, robot=puppet)
        Judge(scene.world).update(scene.data)


def test_judging_costs_little(stage):
    play = stage(TO_RACK)
    play.run(0.1)
    update, data = play.judge.update, play.data
    best = min(_timed(update, data) for _ in range(5))
    assert best < 200e-6  # about 10 on an idle core; a step of physics takes 55


def _timed(update, data) -> float:
    begin = time.perf_counter()
    for _ in range(200):
        update(data)
    return (time.perf_counter() - begin) / 200

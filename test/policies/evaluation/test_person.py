"""A person's stand-in drives the simulated robot: by hands and sticks alone, as they go out from the operator's page."""

import numpy as np
import pytest

from humanoid_control.control_loop import ControlLoop
from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import load_factory
from humanoid_control.installation import share_folder
from humanoid_control.operator_page.scene import RobotShapes, base_of
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.teleoperation.gamepad import Gamepad
from humanoid_control.teleoperation.operator_input import HandInput, OperatorInput
from humanoid_control.teleoperation.retargeting import Retargeting
from humanoid_control.transforms import from_pose
from perception.oracle import OraclePoses
from policies.evaluation.person import Person, Sight
from policies.scripted.navigation import frame_from_map

FACTORY = load_factory(share_folder() / "config/factories/table_to_conveyor.yaml")
LATE_S = 0.1  # from what a page shows to what a person does of it
LOOKS_EVERY_S = (0.02, 0.16)  # a browser that draws slowly
STANDS_S, JUDGED_S, GIVES_UP_S = 1.0, 3.0, 120.0


class _Floor:
    """The robot with what a page shows of it, in one process."""

    def __init__(self, seed):
        self.model = RobotModel.load()
        self.floor = SimulatedFactory(self.model, draw_episode(FACTORY, seed))
        self.loop, self.shapes = ControlLoop(self.floor.robot), RobotShapes(self.model)
        self.poses = OraclePoses(self.floor.world, self.floor.robot.data)
        self.floor.robot.connect()
        while self.now_s < STANDS_S:
            self.step()
        self.retargeting = Retargeting(self.model)
        self.retargeting.begin(self.loop.state, self.loop.estimate())

    @property
    def now_s(self):
        return float(self.floor.robot.data.time)

    def step(self):
        self.loop.step()
        self.floor.robot.wait_next_tick()

    def sight(self, counts=True):
        state, estimate, seen = self.loop.state, self.loop.estimate(), self.poses.read()
        base = base_of(estimate)
        surfaces = {name: base @ surface.base_from_object for name, surface in seen.surfaces.items()}
        _, hands = self.shapes.place(state, estimate)
        return Sight(self.now_s, odom_from_footprint(estimate), tuple(from_pose(np.array(hand)) for hand in hands), state.gripper_openings.copy(),
                     {name: base @ tote.base_from_object for name, tote in seen.totes.items()}, frame_from_map(FACTORY, surfaces, estimate.position[:2]),
                     self.loop.status().mode == "walking", counts)  # fmt: skip

    def tote_height(self):
        return float(self.floor.world.tote_pose(self.floor.robot.data, FACTORY.orders[0].tote)[2, 3])

    def drive(self, handling, gamepad=Gamepad()):  # noqa: B008  it keeps nothing where hands are tracked
        ahead, left, turning = handling.sticks
        axes = [left, ahead, 1.0 - 2.0 * handling.grip, turning, 0.0, 1.0 - 2.0 * handling.grip]
        buttons = [int(handling.sticks.any()), 0, 0, 0, int(handling.held), int(handling.held), 0, 0]
        _, drives, walk = gamepad.read(axes, buttons, 0.02, (True, True))
        hands = tuple(HandInput(hand, handling.held, handling.grip) for hand in handling.hands)
        self.retargeting.take(OperatorInput(self.now_s, hands, drives, walk))


def carry_out(seed, counts=lambda now_s: True):
    """Drives until the judge has seen the order end, or the person is done and it has had time to look."""
    rig, rng = _Floor(seed), np.random.default_rng(seed)
    person = Person(FACTORY, FACTORY.orders[0])
    rig.floor.begin(FACTORY.orders[0])
    rig.floor.accept_done()
    under_way, handling, looks_s, end_s, let_go_at = [], None, 0.0, GIVES_UP_S, None
    while rig.now_s < end_s and rig.floor.verdict is None:
        if rig.now_s >= looks_s and not person.is_done:
            looks_s = rig.now_s + float(rng.uniform(*LOOKS_EVERY_S))
            under_way.append((rig.now_s + LATE_S, person.act(rig.sight(counts(rig.now_s)))))
            if person.doing == "lets go" and let_go_at is None:
                let_go_at = rig.tote_height()
            end_s = rig.now_s + JUDGED_S if person.is_done else end_s
        while under_way and under_way[0][0] <= rig.now_s:
            handling = under_way.pop(0)[1]
        if handling is not None and counts(rig.now_s):
            rig.drive(handling)
        rig.loop.submit(rig.retargeting.target(rig.now_s))
        for _ in range(5):
            rig.step()
    return rig.floor.verdict, person, let_go_at - rig.tote_height() if let_go_at is not None else None


@pytest.mark.parametrize("seed", [0, 2])
def test_a_person_carries_out_an_order_by_hands_and_sticks(seed):
    verdict, person, dropped = carry_out(seed)
    assert verdict is not None and verdict.done, f"{verdict}, while it {person.doing}"
    assert dropped < 0.01  # it stood when it was let go of


def test_what_is_held_is_let_go_of_and_held_again_after_each_stall():
    stalls = (9.0, 13.5, 15.0, 26.0, 40.0)
    verdict, person, _ = carry_out(0, counts=lambda now_s: not any(begin <= now_s < begin + 1.5 for begin in stalls))
    assert verdict is not None and verdict.done, f"{verdict}, while it {person.doing}"

"""The vision rungs on real topics: from the simulated cameras to poses, and what happens when something fails."""

import array
import shutil
import signal

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import CameraInfo, Image

from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.simulation_mirror import SimulationMirror
from humanoid_control.robot_model import PACKAGE_ROOT
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.qos import create_publisher, create_subscription
from humanoid_control.transforms import from_pose, yaw_of
from perception import simulated_calibration
from perception.network_file import DEFAULT_FOLDER
from perception.ros.pose_messages import poses_from_message

SEED = 1
FACTORY = load_factory(PACKAGE_ROOT / "config/factories/line_side.yaml")
CAMERAS = topics.CAMERAS[:2]
HEAD = topics.camera_topics("head_camera")
NEAR = 0.06  # m: where a tote is told to be, to where it is


class Truth:
    """Where things really are at a time that is not long ago."""

    def __init__(self, graph):
        self._graph = graph
        self._mirror = SimulationMirror(FACTORY, SEED)

    def poses(self, stamp_s):
        import mujoco

        from perception.oracle import OraclePoses

        states = self._graph.heard[topics.SIMULATION_STATE.name]
        state = min(states, key=lambda one: abs(conversions.time_from_message(one.header.stamp) - stamp_s))
        self._mirror.show(state.qpos, stamp_s)
        mujoco.mj_kinematics(self._mirror.scene, self._mirror.data)
        return OraclePoses(self._mirror.world, self._mirror.data).read(), from_pose_of(state.qpos)


def from_pose_of(qpos):
    """map_from_base; MuJoCo has quaternions wxyz."""
    return from_pose(np.array([*qpos[:3], *qpos[4:7], qpos[3]]))


def told(graph):
    return [poses_from_message(message) for message in graph.heard[topics.DETECTIONS.name]]


def health(graph):
    return graph.diagnostics.get("perception_node", (b"", ""))


def start_perception(graph, **parameters):
    graph.diagnostics.pop("perception_node", None)
    given = {"poses": "tracker", "calibration": graph.calibration, "lost_s": 2.0, **parameters}
    return graph.start("perception_node", **given)


def end(graph, name):
    graph.processes[name].send_signal(signal.SIGINT)
    assert graph.processes[name].wait(20) == 0


@pytest.fixture(scope="module")
def floor(graph, tmp_path_factory):
    """A simulation with cameras that has begun."""
    graph.calibration = tmp_path_factory.mktemp("calibration") / "cameras.yaml"
    assert simulated_calibration.main(["--seed", str(SEED), "--out", str(graph.calibration)]) == 0
    graph.listen(topics.SIMULATION_STATE, topics.DETECTIONS, topics.TF)
    graph.start("control_node", seed=SEED, check_domain="false")
    graph.start("camera_node", seed=SEED)
    graph.wait_until(lambda: topics.SIMULATION_STATE.name in graph.newest)
    return graph


def test_from_images_to_poses_near_the_truth(floor):
    start_perception(floor)
    floor.wait_until(lambda: any(np.isfinite(poses.totes["t1"].stamp_s) for poses in told(floor)), what="t1 was not seen")
    floor.spin(2.0)
    poses = told(floor)[-1]
    true, _ = Truth(floor).poses(poses.stamp_s)
    off = poses.totes["t1"].base_from_object[:3, 3] - true.totes["t1"].base_from_object[:3, 3]
    assert np.linalg.norm(off) < NEAR
    assert off @ np.linalg.solve(poses.totes["t1"].covariance[:3, :3], off) < 25  # five standard deviations
    assert not poses.people
    surface = f"{FACTORY.tote('t1').station}/0"
    off = poses.surfaces[surface].base_from_object[:3, 3] - true.surfaces[surface].base_from_object[:3, 3]
    assert np.linalg.norm(off) < 2 * NEAR


def test_the_map_lies_in_odom_where_the_stations_are(floor):
    map_to_odom = [transform for message in floor.heard[topics.TF.name] for transform in message.transforms
                   if (transform.header.frame_id, transform.child_frame_id) == ("map", "odom")]  # fmt: skip
    odom_to_base = [transform for message in floor.heard[topics.TF.name] for transform in message.transforms
                    if transform.header.frame_id == "odom"]  # fmt: skip
    stamp_s = conversions.time_from_message(map_to_odom[-1].header.stamp)
    near = min(odom_to_base, key=lambda one: abs(conversions.time_from_message(one.header.stamp) - stamp_s))
    believed = matrix_of(map_to_odom[-1].transform) @ matrix_of(near.transform)
    _, true = Truth(floor).poses(stamp_s)
    assert np.linalg.norm(believed[:2, 3] - true[:2, 3]) < 2 * NEAR
    assert abs(yaw_of(believed) - yaw_of(true)) < 0.1


def matrix_of(transform):
    t, q = transform.translation, transform.rotation
    return from_pose(np.array([t.x, t.y, t.z, q.x, q.y, q.z, q.w]))


def test_it_listens_to_colour_images_and_to_the_robot_alone(floor):
    """Nothing of the simulation, and no depth."""
    heard = {name for name, _ in floor.node.get_subscriber_names_and_types_by_node("perception_node", "/")}
    wanted = {"/robot_state", "/base_estimate"} | {f"/{camera}/{kind}" for camera in CAMERAS for kind in ("image_raw", "camera_info")}
    assert heard - {"/clock", "/parameter_events"} == wanted


def test_pictures_for_people_are_made_for_who_subscribes(floor):
    pictures = []
    subscription = create_subscription(floor.node, topics.DRAWN["head_camera"], pictures.append)
    floor.wait_until(lambda: pictures, 20.0, "no picture")
    floor.node.destroy_subscription(subscription)
    picture = pictures[0]
    assert (picture.width, picture.height, picture.encoding) == (640, 360, "rgb8")
    assert picture.header.frame_id == "head_camera_optical"


def test_it_says_how_it_does_and_that_it_sees_no_people(floor):
    floor.wait_until(lambda: "used" in floor.figures["perception_node"].get("head_camera", ""), 10.0)
    level, message = health(floor)
    assert level == b"\x01" and "people (p1) are not seen by this rung: keep the fence closed" in message
    figures = floor.figures["perception_node"]
    assert float(figures["poses a second"]) > 2
    assert 0 < float(figures["image to poses p50 ms"]) <= float(figures["image to poses p99 ms"]) < 3000
    assert "seen" in figures["tote t1"] and "mm uncertain" in figures["tote t1"]
    assert figures["not calibrated"] == "none" and figures["people"] == "not seen by this rung"


def test_without_cameras_poses_stop_and_go_on_when_they_are_back(floor):
    cameras = floor.processes["camera_node"]
    cameras.send_signal(signal.SIGSTOP)
    floor.wait_until(lambda: "tells no poses" in health(floor)[1], 20.0)
    level, message = health(floor)
    assert level == b"\x02" and all(f"{camera}: no image for" in message for camera in CAMERAS) and "camera_node" in message
    count = len(told(floor))
    floor.spin(0.5)
    assert len(told(floor)) <= count + 1  # one may have been on its way
    cameras.send_signal(signal.SIGCONT)
    floor.wait_until(lambda: len(told(floor)) > count + 5, what="poses do not go on")


def test_it_pauses_and_goes_on_as_its_life_cycle_is_told(floor):
    client = floor.node.create_client(ChangeState, "perception_node/change_state")
    assert client.wait_for_service(10.0)

    def change(transition):
        return floor.ask(client.call_async(ChangeState.Request(transition=Transition(id=transition))), 20.0).success

    assert change(Transition.TRANSITION_DEACTIVATE)
    floor.spin(0.3)  # what was on its way
    count = len(told(floor))
    floor.spin(0.5)
    assert len(told(floor)) == count
    assert change(Transition.TRANSITION_ACTIVATE)
    floor.wait_until(lambda: len(told(floor)) > count + 5, 20.0, "poses do not go on")


def test_when_control_starts_anew_so_does_perception(floor):
    floor.kill("control_node")
    floor.wait_until(lambda: "tells no poses: see to control_node" in health(floor)[1], 10.0)
    assert health(floor)[0] == b"\x02"
    before_s = told(floor)[-1].stamp_s
    floor.start("control_node", seed=SEED, check_domain="false")
    floor.wait_until(lambda: told(floor)[-1].stamp_s < before_s, what="poses of the new time")
    floor.wait_until(lambda: floor.figures["perception_node"].get("clock went back") == "1 times", 10.0)
    end(floor, "perception_node")


def test_a_network_that_is_corrupt_is_refused_by_its_hash_and_the_node_waits(floor, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(DEFAULT_FOLDER, models)
    network = models / "tote_corners.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"x")
    node = start_perception(floor, models=models)
    floor.wait_until(lambda: "sha256" in health(floor)[1], 30.0)
    level, message = health(floor)
    assert level == b"\x02" and "tote_corners.onnx" in message and "corrupt" in message and "\n" not in message
    client = floor.node.create_client(GetState, "perception_node/get_state")
    assert client.wait_for_service(10.0)
    assert floor.ask(client.call_async(GetState.Request()), 10.0).current_state.label == "unconfigured"
    assert node.poll() is None and "Traceback" not in floor.log("perception_node")
    end(floor, "perception_node")


# --- images that somebody else sends ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sender(floor):
    """In the cameras' place: sends what a test wants, with the newest time of the robot, until something is so."""
    end(floor, "camera_node")
    start_perception(floor, cameras="[head_camera]", calibration="''", poses="fiducial", lost_s=0.5)
    images, infos = (create_publisher(floor.node, HEAD[kind]) for kind in ("image_raw", "camera_info"))
    random = np.random.default_rng(0)

    def send(is_so, *, info=None, what="", **changes):
        def sent():
            stamp = floor.newest[topics.SIMULATION_STATE.name].header.stamp
            good = CameraInfo(width=64, height=36, distortion_model="plumb_bob", d=[0.0] * 5, k=[47.0, 0, 31.5, 0, 47.0, 17.5, 0, 0, 1])
            for name, value in (info or {}).items():
                setattr(good, name, value)
            pixels = random.integers(20, 220, 36 * 64 * 3, dtype=np.uint8)
            image = Image(height=36, width=64, step=192, encoding="rgb8", data=array.array("B", pixels.tobytes()))
            for name, value in changes.items():
                setattr(image, name, value)
            image.header.stamp = good.header.stamp = stamp
            infos.publish(good)
            images.publish(image)
            return is_so()

        floor.wait_until(sent, 20.0, what)

    return send


def sees(graph):
    return health(graph)[1].startswith("fiducial: sees, but")


def test_without_calibration_it_sees_and_says_so(floor, sender):
    sender(lambda: sees(floor), what="it does not see")
    assert "head_camera not calibrated" in health(floor)[1] and "humanoid calibrate" in health(floor)[1]


BLACK, WHITE = (array.array("B", bytes([value]) * (36 * 64 * 3)) for value in (0, 255))


@pytest.mark.parametrize(("changes", "info", "words"), [
    ({"data": BLACK}, {}, "black"), ({"data": WHITE}, {}, "overexposed"), ({"encoding": "bgr8"}, {}, "encoding bgr8"),
    ({"height": 18, "data": array.array("B", bytes(18 * 192))}, {}, "18 x 64"), ({"data": array.array("B", b"x")}, {}, "image is 1 uint8"),
    ({"data": array.array("B", bytes(range(192)) * 36)}, {}, "frozen"),
    ({}, {"k": [-47.0, 0, 31.5, 0, 47.0, 17.5, 0, 0, 1]}, "camera info is wrong"),
    ({}, {"k": [float("nan")] * 9}, "camera info is wrong"), ({}, {"width": 640, "height": 360}, "not 360 x 640")])  # fmt: skip
def test_images_that_cannot_be_used_stop_the_poses_and_are_named(floor, sender, changes, info, words):
    sender(lambda: health(floor)[0] == b"\x02" and words in health(floor)[1], info=info, what=words, **changes)
    assert "tells no poses" in health(floor)[1] and "\n" not in health(floor)[1]
    sender(lambda: sees(floor), what="it does not see again")

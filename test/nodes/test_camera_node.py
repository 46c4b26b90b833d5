"""Pictures in a process of their own; without OpenGL a clear line, and the rest goes on."""

import av
import cv2
import numpy as np
import pytest

from humanoid_control.ros import topics

HEAD = topics.camera_topics("head_camera")


@pytest.fixture(scope="module")
def simulated(graph):
    graph.listen(topics.SIMULATION_STATE, topics.CONTROL_STATUS)
    graph.start("control_node")
    graph.wait_until(lambda: topics.SIMULATION_STATE.name in graph.newest)
    return graph


def test_images_and_their_camera_info_agree_and_a_film_is_written(simulated, tmp_path):
    simulated.listen(*HEAD.values())
    film = tmp_path / "film.mp4"
    node = simulated.start("camera_node", depth=True, rate_hz=5.0, width=320, height=180, video=str(film),
                           video_width=320, video_height=180)  # fmt: skip
    simulated.wait_until(lambda: all(topic.name in simulated.newest for topic in HEAD.values()), what="no images")
    image, info = (simulated.newest[HEAD[kind].name] for kind in ("image_raw", "camera_info"))
    assert (image.width, image.height, image.encoding, image.step) == (320, 180, "rgb8", 960)
    assert (info.width, info.height) == (320, 180)
    assert image.header.frame_id == info.header.frame_id == "head_camera_optical"
    assert np.ptp(np.frombuffer(image.data, np.uint8)) > 50
    # The maker's camera sees 69 degrees across at 16 to 9.
    assert np.degrees(2 * np.arctan(0.5 * 320 / info.k[0])) == pytest.approx(69.0, abs=2.0)
    jpeg = simulated.newest[HEAD["image_raw/compressed"].name]
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    raw = next(m for m in simulated.heard[HEAD["image_raw"].name][::-1] if m.header.stamp == jpeg.header.stamp)
    assert "jpeg" in jpeg.format and pixels.shape == (180, 320, 3)
    assert np.abs(pixels.ravel().astype(int) - np.frombuffer(raw.data, np.uint8)).mean() < 5.0
    depth = simulated.newest[HEAD["depth/image_raw"].name]
    metres = np.frombuffer(depth.data, np.float32)
    assert depth.encoding == "32FC1" and 0.2 < np.median(metres[metres > 0]) < 5.0
    simulated.spin(1.0)
    node.send_signal(2)
    assert node.wait(60) == 0
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 10


def test_without_opengl_it_says_so_in_one_line_and_the_rest_goes_on(simulated):
    simulated.diagnostics.clear()
    node = simulated.start("camera_node", environment={"MUJOCO_GL": "disabled"})
    simulated.wait_until(lambda: "OpenGL" in simulated.diagnostics.get("camera_node", ("", ""))[1], 40.0)
    level, message = simulated.diagnostics["camera_node"]
    assert level == b"\x02" and "apt-get install" in message and "\n" not in message
    assert "Traceback" not in simulated.log("camera_node")
    assert node.poll() is None
    count = len(simulated.heard[topics.CONTROL_STATUS.name])
    simulated.spin(1.0)
    assert len(simulated.heard[topics.CONTROL_STATUS.name]) > count + 10


def test_a_mirror_of_another_episode_is_told(simulated):
    if simulated.processes["camera_node"].poll() is None:
        simulated.processes["camera_node"].send_signal(2)
        simulated.processes["camera_node"].wait(30)
    simulated.start("perception_node", seed=3)
    simulated.wait_until(lambda: "seed 3" in simulated.diagnostics.get("perception_node", ("", ""))[1], 40.0)


def test_viewer_without_a_screen_is_one_line(simulated):
    node = simulated.start("viewer_node", environment={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
    assert node.wait(30) == 1
    lines = simulated.log("viewer_node").splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: the viewer needs a screen")

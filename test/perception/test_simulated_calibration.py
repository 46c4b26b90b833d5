"""A simulated robot's calibration file: as far off as a calibration leaves it, and read as any other."""

import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import PACKAGE_ROOT, RobotModel
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from perception import simulated_calibration
from perception.camera_rig import UNCALIBRATED
from perception.mounting import rig_from_file
from perception.true_cameras import true_mounting

MODEL = RobotModel.load()
FACTORY = load_factory(PACKAGE_ROOT / "config/factories/line_side.yaml")


def test_the_file_is_near_the_truth_and_says_that_it_was_drawn(tmp_path):
    path = tmp_path / "new/cameras.yaml"
    assert simulated_calibration.main(["--seed", "4", "--out", str(path)]) == 0
    assert "not measured" in path.read_text() and "seed 4" in path.read_text()
    rig, uncalibrated = rig_from_file(MODEL, CAMERA_FIELD_OF_VIEW, path)
    assert uncalibrated == ()
    episode = draw_episode(FACTORY, 4)
    for name in CAMERA_FIELD_OF_VIEW:
        left = rig.mounting[name] - true_mounting(episode, name)
        assert np.linalg.norm(left / simulated_calibration.LEFT_BY_CALIBRATION) < 5
        assert left.any()


def test_without_a_file_mountings_are_nominal_and_say_so():
    rig, uncalibrated = rig_from_file(MODEL, ("head_camera",))
    assert uncalibrated == ("head_camera",)
    assert not rig.mounting["head_camera"].any()
    np.testing.assert_allclose(np.diag(rig.mounting_covariance["head_camera"]), UNCALIBRATED**2)


def test_a_camera_that_the_file_leaves_out_is_named(tmp_path):
    path = tmp_path / "cameras.yaml"
    estimates = simulated_calibration.drawn_calibration(draw_episode(FACTORY, 0), ("head_camera", "left_wrist_camera"))
    simulated_calibration.save_mounting(path, estimates)
    rig, uncalibrated = rig_from_file(MODEL, ("head_camera", "head_forward_camera"), path)
    assert uncalibrated == ("head_forward_camera",) and set(rig.cameras) == {"head_camera", "head_forward_camera"}


@pytest.mark.parametrize("text", ["", "version: 9", "version: 1\ncameras: {head_camera: {error: [1, 2]}}", "{{"])
def test_a_file_that_is_none_is_refused_by_name(tmp_path, text):
    path = tmp_path / "cameras.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="cameras.yaml") as error:
        rig_from_file(MODEL, ("head_camera",), path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("arguments", "words"), [(("--seed", "-1"), "seed"), (("--factory", "no_such"), "no_such")])
def test_what_cannot_be_drawn_is_one_line(arguments, words, tmp_path, capsys):
    assert simulated_calibration.main([*arguments, "--out", str(tmp_path / "cameras.yaml")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said

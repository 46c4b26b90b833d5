"""The detector with the networks that ship: what it finds, and what it refuses."""

import hashlib
import inspect
import json
import shutil

import cv2
import numpy as np
import pytest

from humanoid_control.errors import SimulationError
from humanoid_control.transforms import transform
from perception.camera_model import CameraModel
from perception.crops import box_of
from perception.detector import CALIBRATION, Calibration, ToteDetector, _mixed
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.keypoints import KINDS
from perception.network_file import DEFAULT_FOLDER
from perception.pnp import PointPose
from perception.training.generate import CAMERAS, HEIGHT, WIDTH, SceneCamera
from perception.training.measure import pose_error
from perception.training.scenes import HELD_OUT

SEED = 4711  # of scenes never trained on


@pytest.fixture(scope="module")
def detector():
    return ToteDetector()


@pytest.fixture(scope="module")
def views():
    """Images of never seen colours and textures, each with one tote wholly in sight within 1.2 m, and its label's row."""
    camera = SceneCamera(SEED, HELD_OUT)
    try:
        shard = camera.shard(0, 100)
    except SimulationError as error:
        pytest.skip(str(error))
    finally:
        camera.close()
    totes = shard.totes
    clear = (totes.seen_share > 0.9) & (np.linalg.norm(totes.camera_from_tote[:, :3, 3], axis=1) < 1.2)
    return shard, np.flatnonzero(clear)


def look(detector, shard, row, *, size=(WIDTH, HEIGHT), up=True):
    index = shard.totes.image[row]
    camera = CameraModel(CAMERAS[shard.camera[index]], WIDTH, HEIGHT, shard.matrix[index])
    rgb = cv2.resize(shard.image(index), size, interpolation=cv2.INTER_AREA if size[0] <= WIDTH else cv2.INTER_LINEAR)
    vertical = shard.up_in_camera[index].astype(float)
    found = detector.detect(CameraFrame(camera.name, 1.5, rgb), camera, vertical / np.linalg.norm(vertical) if up else None)
    return [d for d in found if np.linalg.norm(d.camera_from_tote[:3, 3] - shard.totes.camera_from_tote[row][:3, 3]) < 0.1]


def test_finds_totes_of_colours_never_seen_within_centimetres(detector, views):
    shard, rows = views
    assert len(rows) >= 10
    hits = [(row, found[0]) for row in rows if (found := look(detector, shard, row))]
    assert len(hits) >= 0.8 * len(rows)
    errors = np.array([pose_error(d.camera_from_tote, shard.totes.camera_from_tote[row]) for row, d in hits])
    assert np.median(np.linalg.norm(errors[:, :3], axis=1)) < 0.010
    assert np.median(np.linalg.norm(errors[:, 3:], axis=1)) < np.radians(2.0)
    nees = np.array([e @ np.linalg.solve(d.covariance, e) for e, (_, d) in zip(errors, hits)])
    assert (nees < 22.5).mean() > 0.8  # 99.9% of a chi-squared distribution of 6
    assert np.mean([d.kind == KINDS[shard.totes.kind[row]] for row, d in hits]) > 0.8


def test_detection_carries_what_it_is_of(detector, views):
    shard, rows = views
    detection = next(found[0] for row in rows if (found := look(detector, shard, row)))
    assert detection.stamp_s == 1.5 and detection.camera in CAMERAS and 0 <= detection.score <= 1
    assert detection.pixels.shape == detection.deviations.shape == (8, 2) and (detection.deviations > 0).all()
    assert np.linalg.eigvalsh(detection.covariance).min() > 0
    assert np.allclose(detection.camera_from_tote[:3, :3] @ detection.camera_from_tote[:3, :3].T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("size", [(960, 540), (480, 270)])
def test_image_of_another_size_gives_about_the_same_pose(detector, views, size):
    shard, rows = views
    gaps = []
    for row in rows[:12]:
        usual, scaled = look(detector, shard, row), look(detector, shard, row, size=size)
        if usual and scaled:
            gaps.append(np.linalg.norm(usual[0].camera_from_tote[:3, 3] - scaled[0].camera_from_tote[:3, 3]))
    assert len(gaps) >= 5 and np.median(gaps) < 0.02


def test_looking_where_a_tote_is_expected_needs_no_finder(detector, views, monkeypatch):
    shard, rows = views
    monkeypatch.setattr(detector, "find", lambda rgb: pytest.fail("the finder was asked"))
    hits = 0
    for row in rows[:10]:
        index = shard.totes.image[row]
        camera = CameraModel(CAMERAS[shard.camera[index]], WIDTH, HEIGHT, shard.matrix[index])
        box = box_of(shard.totes.corners[row].astype(float), (WIDTH, HEIGHT)) + (-6, 4, 5, 7)
        up = shard.up_in_camera[index].astype(float)
        found = detector.look(CameraFrame(camera.name, 0.0, shard.image(index)), camera, box[None], up / np.linalg.norm(up), search=False)
        hits += any(np.linalg.norm(d.camera_from_tote[:3, 3] - shard.totes.camera_from_tote[row][:3, 3]) < 0.05 for d in found)
    assert hits >= 7
    assert detector.look(CameraFrame(camera.name, 0.0, shard.image(index)), camera, np.zeros((0, 4)), search=False) == []


def test_a_pose_of_a_kind_that_may_be_another_owns_up_to_it():
    pose = PointPose(transform(np.eye(3), [0.0, 0.0, 0.8]), np.eye(6) * 1e-6, 1.0, True, np.ones(8, bool))
    other = pose._replace(camera_from_object=transform(np.eye(3), [0.0, 0.0, 1.0]))
    mixed = _mixed(pose, other, 0.25)
    np.testing.assert_array_equal(mixed.camera_from_object, pose.camera_from_object)
    assert np.sqrt(mixed.covariance[2, 2]) == pytest.approx(0.1, rel=0.01)
    assert mixed.covariance[0, 0] == pose.covariance[0, 0]


def test_only_kinds_that_there_may_be_are_seen(views):
    shard, rows = views
    seen = [d.kind for row in rows[:8] for d in look(ToteDetector(kinds=["klt_4147"]), shard, row)]
    assert seen and set(seen) == {"klt_4147"}
    with pytest.raises(PerceptionError, match="crate.*known are klt_3147, klt_4147"):
        ToteDetector(kinds=["crate"])


def test_plain_images_hold_no_tote(detector):
    camera = CameraModel("head_camera", WIDTH, HEIGHT, np.array([[469.0, 0, 319.5], [0, 469.0, 179.5], [0, 0, 1]]))
    rng = np.random.default_rng(0)
    for image in (np.zeros((HEIGHT, WIDTH, 3)), np.full((HEIGHT, WIDTH, 3), 255), rng.integers(0, 256, (HEIGHT, WIDTH, 3))):
        assert (
            detector.detect(CameraFrame("head_camera", 0.0, image.astype(np.uint8)), camera, np.array([0.0, -0.8, -0.6])) == []
        )


@pytest.mark.parametrize(
    "image", [np.zeros((360, 640), np.uint8), np.zeros((360, 640, 3), np.float32), np.zeros((480, 640, 3), np.uint8)]
)
def test_image_that_is_none_of_this_camera_is_refused(detector, image):
    camera = CameraModel("head_camera", WIDTH, HEIGHT, np.array([[469.0, 0, 319.5], [0, 469.0, 179.5], [0, 0, 1]]))
    with pytest.raises(PerceptionError, match="head_camera: an image"):
        detector.detect(CameraFrame("head_camera", 0.0, image), camera)


def test_nothing_takes_depth():
    for method in (ToteDetector.detect, ToteDetector.look, ToteDetector.find):
        assert not any("depth" in name for name in inspect.signature(method).parameters)
    assert set(CameraFrame.__dataclass_fields__) == {"camera", "stamp_s", "rgb", "encoding"}


# --- networks that are refused ------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path):
    for path in DEFAULT_FOLDER.glob("tote_*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_corrupt_network_is_refused_with_its_hash(models):
    path = models / "tote_corners.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PerceptionError, match=hashlib.sha256(data).hexdigest()):
        ToteDetector(models)


def test_network_of_another_purpose_is_refused_with_its_hash(models):
    finder = (models / "tote_finder.onnx").read_bytes()
    (models / "tote_corners.onnx").write_bytes(finder)
    digest = hashlib.sha256(finder).hexdigest()
    with pytest.raises(PerceptionError, match=digest):
        ToteDetector(models)
    card = json.loads((models / "tote_corners.json").read_text())
    (models / "tote_corners.json").write_text(json.dumps(card | {"sha256": digest}))
    with pytest.raises(PerceptionError, match=digest):
        ToteDetector(models)


def test_network_for_other_totes_is_refused(models):
    path = models / "tote_finder.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kinds": ["pallet"]}))
    with pytest.raises(PerceptionError, match="for totes of the kinds"):
        ToteDetector(models)


def test_calibration_of_other_networks_is_refused(models):
    path = models / CALIBRATION
    text = json.loads(path.read_text())
    path.write_text(json.dumps(text | {"networks": {"finder": "0" * 64, "corners": "0" * 64}}))
    with pytest.raises(PerceptionError, match="is of a finder network with sha256 0000"):
        ToteDetector(models)
    path.write_text("{}")
    with pytest.raises(PerceptionError, match="no calibration of the detector"):
        ToteDetector(models)
    ToteDetector(models, calibration=Calibration())


def test_missing_network_is_refused(tmp_path):
    with pytest.raises(PerceptionError, match="tote_finder"):
        ToteDetector(tmp_path)

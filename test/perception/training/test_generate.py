"""Training images: their labels, shards and data card."""

import numpy as np
import pytest

pytest.importorskip("cv2")

from humanoid_control.errors import SimulationError  # noqa: E402
from humanoid_control.mission.load_carriers import LOAD_CARRIERS  # noqa: E402
from humanoid_control.robot_model import RobotModel  # noqa: E402
from humanoid_control.simulation.robot_spec import build_robot_spec  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.keypoints import KINDS, faces_away, tote_corners  # noqa: E402
from perception.training import data_card  # noqa: E402
from perception.training.generate import HEIGHT, WIDTH, SceneCamera, Shard, generate, shard_path  # noqa: E402
from perception.training.scenes import HELD_OUT, TRAINING, PostureSampler, draw_scene, draw_texture, tote_colour  # noqa: E402


@pytest.fixture(scope="module")
def shard() -> Shard:
    camera = SceneCamera(seed=3, look=TRAINING)
    try:
        return camera.shard(0, 24)
    except SimulationError as error:
        pytest.skip(str(error))
    finally:
        camera.close()


def test_corners_are_where_the_pose_puts_them(shard):
    totes = shard.totes
    assert len(totes.image) > 5
    for row in range(len(totes.image)):
        pose, matrix = totes.camera_from_tote[row], shard.matrix[totes.image[row]]
        points = tote_corners(LOAD_CARRIERS[KINDS[totes.kind[row]]]) @ pose[:3, :3].T + pose[:3, 3]
        before = points[:, 2] > 0.05
        pixels = (points @ matrix.T)[:, :2] / points[:, 2:]
        assert np.allclose(totes.corners[row][before], pixels[before], atol=0.05)
        assert np.isnan(totes.corners[row][~before]).all()
        assert faces_away(pose)


def test_visible_corners_are_in_the_image_and_shares_agree(shard):
    totes = shard.totes
    with np.errstate(invalid="ignore"):
        framed = ((totes.corners >= -0.5) & (totes.corners < (WIDTH, HEIGHT))).all(axis=2)
    assert not (totes.visible & ~framed).any()
    assert (totes.seen_share <= totes.framed_share + 1e-9).all() and (totes.seen_share > 0).all()
    whole = totes.seen_share > 0.95
    assert totes.visible[whole][:, :4].sum(axis=1).min(initial=4) >= 2


def test_totes_stand_upright_unless_held(shard):
    up = shard.up_in_camera[shard.totes.image]
    tilt = np.degrees(np.arccos(np.clip(np.einsum("ij,ij->i", shard.totes.camera_from_tote[:, :3, 2], up), -1, 1)))
    assert (tilt[~shard.totes.held] < 0.1).all() and (tilt < 15).all()


def test_same_seed_gives_the_same_images_and_another_does_not(shard):
    camera = SceneCamera(seed=3, look=TRAINING)
    again = camera.shard(0, 4)
    camera.close()
    other_camera = SceneCamera(seed=4, look=TRAINING)
    other = other_camera.shard(0, 4)
    other_camera.close()
    assert np.array_equal(again.image(0), shard.image(0))
    assert not np.array_equal(other.image(0), shard.image(0))


def test_shard_survives_being_written_and_a_damaged_one_is_refused(shard, tmp_path):
    path = shard_path(tmp_path, 7)
    shard.save(path)
    read = Shard.load(path)
    assert np.array_equal(read.jpeg, shard.jpeg) and np.array_equal(read.totes.corners, shard.totes.corners, equal_nan=True)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(PerceptionError, match="shard_00007.npz: damaged"):
        Shard.load(path)


def test_generation_goes_on_where_it_stopped_and_keeps_data_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("perception.training.generate.SHARD_IMAGES", 3)
    generate(tmp_path, images=3, seed=1, progress=False)
    first = shard_path(tmp_path, 0).read_bytes()
    generate(tmp_path, images=6, seed=1, progress=False)
    assert shard_path(tmp_path, 0).read_bytes() == first and shard_path(tmp_path, 1).exists()
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(PerceptionError, match="holds other data"):
        generate(tmp_path, images=6, seed=2, progress=False)
    with pytest.raises(PerceptionError, match="no look 'sunny'"):
        generate(tmp_path / "other", images=1, seed=1, look="sunny", progress=False)


def test_gate_refuses_a_collapsed_data_set(shard, tmp_path):
    data_card.claim_folder(tmp_path, seed=3, look="training")
    for index in range(2):
        shard.save(shard_path(tmp_path, index))  # every image twice
    card = data_card.write_card(tmp_path)
    assert card["images"] == 48 and card["near_duplicates"] >= 12
    assert (tmp_path / data_card.CARD_TEXT).read_text().startswith("# Data card")
    data_card.check_diversity(card)  # too few to judge
    with pytest.raises(PerceptionError, match="near-duplicates: .* of 48 images"):
        data_card.check_diversity(card, data_card.Gate(images=10))


def test_looks_share_neither_hues_nor_textures():
    assert not set(TRAINING.textures) & set(HELD_OUT.textures)
    for low, high in TRAINING.hues:
        assert all(high <= bottom or top <= low for bottom, top in HELD_OUT.hues)
    rng = np.random.default_rng(0)
    for look in (TRAINING, HELD_OUT):
        for family in look.textures:
            assert draw_texture(rng, family, 32).shape == (32, 32, 3)
        colours = np.array([tote_colour(rng, look) for _ in range(50)])
        assert (colours >= 0).all() and (colours <= 1).all()


def test_postures_keep_joint_limits_and_feet_on_the_floor():
    model = RobotModel.load()
    sampler, spec = PostureSampler(model), build_robot_spec(model)
    rng = np.random.default_rng(5)
    for _ in range(4):
        scene = draw_scene(spec, rng, TRAINING)
        for _ in range(4):
            posture = sampler.draw(rng, scene.episode.factory)
            joints = posture.configuration[7:]
            assert (joints > model.position_lower - 1e-6).all() and (joints < model.position_upper + 1e-6).all()
            assert 0.5 < posture.configuration[2] < 0.8
            assert np.linalg.norm(posture.configuration[3:7]) == pytest.approx(1.0)

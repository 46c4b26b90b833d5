"""What is written is a LeRobotDataset v3.0, whole or not at all."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.data import lerobot_dataset, schema
from policies.data.errors import DataSetError
from policies.data.lerobot_dataset import APPENDING, COMMIT, append, read_texts, recover
from policies.data.reader import Demonstrations
from policies.data.staging import Staging

CAMERAS = ("head_camera", "left_wrist_camera")


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_layout_and_meta_data(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", range(3), cameras=CAMERAS)
    assert set(files_of(folder)) == {
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/info.json", "meta/stats.json",
        "meta/subtasks.parquet", "meta/tasks.parquet",
        *(f"videos/observation.images.{camera}/chunk-000/file-000.mp4" for camera in CAMERAS),
    }  # fmt: skip
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"], info["total_frames"]) == ("v3.0", 10, 3, 36)
    assert info["splits"] == {"train": "0:3"}
    assert info["features"]["observation.images.head_camera"]["info"]["video.codec"] == "h264"
    assert info["features"][schema.PROGRESS] == {"dtype": "float32", "shape": [1], "names": None}
    for feature in info["features"].values():
        assert feature["names"] is None or feature["dtype"] == "video" or len(feature["names"]) == feature["shape"][0]
    assert read_texts(folder / "meta/tasks.parquet") == ["bring a klt_3147 from a table to a conveyor"]
    assert read_texts(folder / "meta/subtasks.parquet") == ["approach", "carry", "grip", "lift", "reach"]


def test_frames_are_vectors_of_fixed_length_in_the_order_of_the_features(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", range(2), cameras=CAMERAS)
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    assert table.column_names == [name for name, feature in features.items() if feature["dtype"] != "video"]
    assert table.schema.field("action").type == pa.list_(pa.float32(), 29)
    assert table.schema.field("reason").type == pa.string()
    assert table["frame_index"].to_pylist() == [*range(12)] * 2
    assert table["episode_index"].to_pylist() == [0] * 12 + [1] * 12
    assert table["index"].to_pylist() == [*range(24)]
    np.testing.assert_allclose(table["timestamp"].to_numpy(), np.tile(np.arange(12) / 10, 2), atol=1e-6)
    written = make_up.demonstration(1).columns["action"]
    np.testing.assert_array_equal(np.array(table["action"].to_pylist(), np.float32)[12:], written)


def test_episodes_tell_where_they_are_and_where_from(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", [4, 7], cameras=CAMERAS)
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"], row["length"]) for row in rows] == [(0, 12, 12), (12, 24, 12)]
    key = "videos/observation.images.head_camera"
    assert [(row[f"{key}/from_timestamp"], row[f"{key}/to_timestamp"]) for row in rows] == [(0.0, 1.2), (1.2, 2.4)]
    assert [(row["seed"], row["episode"], row["outcome"], row["cycle_time_s"]) for row in rows] == [
        (4, "made_up_000004", "success", 44.0), (7, "made_up_000007", "success", 47.0)]  # fmt: skip
    assert rows[0]["stats/action/min"] == pytest.approx(make_up.demonstration(4).columns["action"].min(axis=0).tolist())


def test_statistics_are_those_of_all_frames(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", range(2), cameras=CAMERAS)
    make_up.data_set(folder, [2], cameras=CAMERAS, frames=30)
    stats = json.loads((folder / "meta/stats.json").read_text())
    values = np.concatenate([make_up.demonstration(seed, frames=n).columns["action"] for seed, n in ((0, 12), (1, 12), (2, 30))])
    for name, of in (("min", np.min), ("max", np.max), ("mean", np.mean), ("std", np.std)):
        np.testing.assert_allclose(stats["action"][name], of(values.astype(float), axis=0), atol=1e-9)
    assert stats["action"]["count"] == [54]
    image = stats["observation.images.head_camera"]
    assert np.shape(image["mean"]) == (3, 1, 1) and 0.0 < image["min"][0][0][0] <= image["q50"][0][0][0] <= image["max"][0][0][0] < 1.0
    assert "reason" not in stats


def test_every_frame_of_a_film_is_the_frame_it_was(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", range(3), cameras=CAMERAS)
    data = Demonstrations(folder)
    for number, camera in enumerate(CAMERAS):
        for episode in range(3):
            brightness = data.images(episode, camera).mean(axis=(1, 2, 3))
            np.testing.assert_allclose(brightness, 20 + 5 * np.arange(12) + 10 * number, atol=2.0)


def test_what_is_added_later_joins_and_nothing_is_added_twice(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", [3], cameras=CAMERAS)
    before = files_of(folder)
    make_up.data_set(folder, [1, 3, 5], cameras=CAMERAS)
    data = Demonstrations(folder)
    assert [row["seed"] for row in data.episodes] == [3, 1, 5]
    assert len(data.column("action")) == 36
    kept = [name for name in before if not name.startswith("meta") or "episodes" in name]
    assert all(files_of(folder)[name] == before[name] for name in kept)


def test_many_episodes_to_a_file_until_it_is_large(make_up, tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_dataset, "DATA_FILE_MB", 0.05)
    monkeypatch.setattr(lerobot_dataset, "VIDEO_FILE_MB", 0.006)
    folder = make_up.data_set(tmp_path / "set", range(9), cameras=CAMERAS)
    data = Demonstrations(folder)
    assert 1 < len(list((folder / "data/chunk-000").iterdir())) < 9
    assert 1 < len(list((folder / "videos/observation.images.head_camera/chunk-000").iterdir())) < 9
    assert data.images(8, CAMERAS[1], [11]).mean() == pytest.approx(20 + 55 + 10, abs=2)


def test_failures_are_kept_apart(make_up, tmp_path):
    staging = Staging(tmp_path)
    staging.put(make_up.episode(0))
    staging.put(make_up.episode(1, outcome="dropped"))
    staging.put(make_up.episode(2, outcome="hit", keep_failures=False))
    assert append(tmp_path, staging, make_up.format()) == 1
    assert append(tmp_path / "failures", staging, make_up.format(), outcome_is_success=False) == 1
    assert [row["outcome"] for row in Demonstrations(tmp_path).episodes] == ["success"]
    assert [row["outcome"] for row in Demonstrations(tmp_path / "failures").episodes] == ["dropped"]


def test_another_format_is_not_mixed_in(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", [0])
    with pytest.raises(DataSetError, match="another format: its features differ; choose another folder with --out"):
        make_up.data_set(folder, [1], cameras=CAMERAS)
    assert len(Demonstrations(folder)) == 1


@pytest.mark.parametrize("survived", range(0, 9, 2))
def test_a_run_killed_while_moving_is_finished_by_the_next(make_up, tmp_path, monkeypatch, survived):
    folder = make_up.data_set(tmp_path / "set", [0], cameras=CAMERAS)
    staging = Staging(folder)
    staging.put(make_up.episode(1, cameras=CAMERAS))
    real, moved = os.replace, []

    def replace(source, target):
        if COMMIT not in str(target) and APPENDING in str(source):
            if len(moved) == survived:
                raise KeyboardInterrupt
            moved.append(target)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        try:
            append(folder, staging, make_up.format(CAMERAS))
        except KeyboardInterrupt:
            with pytest.raises(DataSetError, match="left in the middle"):
                Demonstrations(folder)
    assert append(folder, staging, make_up.format(CAMERAS)) == 0
    assert not (folder / APPENDING).exists()
    assert [row["seed"] for row in Demonstrations(folder).episodes] == [0, 1]


def test_a_run_killed_while_writing_leaves_the_data_set_as_it_was(make_up, tmp_path):
    folder = make_up.data_set(tmp_path / "set", [0])
    before = files_of(folder)
    (folder / APPENDING / "data").mkdir(parents=True)
    (folder / APPENDING / "data/half").write_text("half")
    assert len(Demonstrations(folder)) == 1
    recover(folder)
    assert files_of(folder) == before


def test_a_full_disk_is_named_and_nothing_is_half_written(make_up, tmp_path, monkeypatch):
    folder = make_up.data_set(tmp_path / "set", [0])
    staging = Staging(folder)
    staging.put(make_up.episode(1))
    before = files_of(folder)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(DataSetError, match=f"{folder} cannot be written: No space left on device; make room"):
            append(folder, staging, make_up.format())
    assert files_of(folder) == before
    assert append(folder, staging, make_up.format()) == 1


def test_a_damaged_film_is_named_with_its_folder(make_up, tmp_path):
    staging = Staging(tmp_path)
    staging.put(make_up.episode(0, cameras=CAMERAS))
    film = staging.file("made_up_000000", 0, "head_camera.mp4")
    film.write_bytes(film.read_bytes()[:200])
    with pytest.raises(DataSetError, match="head_camera.mp4 is damaged: .*remove the folder .*made_up_000000, and the same command"):
        append(tmp_path, staging, make_up.format(CAMERAS))
    assert not (tmp_path / "meta").exists() and not (tmp_path / APPENDING).exists()

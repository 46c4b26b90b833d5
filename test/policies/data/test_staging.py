"""Finished episodes wait whole, or are not there."""

import pytest

from humanoid_control.errors import ConfigurationError
from policies.data import staging as staging_module
from policies.data.errors import DataSetError
from policies.data.staging import RECORD, Staging, pack


def test_an_episode_waits_with_its_record_and_files(make_up, tmp_path):
    staging = Staging(tmp_path)
    staging.put(make_up.episode(5, cameras=("head_camera",)))
    assert staging.names() == ["made_up_000005"]
    assert staging.record("made_up_000005")["orders"][0]["kept"]
    assert staging.file("made_up_000005", 0, "head_camera.mp4").stat().st_size > 0
    staging.remove(staging.names())
    assert staging.names() == []


def test_frames_of_failures_are_left_away_unless_wanted(make_up):
    kept, left = (make_up.episode(1, outcome="dropped", keep_failures=keep) for keep in (True, False))
    assert kept.files and not left.files
    assert left.record["orders"][0]["outcome"] == "dropped" and left.record["orders"][0]["frames"] == 12


def test_a_full_disk_leaves_nothing_of_the_episode(make_up, tmp_path, monkeypatch):
    staging, write = Staging(tmp_path), staging_module._write

    def full(path, content):
        if path.name == RECORD:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(staging_module, "_write", full)
    with pytest.raises(DataSetError, match="staging/made_up_000000 cannot be written: No space left on device; make room"):
        staging.put(make_up.episode(0))
    assert list(staging.folder.iterdir()) == []


def test_half_an_episode_of_a_killed_run_is_swept_away(make_up, tmp_path):
    staging = Staging(tmp_path)
    staging.put(make_up.episode(0))
    (staging.folder / ".begun_made_up_000001/order_0").mkdir(parents=True)
    assert Staging(tmp_path).names() == ["made_up_000000"]
    assert len(list(staging.folder.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file/staging cannot be made: Not a directory"):
        Staging(tmp_path / "file")


def test_a_damaged_record_is_named_with_the_way_out(make_up, tmp_path):
    staging = Staging(tmp_path)
    staging.put(make_up.episode(0))
    (staging.folder / "made_up_000000" / RECORD).write_text("{")
    with pytest.raises(DataSetError, match="remove the folder .*made_up_000000, and the same command"):
        staging.record("made_up_000000")


def test_an_episode_with_a_number_that_is_none_counts_as_failed(make_up):
    made = make_up.demonstration(0)
    made.columns["action"][7, 2] = float("inf")
    packed = pack("made_up_000000", {"seed": 0}, [made], columns=make_up.columns, keep_failures=True)
    order = packed.record["orders"][0]
    assert (order["outcome"], order["detail"], order["kept"]) == ("error", "action is not finite at frame 7", False)
    assert not packed.files

"""What is read is what was written, and nothing broken is read."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.data import schema
from policies.data.errors import DataSetError
from policies.data.reader import Demonstrations

CAMERAS = ("head_camera", "left_wrist_camera")
DATA = "data/chunk-000/file-000.parquet"
FILM = "videos/observation.images.head_camera/chunk-000/file-000.mp4"


@pytest.fixture
def folder(make_up, tmp_path):
    return make_up.data_set(tmp_path / "set", range(3), cameras=CAMERAS)


def change_data(folder, change):
    table = pq.read_table(folder / DATA)
    pq.write_table(change(table), folder / DATA)


def test_columns_are_arrays_and_texts_are_texts(folder, make_up):
    data = Demonstrations(folder)
    assert len(data) == 3 and data.frames == 36 and data.cameras == CAMERAS
    assert data.column(schema.STATE).shape == (36, 94) and data.column(schema.PROGRESS).shape == (36,)
    np.testing.assert_array_equal(data.column(schema.STATE)[data.span(2)], make_up.demonstration(2).columns[schema.STATE])
    assert data.column(schema.NOISE).dtype == bool
    assert data.texts(schema.REASON)[13] == "reason 1"
    assert [data.subtasks[k] for k in data.column(schema.SUBTASK_INDEX)[:12]] == make_up.demonstration(0).columns[schema.SUBTASK]
    assert data.stats["action"]["count"] == [36]


def test_images_come_in_the_order_they_were_asked_for(folder):
    data = Demonstrations(folder)
    brightness = data.images(1, "left_wrist_camera", [7, 0, 7, 11]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, 30 + 5 * np.array([7, 0, 7, 11]), atol=2)


def test_images_far_apart_are_sought(make_up, tmp_path):
    data = Demonstrations(make_up.data_set(tmp_path / "long", [0], cameras=CAMERAS[:1], frames=200))
    frames = [199, 3, 120, 121, 57]
    np.testing.assert_allclose(data.images(0, "head_camera", frames).mean(axis=(1, 2, 3)), [20 + 5 * (f % 40) for f in frames], atol=2)


@pytest.mark.parametrize("name", [DATA, FILM])
def test_a_missing_file_is_told_with_the_episode(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataSetError, match=rf"episode 0 \(made_up_000000\) is broken: .*{re.escape(name)} is missing; restore the file"):
        Demonstrations(folder)


def test_an_episode_with_a_frame_too_few_is_refused(folder):
    change_data(folder, lambda table: pa.concat_tables([table[:20], table[21:]]))
    with pytest.raises(DataSetError, match=r"episode 1 \(made_up_000001\) is broken: it has 11 frames instead of 12"):
        Demonstrations(folder)


def test_a_number_that_is_none_is_refused(folder):
    def spoil(table):
        index = table.column_names.index("action")
        values = np.array(table["action"].to_pylist(), np.float32)
        values[30, 4] = np.nan
        return table.set_column(index, "action", pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 29))

    change_data(folder, spoil)
    with pytest.raises(DataSetError, match=r"episode 2 \(made_up_000002\) is broken: its action is not finite at frame 6"):
        Demonstrations(folder)


def test_a_film_cut_short_is_refused(folder):
    path = folder / FILM
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataSetError, match=r"episode 2 \(made_up_000002\) is broken: .*file-000.mp4 "):
        Demonstrations(folder)


def test_a_film_of_another_episode_is_refused(folder, make_up, tmp_path):
    other = make_up.data_set(tmp_path / "other", [0], cameras=CAMERAS)
    (folder / FILM).write_bytes((other / FILM).read_bytes())
    with pytest.raises(DataSetError, match="has 12 frames instead of 36"):
        Demonstrations(folder)


def test_what_is_no_data_set_is_told(tmp_path, folder):
    with pytest.raises(DataSetError, match="is no data set of demonstrations: .*info.json is missing; make one with `humanoid generate`"):
        Demonstrations(tmp_path)
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.1"}))
    with pytest.raises(DataSetError, match="is of version v2.1; v3.0 is needed"):
        Demonstrations(folder)


def test_what_is_not_there_is_told_with_what_is(folder):
    data = Demonstrations(folder)
    with pytest.raises(DataSetError, match="no column 'reason' of numbers; there is observation.state,"):
        data.column("reason")
    with pytest.raises(DataSetError, match="no column 'action' of text; there is reason,"):
        data.texts("action")
    with pytest.raises(DataSetError, match="no images of 'gaze'; there is head_camera, left_wrist_camera"):
        data.images(0, "gaze")
    with pytest.raises(DataSetError, match="episode 0 has frames 0 to 11"):
        data.images(0, "head_camera", [12])

"""Writes LeRobotDataset v3.0 with pyarrow and PyAV alone: many episodes to a file, added in one go or not at all.

The layout is that of lerobot 0.4 (`lerobot/datasets/utils.py`): `meta/info.json`, `meta/stats.json`, `meta/tasks.parquet`,
`meta/subtasks.parquet`, `meta/episodes/`, `data/` and `videos/<key>/` with `chunk-000/file-000` below. What is added goes
into new files, made in a folder beside; a list of what is to be moved where is written last of all, and a run that is
killed while moving is finished by the next.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.parquet as pq

from policies.data import schema, statistics
from policies.data.errors import DataSetError

from policies.data.staging import FRAMES, Staging, image_age_column

VERSION = "v3.0"
INFO, STATS, TASKS, SUBTASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/subtasks.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
ROBOT = "unitree_g1_dex1"
FILES_PER_CHUNK = 1000
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200
MIB = 1 << 20
APPENDING, COMMIT = ".appending", "commit.json"
INDICES = tuple(schema.Column(name, "float32" if name == "timestamp" else "int64", (name,))
                for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"))  # fmt: skip
EPISODE_FACTS = ("episode", "order", "seed", "factory", "factory_sha256", "outcome", "detail", "subtask", "problem", "cycle_time_s",
                 "noise", "layouts", "model_sha256", "code_sha256", "versions")  # fmt: skip
RECORDED_FACTS = (*EPISODE_FACTS, "operator", "policy", "hashes", "recorded", "note", "segmented_by", "intervention_share")


@dataclass(frozen=True)
class Format:
    """What all episodes of a data set share.

    Attributes:
        fps: frames per second.
        cameras: whose images there are.
        width, height: of the images, in pixels.
        columns: of a frame, from `schema.frame_columns`, or of a recorded one.
        facts: of an episode, that its row in `meta/episodes` holds.
    """

    fps: int
    cameras: tuple[str, ...]
    width: int
    height: int
    columns: tuple[schema.Column, ...]
    facts: tuple[str, ...] = EPISODE_FACTS

    def features(self) -> dict[str, dict]:
        """As info.json has them."""
        columns = [column for column in self.columns if column.name != schema.SUBTASK]
        index = schema.Column(schema.SUBTASK_INDEX, "int64", (schema.SUBTASK_INDEX,))
        found = {column.name: column.feature for column in (*columns, index, *image_age_column(self.cameras), *INDICES)}
        info = {"video.height": self.height, "video.width": self.width, "video.codec": "h264", "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False, "video.fps": self.fps, "video.channels": 3, "has_audio": False}  # fmt: skip
        video = {"dtype": "video", "shape": [self.height, self.width, 3], "names": ["height", "width", "channels"], "info": info}
        return found | {schema.image_column(camera): video for camera in self.cameras}


def recover(folder: Path) -> None:
    """Finishes, or takes back, what a run that was killed had begun to add.

    Raises:
        DataSetError: the folder cannot be written.
    """
    begun = folder / APPENDING
    try:
        if (begun / COMMIT).exists():
            _move(folder)
        elif begun.exists():
            shutil.rmtree(begun)
    except OSError as error:
        raise _not_written(folder, error) from None


def append(folder: Path, staging: Staging, format_: Format, *, outcome_is_success: bool = True) -> int:
    """Adds the staged orders that were kept and are not in the data set yet; returns how many.

    Args:
        folder: of the data set; made if there is none.
        staging: where episodes wait; they are left there.
        format_: what all episodes share.
        outcome_is_success: whether to add successes, or else failures.

    Raises:
        DataSetError: it cannot be written, and then is as it was; or what is there has another format.
    """
    recover(folder)
    before = _Before.read(folder, format_)
    rows = []
    for name in staging.names():
        record = staging.record(name)
        for order in record["orders"]:
            wanted = order["kept"] and (order["outcome"] == "success") == outcome_is_success
            if wanted and (name, order["order"]) not in before.known:
                facts = {key: value for key, value in record.items() if key != "orders"} | order
                rows.append({"facts": facts, "frames": staging.file(name, order["order"], FRAMES)})
    if not rows:
        return 0
    begun = folder / APPENDING
    try:
        begun.mkdir(parents=True)
        _write_all(begun, staging, rows, format_, before)
        moves = sorted(str(path.relative_to(begun)) for path in begun.rglob("*") if path.is_file())
        moves.sort(key=lambda name: name == INFO)  # last: it says how many episodes there are
        for name in moves:
            _sync(begun / name)
        (begun / f"{COMMIT}.new").write_text(json.dumps(moves))
        _sync(begun / f"{COMMIT}.new")
        os.replace(begun / f"{COMMIT}.new", begun / COMMIT)
        _move(folder)
    except OSError as error:
        raise _not_written(folder, error) from None
    finally:
        if not (begun / COMMIT).exists():
            shutil.rmtree(begun, ignore_errors=True)
    return len(rows)


@dataclass(frozen=True)
class _Before:
    """What a data set holds before something is added."""

    episodes: int
    frames: int
    file: int  # index of the next file of each kind
    tasks: list[str]
    subtasks: list[str]
    stats: dict[str, dict]
    known: set[tuple[str, int]]

    @classmethod
    def read(cls, folder: Path, format_: Format) -> _Before:
        if not (folder / INFO).exists():
            return cls(0, 0, 0, [], [], {}, set())
        info = json.loads((folder / INFO).read_text())
        for what, found, wanted in (("fps", info["fps"], format_.fps), ("features", info["features"], format_.features())):
            if found != wanted:
                detail = f"its {what} differ" if what == "features" else f"its {what} is {found}, not {wanted}"
                raise DataSetError(f"{folder} holds demonstrations of another format: {detail}; choose another folder with --out.")
        table = pa.concat_tables([pq.read_table(path, columns=["episode", "order"])
                                  for path in sorted((folder / "meta/episodes").glob("*/*.parquet"))])  # fmt: skip
        known = set(zip(table["episode"].to_pylist(), table["order"].to_pylist()))
        files = [path for pattern in ("data/*/*.parquet", "videos/*/*/*.mp4", "meta/episodes/*/*.parquet")
                 for path in folder.glob(pattern)]  # fmt: skip
        last = max(FILES_PER_CHUNK * int(path.parent.name[-3:]) + int(path.stem[-3:]) for path in files)
        return cls(info["total_episodes"], info["total_frames"], last + 1, read_texts(folder / TASKS),
                   read_texts(folder / SUBTASKS), json.loads((folder / STATS).read_text()), known)  # fmt: skip


class _Files:
    """Where the next file of one kind goes, below a folder."""

    def __init__(self, folder: Path, pattern: str, first: int, **names: str) -> None:
        self._folder, self._pattern, self._names = folder, pattern, names
        self._number = first - 1

    @property
    def indices(self) -> tuple[int, int]:
        """Of the newest: chunk and file."""
        return divmod(self._number, FILES_PER_CHUNK)

    def next(self) -> Path:
        self._number += 1
        chunk, file = self.indices
        path = self._folder / self._pattern.format(chunk_index=chunk, file_index=file, **self._names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _write_all(folder: Path, staging: Staging, rows: list[dict], format_: Format, before: _Before) -> None:
    tasks = before.tasks + sorted({row["facts"]["task"] for row in rows} - set(before.tasks))
    subtasks = before.subtasks + sorted({name for row in rows for name in row["facts"]["subtasks"]} - set(before.subtasks))
    data = _DataFiles(_Files(folder, DATA_PATH, before.file))
    films = {camera: _VideoFiles(_Files(folder, VIDEO_PATH, before.file, video_key=schema.image_column(camera)), format_.fps)
             for camera in format_.cameras}  # fmt: skip
    episodes, index, first_chunk = [], before.frames, divmod(before.file, FILES_PER_CHUNK)
    for number, row in enumerate(rows, before.episodes):
        facts, table = row["facts"], pq.read_table(row["frames"])
        length = table.num_rows
        table = _indexed(table, number, index, tasks.index(facts["task"]), subtasks, format_)
        chunk, file = data.add(table)
        entry = {"episode_index": number, "tasks": [facts["task"]], "length": length, "data/chunk_index": chunk,
                 "data/file_index": file, "dataset_from_index": index, "dataset_to_index": index + length,
                 "meta/episodes/chunk_index": first_chunk[0], "meta/episodes/file_index": first_chunk[1]}  # fmt: skip
        for camera, film in films.items():
            chunk, file, first = film.add(staging.file(facts["episode"], facts["order"], f"{camera}.mp4"), length)
            key = f"videos/{schema.image_column(camera)}"
            entry |= {f"{key}/chunk_index": chunk, f"{key}/file_index": file, f"{key}/from_timestamp": first / format_.fps,
                      f"{key}/to_timestamp": (first + length) / format_.fps}  # fmt: skip
        facts["statistics"] |= _index_statistics(table)
        entry |= {f"stats/{name}/{kind}": value for name, part in facts["statistics"].items() for kind, value in part.items()}
        episodes.append(entry | {name: facts[name] for name in format_.facts})
        index += length
    data.close()
    for film in films.values():
        film.close()
    pq.write_table(pa.Table.from_pylist(episodes), _Files(folder, EPISODES_PATH, before.file).next())
    (folder / "meta").mkdir(exist_ok=True)
    _write_texts(folder / TASKS, tasks, "task_index")
    _write_texts(folder / SUBTASKS, subtasks, "subtask_index")
    parts = [row["facts"]["statistics"] for row in rows] + ([before.stats] if before.stats else [])
    stats = {name: statistics.to_lists(statistics.together([statistics.from_lists(part[name]) for part in parts]))
             for name in parts[0]}  # fmt: skip
    (folder / STATS).write_text(json.dumps(stats, indent=1) + "\n")
    total = before.episodes + len(rows)
    info = {"codebase_version": VERSION, "robot_type": ROBOT, "total_episodes": total, "total_frames": index,
            "total_tasks": len(tasks), "chunks_size": FILES_PER_CHUNK, "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB, "fps": format_.fps, "splits": {"train": f"0:{total}"},
            "data_path": DATA_PATH, "video_path": VIDEO_PATH if format_.cameras else None,
            "features": format_.features()}  # fmt: skip
    (folder / INFO).write_text(json.dumps(info, indent=1) + "\n")


def _indexed(table: pa.Table, episode: int, first: int, task: int, subtasks: Sequence[str], format_: Format) -> pa.Table:
    """The frames with their indices, in the order of the features."""
    n = table.num_rows
    numbers = {name: index for index, name in enumerate(subtasks)}
    added = {
        schema.SUBTASK_INDEX: pa.array([numbers[name] for name in table[schema.SUBTASK].to_pylist()], pa.int64()),
        "timestamp": pa.array([frame / format_.fps for frame in range(n)], pa.float32()),
        "frame_index": pa.array(range(n), pa.int64()),
        "episode_index": pa.array([episode] * n, pa.int64()),
        "index": pa.array(range(first, first + n), pa.int64()),
        "task_index": pa.array([task] * n, pa.int64()),
    }
    names = [name for name, feature in format_.features().items() if feature["dtype"] != "video"]
    return pa.table({name: added[name] if name in added else table[name] for name in names})


def _index_statistics(table: pa.Table) -> dict[str, dict]:
    return {name: statistics.to_lists(statistics.of_numbers(table[name].to_numpy()))
            for name in (schema.SUBTASK_INDEX, *(column.name for column in INDICES))}  # fmt: skip


class _DataFiles:
    """Frames of many episodes to a file; a new one where it grows too large."""

    def __init__(self, files: _Files) -> None:
        self._files, self._writer, self._path = files, None, None

    def add(self, table: pa.Table) -> tuple[int, int]:
        """Adds an episode; chunk and file it went into."""
        if self._writer is not None and self._path.stat().st_size > DATA_FILE_MB * MIB:
            self.close()
        if self._writer is None:
            self._path = self._files.next()
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy")
        self._writer.write_table(table)
        return self._files.indices

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _VideoFiles:
    """Films of many episodes strung together without encoding them again."""

    def __init__(self, files: _Files, fps: int) -> None:
        self._files, self._fps, self._out, self._frames, self._bytes = files, fps, None, 0, 0

    def add(self, film: Path, frames: int) -> tuple[int, int, int]:
        """Adds a film; chunk and file it went into, and its first frame there.

        Raises:
            DataSetError: it cannot be read, or has another number of frames.
        """
        if self._out is not None and self._bytes > VIDEO_FILE_MB * MIB:
            self.close()
        try:
            source = av.open(str(film))
        except (av.FFmpegError, OSError) as error:
            raise _damaged_film(film, str(error)) from None
        with source:
            stream = source.streams.video[0]
            if self._out is None:
                self._out, self._frames, self._bytes = av.open(str(self._files.next()), "w", format="mp4"), 0, 0
                self._stream = self._out.add_stream_from_template(stream)
            first, came = self._frames, 0
            shift = round(Fraction(first, self._fps) / stream.time_base)
            for packet in source.demux(stream):
                if packet.dts is None:  # the end
                    continue
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, self._stream
                self._out.mux(packet)
                came += 1
            if came != frames:
                raise _damaged_film(film, f"{came} frames instead of {frames}")
        self._frames += frames
        self._bytes += film.stat().st_size
        return *self._files.indices, first

    def close(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None


def _damaged_film(film: Path, what: str) -> DataSetError:
    return DataSetError(f"{film} is damaged: {what}; remove the folder {film.parents[1]}, and the same command makes the "
                        "episode anew.")  # fmt: skip


def _write_texts(path: Path, texts: Sequence[str], number: str) -> None:
    """A table of texts and their numbers, which pandas reads back with the text as index."""
    index = "__index_level_0__"
    about = {"index_columns": [index], "column_indexes": [{"name": None, "field_name": None, "pandas_type": "unicode",
             "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}],
             "columns": [{"name": number, "field_name": number, "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
                         {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}],
             "creator": {"library": "pyarrow", "version": pa.__version__}, "pandas_version": "2.3.0"}  # fmt: skip
    table = pa.table({number: pa.array(range(len(texts)), pa.int64()), index: pa.array(texts, pa.string())})
    pq.write_table(table.replace_schema_metadata({b"pandas": json.dumps(about).encode()}), path)


def read_texts(path: Path) -> list[str]:
    """The texts of `meta/tasks.parquet` or `meta/subtasks.parquet`, by their numbers."""
    table = pq.read_table(path)
    rows = zip(table.column(0).to_pylist(), table.column(1).to_pylist())
    return [text for _, text in sorted(rows)]


def _move(folder: Path) -> None:
    """Puts what was made beside the data set into it; may be done again after it was broken off."""
    begun = folder / APPENDING
    for name in json.loads((begun / COMMIT).read_text()):
        if (begun / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(begun / name, folder / name)
    shutil.rmtree(begun)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _not_written(folder: Path, error: OSError) -> DataSetError:
    return DataSetError(f"{folder} cannot be written: {error.strerror}; make room there, then give the same command again: "
                        "finished episodes are kept.")  # fmt: skip

"""Reads demonstrations for training: numbers as arrays at once, images of chosen frames, and no broken episode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from policies.data import schema
from policies.data.errors import DataSetError
from policies.data.lerobot_dataset import APPENDING, COMMIT, DATA_PATH, INFO, STATS, SUBTASKS, TASKS, VERSION, VIDEO_PATH, read_texts


class Demonstrations:
    """A data set that was looked through: every episode is whole.

    Attributes:
        folder: where it lies.
        fps: frames per second.
        frames: of all episodes.
        cameras: whose images there are.
        tasks, subtasks: texts by their numbers.
        episodes: one row of meta data for each, in order; `dataset_from_index` and `dataset_to_index` are its frames.
        features: by column, as info.json has them.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens a data set and checks it.

        Args:
            folder: where it lies.

        Raises:
            DataSetError: it is not there, or broken; with the episode's name and the way out.
        """
        self.folder = Path(folder)
        if (self.folder / APPENDING / COMMIT).exists():
            raise DataSetError(f"{folder} was left in the middle of adding episodes; give the command that was adding them again.")
        self._read_meta()
        self._check_files()
        self._check_columns()

    def __len__(self) -> int:
        """How many episodes there are."""
        return len(self.episodes)

    def _read_meta(self) -> None:
        try:
            info = json.loads((self.folder / INFO).read_text())
            self.stats = json.loads((self.folder / STATS).read_text())
            self.tasks, self.subtasks = read_texts(self.folder / TASKS), read_texts(self.folder / SUBTASKS)
            paths = sorted((self.folder / "meta/episodes").glob("*/*.parquet"))
            tables = [pq.read_table(path) for path in paths]
        except FileNotFoundError as error:
            raise DataSetError(f"{self.folder} is no data set of demonstrations: {error.filename} is missing; make one with "
                               "`humanoid generate`.") from None  # fmt: skip
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataSetError(f"{self.folder}: its meta data cannot be read ({_line(error)}); generate it anew.") from None
        if info.get("codebase_version") != VERSION:
            raise DataSetError(f"{self.folder} is of version {info.get('codebase_version')}; {VERSION} is needed.")
        self.fps, self.frames, self.features = info["fps"], info["total_frames"], info["features"]
        self.cameras = tuple(name.removeprefix(schema.IMAGES) for name, f in self.features.items() if f["dtype"] == "video")
        rows = [row for table in tables for row in table.drop_columns(
            [name for name in table.column_names if name.startswith("stats/")]).to_pylist()]  # fmt: skip
        self.episodes = sorted(rows, key=lambda row: row["episode_index"])
        if len(self.episodes) != info["total_episodes"]:
            raise DataSetError(f"{self.folder}: {len(self.episodes)} of {info['total_episodes']} episodes have meta data; "
                               "generate it anew.")  # fmt: skip

    def _check_files(self) -> None:
        at = 0
        for row in self.episodes:
            if row["dataset_from_index"] != at or row["dataset_to_index"] - at != row["length"]:
                raise self._broken(row, f"its frames are {row['dataset_from_index']} to {row['dataset_to_index']}, and {row['length']} of them")
            at += row["length"]
            for path in (self._data_path(row), *(self.film(row, camera) for camera in self.cameras)):
                if not path.is_file():
                    raise self._broken(row, f"{path} is missing")
        last = {(camera, self.film(row, camera)): row for row in self.episodes for camera in self.cameras}
        for (camera, path), row in last.items():  # the last episode of each file ends where the file does
            found, wanted = self._film_length(path, row), round(row[f"videos/{schema.image_column(camera)}/to_timestamp"] * self.fps)
            if found != wanted:
                raise self._broken(row, f"{path} has {found} frames instead of {wanted}")

    def _film_length(self, path: Path, row: dict) -> int:
        try:
            with av.open(str(path)) as film:
                return film.streams.video[0].frames
        except (av.FFmpegError, OSError, IndexError) as error:
            raise self._broken(row, f"{path} cannot be read ({_line(error)})") from None

    def _check_columns(self) -> None:
        paths = list(dict.fromkeys(self._data_path(row) for row in self.episodes))
        tables = []
        for path in paths:
            row = next(row for row in self.episodes if self._data_path(row) == path)
            try:
                tables.append(pq.read_table(path, memory_map=True))
            except (OSError, pa.ArrowException) as error:
                raise self._broken(row, f"{path} cannot be read ({_line(error)})") from None
        self._table = pa.concat_tables(tables)
        found = self.column("episode_index")
        lengths = np.bincount(found, minlength=len(self.episodes))
        for row in self.episodes:
            if lengths[row["episode_index"]] != row["length"]:
                raise self._broken(row, f"it has {lengths[row['episode_index']]} frames instead of {row['length']}")
        if not (self.column("index") == np.arange(self.frames)).all():
            raise DataSetError(f"{self.folder}: its frames are not in order; generate it anew.")
        for name, feature in self.features.items():
            if feature["dtype"] != "float32":
                continue
            bad = ~np.isfinite(self.column(name)).reshape(self.frames, -1).all(axis=1)
            if bad.any():
                frame = int(bad.argmax())
                row = self.episodes[int(found[frame])]
                raise self._broken(row, f"its {name} is not finite at frame {frame - row['dataset_from_index']}")

    def _broken(self, row: dict, what: str) -> DataSetError:
        return DataSetError(f"{self.folder}: episode {row['episode_index']} ({row['episode']}) is broken: {what}; restore the file, "
                            "or generate the data set anew in another folder: the same seeds give the same episodes.")  # fmt: skip

    def _data_path(self, row: dict) -> Path:
        return self.folder / DATA_PATH.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])

    def film(self, row: dict, camera: str) -> Path:
        """The file that holds a camera's images of an episode, given by its row of `episodes`."""
        key = schema.image_column(camera)
        return self.folder / VIDEO_PATH.format(video_key=key, chunk_index=row[f"videos/{key}/chunk_index"],
                                               file_index=row[f"videos/{key}/file_index"])  # fmt: skip

    # --- numbers ------------------------------------------------------------------------------------------------------

    def column(self, name: str) -> np.ndarray:
        """A column of all frames: (frames, D), or (frames,) where D is 1.

        Raises:
            DataSetError: there is no such column, or it holds text or images.
        """
        feature = self.features.get(name)
        if feature is None or feature["dtype"] in ("video", "string"):
            numbers = [key for key, f in self.features.items() if f["dtype"] not in ("video", "string")]
            raise DataSetError(f"{self.folder} has no column '{name}' of numbers; there is {', '.join(numbers)}.")
        column = self._table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        if feature["shape"] == [1]:
            return column.to_numpy(zero_copy_only=False)
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, feature["shape"][0])

    def texts(self, name: str) -> list[str]:
        """A column of text, of all frames.

        Raises:
            DataSetError: there is no such column of text.
        """
        if self.features.get(name, {}).get("dtype") != "string":
            there = [key for key, feature in self.features.items() if feature["dtype"] == "string"]
            raise DataSetError(f"{self.folder} has no column '{name}' of text; there is {', '.join(there)}.")
        return self._table[name].to_pylist()

    def text_counts(self, name: str) -> dict[str, int]:
        """How often each text of a column comes up."""
        return {entry["values"]: entry["counts"] for entry in pc.value_counts(self._table[name]).to_pylist()}

    def span(self, episode: int) -> slice:
        """The frames of an episode among all."""
        row = self.episodes[episode]
        return slice(row["dataset_from_index"], row["dataset_to_index"])

    # --- images -------------------------------------------------------------------------------------------------------

    def images(self, episode: int, camera: str, frames: Sequence[int] | None = None) -> np.ndarray:
        """(N, H, W, 3) uint8 images of an episode.

        Args:
            episode: its number.
            camera: its name.
            frames: which of the episode's frames, in any order; all by default.

        Raises:
            DataSetError: there is no such camera or frame, or the film is damaged.
        """
        row = self.episodes[episode]
        wanted = np.arange(row["length"]) if frames is None else np.asarray(frames, int)
        if camera not in self.cameras:
            raise DataSetError(f"{self.folder} has no images of '{camera}'; there is {', '.join(self.cameras) or 'none'}.")
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < row["length"]:
            raise DataSetError(f"{self.folder}: episode {episode} has frames 0 to {row['length'] - 1}; {wanted.tolist()} were asked for.")
        first = round(row[f"videos/{schema.image_column(camera)}/from_timestamp"] * self.fps)
        height, width, _ = self.features[schema.image_column(camera)]["shape"]
        made = np.empty((len(wanted), height, width, 3), np.uint8)
        places: dict[int, list[int]] = {}
        for place, frame in enumerate(wanted):
            places.setdefault(int(frame) + first, []).append(place)
        path = self.film(row, camera)
        try:
            for number, image in _decoded(path, sorted(places), self.fps):
                made[places.pop(number)] = image
        except (av.FFmpegError, OSError) as error:
            raise self._broken(row, f"{path} cannot be decoded ({_line(error)})") from None
        if places:
            raise self._broken(row, f"{path} lacks frame {min(places)}")
        return made


def _decoded(path: Path, numbers: Sequence[int], fps: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields frames (H, W, 3) uint8 of a film by their sorted numbers; seeks where they are far apart."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        stream.thread_count = 1
        at, frames = None, iter(())
        for number in numbers:
            if at is None or not 0 <= number - at <= fps:
                film.seek(int(number / fps / stream.time_base), stream=stream)
                frames = film.decode(stream)
            for frame in frames:
                at = round(frame.pts * stream.time_base * fps)
                if at == number:
                    yield number, frame.to_ndarray(format="rgb24")
                    break
                if at > number:
                    break


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())

"""Finished episodes on their way into a data set: each a folder that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from policies.data import schema, statistics
from policies.data.demonstration import Demonstration
from policies.data.errors import DataSetError
from policies.evaluation.journal import make_folder

FOLDER, RECORD, FRAMES = "staging", "episode.json", "frames.parquet"
_BEGUN = ".begun_"


@dataclass(frozen=True)
class PackedEpisode:
    """An episode as bytes, which travel between processes and machines.

    Attributes:
        name: of the episode, unlike that of any other.
        record: what came of it, as plain values; `orders` has one for each order begun.
        files: by their paths in the episode's folder.
    """

    name: str
    record: dict
    files: dict[str, bytes]


def pack(name: str, record: dict, demonstrations: list[Demonstration], *, columns: tuple[schema.Column, ...],
         keep_failures: bool) -> PackedEpisode:  # fmt: skip
    """An episode's demonstrations as files.

    Args:
        name: of the episode.
        record: of the episode.
        demonstrations: of its orders; their figures are added to the record.
        columns: of the frames.
        keep_failures: whether frames of orders that failed are kept too.
    """
    orders, files = [], {}
    for made in demonstrations:
        what = _not_finite(made, columns)
        if what:  # one such number would spoil the whole data set
            made.outcome, made.detail, made.columns = "error", what, {}
        is_kept = made.frames > 0 and (made.outcome == "success" or keep_failures)
        row = {"order": made.order, "task": made.task, "outcome": made.outcome, "detail": made.detail, "subtask": made.subtask,
               "problem": made.problem, "cycle_time_s": round(made.cycle_time_s, 6), "frames": made.frames, "kept": is_kept}  # fmt: skip
        orders.append(row)
        if not is_kept:
            continue
        folder = f"order_{made.order}"
        files[f"{folder}/{FRAMES}"] = _parquet(made, columns)
        files |= {f"{folder}/{camera}.mp4": film for camera, film in made.films.items()}
        row["statistics"] = _statistics(made, columns)
        row["subtasks"] = sorted(set(made.columns[schema.SUBTASK]))
        row["cameras"] = list(made.films)
    return PackedEpisode(name, record | {"episode": name, "orders": orders}, files)


def to_array(values, column: schema.Column) -> pa.Array:
    """A column's values as Arrow has them: vectors of fixed length."""
    if column.dtype == "string":
        return pa.array(values, pa.string())
    kind = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}[column.dtype]
    if len(column.names) == 1:
        return pa.array(values, kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), len(column.names))


def image_age_column(cameras: list[str] | tuple[str, ...]) -> tuple[schema.Column, ...]:
    """The column that says how old images are, where there are images."""
    return (schema.Column(schema.IMAGE_AGE, "float32", (schema.IMAGE_AGE,)),) if cameras else ()


def _not_finite(made: Demonstration, columns: tuple[schema.Column, ...]) -> str:
    """Which number is none, for people; empty if all are."""
    for column in columns if made.frames else ():
        if column.dtype == "float32":
            bad = ~np.isfinite(made.columns[column.name]).reshape(made.frames, -1).all(axis=1)
            if bad.any():
                return f"{column.name} is not finite at frame {int(bad.argmax())}"
    return ""


def _values(made: Demonstration):
    return made.columns | ({schema.IMAGE_AGE: made.image_age_s.astype("float32")} if made.films else {})


def _parquet(made: Demonstration, columns: tuple[schema.Column, ...]) -> bytes:
    values = _values(made)
    every = columns + image_age_column(tuple(made.films))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({column.name: to_array(values[column.name], column) for column in every}), sink)
    return sink.getvalue().to_pybytes()


def _statistics(made: Demonstration, columns: tuple[schema.Column, ...]) -> dict[str, dict]:
    values = _values(made)
    every = [column for column in columns + image_age_column(tuple(made.films)) if column.dtype != "string"]
    found = {column.name: statistics.of_numbers(values[column.name]) for column in every}
    found |= {schema.image_column(camera): statistics.of_images(*counted) for camera, counted in made.histograms.items()}
    return {name: statistics.to_lists(part) for name, part in found.items()}


class Staging:
    """The folder in which finished episodes wait.

    Args:
        data_set: the data set's folder.

    Raises:
        ConfigurationError: the folder cannot be made.
    """

    def __init__(self, data_set: Path) -> None:
        self.folder = data_set / FOLDER
        make_folder(self.folder)
        for half in self.folder.glob(f"{_BEGUN}*"):  # of a run that was killed
            shutil.rmtree(half, ignore_errors=True)

    def put(self, episode: PackedEpisode) -> None:
        """Writes an episode, whole or not at all.

        Raises:
            DataSetError: it cannot be written; nothing of it is left.
        """
        begun, target = self.folder / f"{_BEGUN}{episode.name}", self.folder / episode.name
        try:
            begun.mkdir()
            for name, content in episode.files.items():
                path = begun / name
                path.parent.mkdir(exist_ok=True)
                _write(path, content)
            _write(begun / RECORD, json.dumps(episode.record).encode())
            os.replace(begun, target)
        except OSError as error:
            shutil.rmtree(begun, ignore_errors=True)
            raise DataSetError(f"{target} cannot be written: {error.strerror}; make room or choose another --out. "
                               "What was finished before is kept, and the same command goes on.") from None  # fmt: skip

    def names(self) -> list[str]:
        """The episodes that wait, sorted."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def record(self, name: str) -> dict:
        """What came of an episode.

        Raises:
            DataSetError: the folder is damaged.
        """
        path = self.folder / name / RECORD
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DataSetError(f"{path} cannot be read ({error}); remove the folder {path.parent}, and the same command makes "
                               "the episode anew.") from None  # fmt: skip

    def file(self, name: str, order: int, file: str) -> Path:
        """The path of an order's file."""
        return self.folder / name / f"order_{order}" / file

    def remove(self, names: list[str]) -> None:
        """Takes episodes away that are in the data set now."""
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    """Writes a file and waits until it is on the disk: a rename must not overtake it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

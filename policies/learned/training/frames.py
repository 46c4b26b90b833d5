"""Frames of many demonstrations as columns, one row a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

FramesT = TypeVar("FramesT", bound="Frames")


@dataclass(frozen=True)
class Frames:
    """What all such tables have.

    Attributes:
        episode: (N,) which demonstration each is of, counted from 0.
    """

    episode: np.ndarray

    def __len__(self) -> int:
        return len(self.episode)

    def part(self: FramesT, rows: np.ndarray) -> FramesT:
        """Some of the frames, by index."""
        return type(self)(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    @classmethod
    def joined(cls: type[FramesT], parts: Sequence[FramesT]) -> FramesT:
        """The frames of several data sets, their episodes counted on."""
        firsts = np.cumsum([0, *(int(part.episode[-1]) + 1 for part in parts)])
        parts = [replace(part, episode=part.episode + first) for part, first in zip(parts, firsts)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__})

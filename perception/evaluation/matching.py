"""Which tote each sighting of one image is of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perception.tracking.sighting import ToteSighting
from perception.training.measure import match_distance


@dataclass(frozen=True)
class SightingMatches:
    """The sightings of one image, by their index.

    Attributes:
        told: by tote, the sighting that is of it.
        doubles: further ones of totes in view that were told of already.
        false: those that no tote is near.
    """

    told: dict[str, int]
    doubles: tuple[int, ...]
    false: tuple[int, ...]


def match_sightings(
    sightings: Sequence[ToteSighting], camera_from_totes: Mapping[str, np.ndarray], in_view: Collection[str]
) -> SightingMatches:
    """Matches, the nearest first; a sighting with a name can be of the tote of that name only.

    Totes in view come first: what lies near one of them is of it, or a double of it, and not of a tote hidden behind. What
    lies near a tote that is out of view alone is told of that one: too far, or too little of it, for truth to call it seen.

    Args:
        sightings: of the image.
        camera_from_totes: (4, 4) truth by name, of all totes there are.
        in_view: names of those in view.
    """
    gaps = sorted((match_distance(sighting.camera_from_tote, truth), index, name)
                  for index, sighting in enumerate(sightings) for name, truth in camera_from_totes.items()
                  if sighting.name in ("", name))  # fmt: skip
    near = [(index, name) for gap, index, name in gaps if gap <= 1.0]
    told: dict[str, int] = {}
    _match(told, [(index, name) for index, name in near if name in in_view])
    doubles = {index for index, name in near if name in told} - set(told.values())
    _match(told, [(index, name) for index, name in near if name not in in_view and index not in doubles])
    left = set(range(len(sightings))) - set(told.values()) - doubles
    doubles |= left & {index for index, _ in near}  # of a tote out of view
    return SightingMatches(told, tuple(sorted(doubles)), tuple(sorted(left - doubles)))


def _match(told: dict[str, int], near: Sequence[tuple[int, str]]) -> None:
    for index, name in near:
        if name not in told and index not in told.values():
            told[name] = index

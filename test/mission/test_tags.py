"""Where tags are: unique, on the outside of what carries them, and refused where there are not enough."""

import numpy as np
import pytest

from humanoid_control.errors import FactoryError
from humanoid_control.mission.factory import load_factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.mission.tags import CUFF_IDS, IDS, PLATE_SHARE, cuff_tags, iterate_tags, lay_out_tags, tote_tags
from humanoid_control.robot_model import PACKAGE_ROOT
from humanoid_control.types import SIDES

FACTORIES = sorted((PACKAGE_ROOT / "config/factories").glob("*.yaml"))


@pytest.mark.parametrize("path", FACTORIES, ids=lambda path: path.stem)
def test_no_two_things_carry_the_same_tag(path):
    ids = [tag.id for _, tag in iterate_tags(lay_out_tags(load_factory(path)))]
    assert len(set(ids)) == len(ids)
    assert max(ids) < CUFF_IDS


def test_cuffs_have_tags_of_their_own():
    ids = [tag.id for side in SIDES for tag in cuff_tags(side)]
    assert len(set(ids)) == len(ids)
    assert max(ids) < IDS


@pytest.mark.parametrize("kind", LOAD_CARRIERS)
def test_plates_are_on_the_walls_below_the_lip_and_face_outwards(kind):
    carrier = LOAD_CARRIERS[kind]
    for tag in tote_tags(carrier, 0):
        middle, normal = tag.parent_from_tag[:3, 3], tag.parent_from_tag[:3, 2]
        assert normal[:2] @ middle[:2] > 0
        plate = middle + PLATE_SHARE * (tag.corners - middle)
        assert plate[:, 2].min() > 0
        assert plate[:, 2].max() < carrier.height - 0.018
        assert (np.abs(plate[:, :2]) < np.array(carrier.wall_half_extents) + 0.004).all()


@pytest.mark.parametrize("kind", LOAD_CARRIERS)
def test_plates_on_one_side_do_not_overlap(kind):
    tags = tote_tags(LOAD_CARRIERS[kind], 0)
    for first in tags:
        for second in tags:
            if first is not second and np.allclose(first.parent_from_tag[:3, 2], second.parent_from_tag[:3, 2]):
                distance = np.linalg.norm(first.parent_from_tag[:3, 3] - second.parent_from_tag[:3, 3])
                assert distance > PLATE_SHARE * first.size


def test_too_many_totes_are_refused():
    factory = load_factory(FACTORIES[0])
    tote = factory.totes[0]
    many = factory.model_copy(update={"totes": tuple(tote.model_copy(update={"name": f"t{i}"}) for i in range(41))})
    with pytest.raises(FactoryError, match="41 totes; there are tags for 40"):
        lay_out_tags(many)

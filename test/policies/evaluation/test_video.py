"""A film that can be played, as long as the episode, with what the policy does written below."""

from __future__ import annotations

import av
import numpy as np
import pytest

from humanoid_control.errors import SimulationError
from humanoid_control.simulation.cameras import CameraRenderer
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.scene import build_scene
from policies.evaluation.episode_record import record_episode
from policies.evaluation.video import CAPTION_HEIGHT, RATE_HZ, EpisodeVideo
from policies.registry import make_policy


@pytest.fixture
def renderer(penned_in):
    try:
        renderer = CameraRenderer(build_scene(draw_episode(penned_in, 0)))
    except SimulationError as error:
        pytest.skip(str(error))
    with renderer:
        yield renderer


def test_a_film_shows_the_whole_episode_with_captions(tmp_path, model, penned_in, renderer):
    path = tmp_path / "film.mp4"
    video = EpisodeVideo(path, renderer, width=320, height=240)
    record = record_episode(model, penned_in, 2, policy=make_policy("scripted", model), poses="oracle", listeners=(video,))
    video.close()
    video.close()
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == pytest.approx(record["simulated_s"] * RATE_HZ, abs=2)
    assert frames[0].shape == (240, 320, 3)
    assert np.ptp(frames[0][:-CAPTION_HEIGHT].astype(int)) > 60, "the picture shows something"
    assert (frames[0][-CAPTION_HEIGHT:] > 180).any(), "there is text in the caption"

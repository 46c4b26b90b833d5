"""Noise of simulated images: as strong as asked for, and never twice the same."""

import numpy as np

from humanoid_control.simulation.image_noise import ImageNoise

GREY = np.full((360, 640, 3), 128, np.uint8)


def test_it_is_as_strong_as_asked_for_and_changes_from_image_to_image():
    noise = ImageNoise(np.random.default_rng(0), deviation=3.0)
    first, second = (noise.added_to(GREY).astype(int) for _ in range(2))
    assert 2.8 < np.std(first) < 3.1 and abs(first.mean() - 128) < 0.5
    assert (first != second).mean() > 0.5
    assert (GREY == 128).all()


def test_it_ends_at_black_and_white():
    noise = ImageNoise(np.random.default_rng(0), deviation=20.0)
    assert noise.added_to(np.zeros_like(GREY)).max() < 150 and noise.added_to(np.full_like(GREY, 255)).min() > 100


def test_large_images_have_it_all_over():
    image = ImageNoise(np.random.default_rng(0)).added_to(np.full((1080, 1920, 3), 128, np.uint8))
    assert all(np.std(part) > 2.5 for part in np.array_split(image, 8))


def test_none_leaves_images_as_they_are():
    assert (ImageNoise(np.random.default_rng(0), deviation=0.0).added_to(GREY) == GREY).all()

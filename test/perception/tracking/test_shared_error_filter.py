"""A filter that averages what is drawn anew, and no more than that."""

import numpy as np
import pytest

from perception.tracking.shared_error_filter import Measurement, SharedErrorFilter, similarity

WHITE, SHARED = 0.01, 0.02


def measurement(innovation, *, source="camera", kept=1.0):
    return Measurement(source, np.array([innovation]), np.eye(1), np.array([[WHITE**2]]), np.array([[SHARED]]), np.eye(1),
                       np.array([kept]))  # fmt: skip


def run(random, count, *, kept=1.0, sources=1):
    """The filter's error and variance after `count` measurements of 0 from each source."""
    state = SharedErrorFilter(np.array([random.normal(0.0, 1.0)]), np.eye(1))
    bias = random.normal(size=sources)
    for _ in range(count):
        for index in range(sources):
            bias[index] = kept * bias[index] + np.sqrt(1 - kept**2) * random.normal()
            value = SHARED * bias[index] + WHITE * random.normal()
            state.correct(measurement(value - state.mean[0], source=str(index), kept=kept))
    return float(state.mean[0]), float(state.covariance[0, 0])


def test_a_thousand_images_with_one_error_are_no_surer_than_that_error():
    _, variance = run(np.random.default_rng(0), 1000)
    assert np.sqrt(variance) == pytest.approx(SHARED, rel=0.05)


def test_two_sources_are_surer_than_one():
    _, variance = run(np.random.default_rng(0), 500, sources=2)
    assert np.sqrt(variance) == pytest.approx(SHARED / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize(("kept", "sources"), [(1.0, 1), (1.0, 3), (0.9, 1), (0.5, 2), (0.0, 1)])
def test_the_variance_is_that_of_the_errors(kept, sources):
    random = np.random.default_rng(1)
    errors = np.array([run(random, 30, kept=kept, sources=sources) for _ in range(300)])
    normalised = errors[:, 0] ** 2 / errors[:, 1]
    assert 0.8 < normalised.mean() < 1.25


def test_without_a_shared_error_it_is_a_kalman_filter():
    state = SharedErrorFilter(np.zeros(1), np.eye(1))
    for value in (1.0, 2.0, 3.0):
        state.correct(Measurement("camera", np.array([value - state.mean[0]]), np.eye(1), np.eye(1), np.zeros((1, 1)), np.eye(1),
                                  np.ones(1)))  # fmt: skip
    assert state.mean[0] == pytest.approx(6 / 4)
    assert state.covariance[0, 0] == pytest.approx(1 / 4)


def test_views_grow_apart_with_angle_and_distance():
    def alike(view, last):
        return similarity(np.array(view), None if last is None else np.array(last), angle=0.1, ratio=0.1)

    assert alike([1.0, 0, 1.0], [1.0, 0, 1.0]) == pytest.approx(1.0)
    assert alike([1.0, 0, 1.0], None) == 0.0
    assert alike([1.01, 0.01, 1.0], [1.0, 0, 1.0]) == 1.0
    assert 0.0 < alike([1.0, 0.3, 1.0], [1.0, 0, 1.0]) < alike([1.0, 0.1, 1.0], [1.0, 0, 1.0]) < 1.0
    assert alike([1.5, 0, 1.5], [1.0, 0, 1.0]) < alike([1.1, 0, 1.1], [1.0, 0, 1.0])

"""The edge network: that it learns what an edge is, and that what is exported reads strips as it was taught."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from perception.edges import ACROSS, BINS, NETWORK, EdgeFinder  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.training.edge_network import EdgeTask, example  # noqa: E402
from perception.training.edge_strips import Strips  # noqa: E402
from perception.training.train import Run, TrainingOptions  # noqa: E402
from perception.training.export import export_network  # noqa: E402
from perception.training.train_edges import train_edges  # noqa: E402

torch.set_num_threads(1)


def made_strips(count: int, seed: int) -> Strips:
    """Bright above the edge and dark below it, or one brightness where there is none."""
    rng = np.random.default_rng(seed)
    offsets = rng.uniform(-20.0, 20.0, count).astype(np.float32)
    offsets[rng.random(count) < 0.3] = np.nan
    middles = np.arange(BINS) + 0.5 - BINS / 2
    images = np.full((count, BINS, ACROSS, 3), 120.0)
    for k in np.flatnonzero(~np.isnan(offsets)):
        share = 1 / (1 + np.exp(2.0 * (middles - offsets[k])))
        images[k] = (40 + 160 * share)[:, None, None]
    return Strips((images + rng.normal(0, 4, images.shape)).clip(0, 255).astype(np.uint8), offsets)


def export(network, folder):
    return export_network(NETWORK, network, {"strips": example()}, folder, output_names=("logits",), card={})


def test_learns_where_edges_are():
    task = EdgeTask(made_strips(256, 0), "cpu")
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(task.network.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        loss, _ = task.loss(task.batch(task.epoch(rng)[:64], rng, vary=True))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:3])


def test_exported_network_reads_strips_as_the_trained_one(tmp_path):
    run = Run("edges", EdgeTask, made_strips(64, 0), made_strips(32, 1), tmp_path, TrainingOptions(minutes=0.01, batch=32))
    network = run.averaged_network()
    export(network, tmp_path)
    strips = made_strips(20, 2).images
    reach = 12.0
    offsets, deviations, likely = EdgeFinder(tmp_path, deviation_factor=1.0, deviation_floor=0.0).read(strips, reach)
    with torch.no_grad():
        logits = network(torch.from_numpy(strips.transpose(0, 3, 1, 2).astype(np.float32) / 255.0))
    rows = (torch.arange(BINS) + 0.5) * 2 * reach / BINS - reach
    places = logits[:, :BINS].softmax(1)
    np.testing.assert_allclose(offsets, (places * rows).sum(1).numpy(), atol=1e-3)
    np.testing.assert_allclose(likely, logits[:, BINS].sigmoid().numpy(), atol=1e-4)
    assert (deviations > 0).all()


def test_time_that_is_none_is_refused(tmp_path):
    with pytest.raises(PerceptionError, match="minutes must be more than 0"):
        train_edges(tmp_path, tmp_path, images=1, minutes=0.0)


def test_changed_network_is_refused_with_its_hash(tmp_path):
    run = Run("edges", EdgeTask, made_strips(64, 0), made_strips(32, 1), tmp_path, TrainingOptions(minutes=0.01, batch=32))
    path = export(run.averaged_network(), tmp_path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PerceptionError, match="sha256 [0-9a-f]{64}"):
        EdgeFinder(tmp_path)

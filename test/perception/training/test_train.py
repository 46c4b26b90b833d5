"""Training: learns, stops and goes on, and exports what it learnt."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from humanoid_control.errors import SimulationError  # noqa: E402
from perception.detector import ToteDetector  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.keypoints import HALF_TURN, KINDS  # noqa: E402
from perception.training.export import export_detector, parity  # noqa: E402
from perception.training.generate import generate  # noqa: E402
from perception.training.networks import CornerNet, CornerNetForExport, Finder  # noqa: E402
from perception.training.samples import Prepared, prepare  # noqa: E402
from perception.training.train import (  # noqa: E402
    TASKS,
    CornerTask,
    Run,
    TrainingOptions,
    choose_device,
    finder_targets,
    train,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    patch = pytest.MonkeyPatch()
    patch.setattr("perception.training.generate.SHARD_IMAGES", 12)
    try:
        generate(folder, images=24, seed=2, progress=False)
    except SimulationError as error:
        pytest.skip(str(error))
    finally:
        patch.undo()
    return folder


@pytest.fixture(scope="module")
def cut(data):
    prepare(data, data / "prepared")
    return Prepared(data / "prepared")


def options(seconds: float) -> TrainingOptions:
    return TrainingOptions(minutes=seconds / 60, batch=8)


def test_finder_targets_have_one_peak_a_tote_and_boxes_that_lead_back():
    boxes = np.array([[20.0, 30, 80, 70], [100, 40, 180, 100], [10, 100, 14, 104]])
    targets = finder_targets(boxes, np.array([True, True, False]))
    assert (targets["map"] == 1).sum() == 2
    row, column = max(np.argwhere(targets["map"] == 1), key=lambda place: place[1])
    x, y = (column + 0.5) * 4 - 0.5, (row + 0.5) * 4 - 0.5
    left, top, right, bottom = targets["box"][:, row, column]
    assert np.allclose([x - left, y - top, x + right, y + bottom], boxes[1], atol=1e-4)
    assert targets["learnt"][26, 3] == 0 and targets["learnt"][row, column] == 1


@pytest.mark.parametrize("name", ["finder", "corners"])
def test_learns_and_goes_on_after_a_stop(name, cut, tmp_path):
    run = Run(name, TASKS[name], cut, cut, tmp_path, options(4.0))
    seen = []
    run.train(lambda progress, figures: seen.append(figures["loss"]))
    assert run.progress.curve and np.isfinite(run.progress.curve[-1]["check_loss"])
    again = Run(name, TASKS[name], cut, cut, tmp_path, options(run.progress.trained_s + 2.0))
    assert again.resume() and again.progress.steps == run.progress.steps
    before = [p.clone() for p in again.averaged_network().parameters()]
    for old, new in zip(run.averaged_network().parameters(), before):
        assert torch.equal(old, new)
    again.train()
    assert again.progress.steps > run.progress.steps
    assert again.progress.curve[-1]["check_loss"] < run.progress.curve[0]["check_loss"] + 1.0


def test_damaged_checkpoint_is_refused(cut, tmp_path):
    run = Run("corners", TASKS["corners"], cut, cut, tmp_path, options(0.1))
    assert not run.resume()
    (tmp_path / "corners.pt").write_bytes(b"no checkpoint")
    with pytest.raises(PerceptionError, match="corners.pt cannot be resumed"):
        run.resume()


def test_where_half_a_turn_cannot_be_told_either_answer_costs_the_same(cut):
    task = CornerTask(cut, "cpu")
    rng = np.random.default_rng(0)
    totes = np.flatnonzero(cut.crop_labels.kind >= 0)[:8]
    batch = task.batch(totes, rng, vary=False)
    turned = dict(batch)
    for name in ("corners", "weight", "visible"):
        turned[name] = batch[name][:, HALF_TURN]
    for ambiguous in (True, False):
        batch["ambiguous"][:] = turned["ambiguous"][:] = ambiguous
        task.network.eval()
        with torch.no_grad():
            losses = [task.loss(b)[0].item() for b in (batch, turned)]
        assert (abs(losses[0] - losses[1]) < 1e-4) == ambiguous


def test_exported_network_computes_the_same(tmp_path):
    torch.manual_seed(0)
    network = CornerNet().eval()
    path = export_detector("corners", network, tmp_path, card={})
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 96, 128, 3), np.uint8))
    assert parity(path, CornerNetForExport(network), {"image": images}) < 1e-3
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["kinds"] == list(KINDS) and card["bytes"] < 10 * 2**20


def test_one_command_gives_models_that_the_detector_takes(data, tmp_path):
    train(data, tmp_path, minutes=0.1, device="cpu")
    for name in ("tote_finder", "tote_corners"):
        card = json.loads((tmp_path / f"{name}.json").read_text())
        assert card["data_hash"] and "--minutes 0.1" in card["command"] and card["not_trained_on"]
    from perception.detector import Calibration

    ToteDetector(tmp_path, calibration=Calibration())
    assert (tmp_path / "corners_curve.png").stat().st_size > 1000


def test_what_cannot_be_is_refused(data, tmp_path):
    with pytest.raises(PerceptionError, match="minutes must be more than 0"):
        train(data, tmp_path, minutes=0.0)
    with pytest.raises(PerceptionError, match="holds no shards"):
        train(tmp_path, tmp_path / "out", minutes=1.0, device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(PerceptionError, match="no GPU here"):
            choose_device("cuda")


def test_networks_are_small_enough_to_ship_and_take_any_batch():
    for network, size in ((Finder(), (144, 256)), (CornerNet(), (96, 128))):
        assert sum(p.numel() for p in network.parameters()) * 4 < 10 * 2**20
        outputs = network.eval()(torch.zeros((2, *size, 3), dtype=torch.uint8))
        assert all(len(output) == 2 and torch.isfinite(output).all() for output in outputs)

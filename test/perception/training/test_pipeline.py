"""The plan of a training, what of it is done already, and the order of its steps."""

import json
import shutil

import pytest

pytest.importorskip("torch")

from humanoid_control import cli  # noqa: E402
from humanoid_control.errors import ConfigurationError  # noqa: E402
from perception.detector import CALIBRATION  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.network_file import DEFAULT_FOLDER  # noqa: E402
from perception.training import generate, measure, pipeline, train, train_edges  # noqa: E402
from perception.training.pipeline import is_calibrated, load_plan, steps  # noqa: E402


def plan_of(tmp_path, text: str, **given):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return load_plan(path, **given)


def test_what_a_file_leaves_out_is_as_by_default(tmp_path):
    default, plan = load_plan(), plan_of(tmp_path, "images: {training: 400}\nminutes: {edges: 2.5}\n", device="cpu", workers=None)
    assert plan.images == default.images | {"training": 400}
    assert plan.minutes == default.minutes | {"edges": 2.5}
    assert (plan.device, plan.workers, plan.data) == ("cpu", default.workers, default.data)


@pytest.mark.parametrize("text, named", [
    ("minuts: {edges: 1}", "no key 'minuts'; allowed: data, out, workers"),
    ("minutes: {edge: 1}", "no key 'minutes.edge'; allowed: detector, edges"),
    ("minutes: 3", "minutes is 3; of it detector, edges can be given"),
    ("minutes: {edges: 0}", "minutes.edges is 0; a number from 0.001"),
    ("images: {training: 10}", "images.training is 10; a whole number from 200"),
    ("images: {training: 400.5}", "images.training is 400.5; a whole number"),
    ("workers: yes", "workers is True; a whole number from 1"),
    ("device: tpu", "device is 'tpu'; allowed: auto, cpu, cuda"),
    ("data: 7", "data is 7; the name of a folder"),
    ("seeds: {held_out: 1}", "seeds.held_out and seeds.training are both 1"),
    ("- 1", "holds list; keys with values are needed"),
    ("a: [", "is no YAML"),
])  # fmt: skip
def test_a_wrong_plan_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(ConfigurationError) as error:
        plan_of(tmp_path, text)
    assert named in str(error.value) and "\n" not in str(error.value)


def test_networks_keep_their_calibration_and_others_get_one(tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(DEFAULT_FOLDER, folder)
    assert is_calibrated(folder)
    told = json.loads((folder / CALIBRATION).read_text())
    told["networks"]["corners"] = "0" * 64
    (folder / CALIBRATION).write_text(json.dumps(told))
    assert not is_calibrated(folder)
    (folder / CALIBRATION).unlink()
    assert not is_calibrated(folder)
    (folder / "tote_corners.onnx").unlink()
    with pytest.raises(PerceptionError, match="tote_corners"):
        is_calibrated(folder)


@pytest.fixture
def called(monkeypatch):
    """Calls of the steps' functions, which do nothing."""
    calls = []

    def note(name):
        return lambda *arguments, **options: calls.append((name, arguments, options))

    for module, name in ((generate, "generate"), (train, "train"), (measure, "calibrate"), (measure, "match"), (train_edges, "train_edges")):
        monkeypatch.setattr(module, name, note(name))
    monkeypatch.setattr(measure, "ToteDetector", lambda folder: folder)
    monkeypatch.setattr(measure, "figures", lambda _: {"images": 0})
    monkeypatch.setattr(pipeline, "is_calibrated", lambda _: False)
    return calls


def test_steps_come_in_an_order_in_which_each_has_what_it_needs(tmp_path, called):
    plan = load_plan(data=str(tmp_path / "data"), out=str(tmp_path), device="cpu")
    for step in steps(plan, say=print, show=lambda done, total: None):
        step.run()
    assert [name for name, _, _ in called] == ["generate", "train", "train_edges", "generate", "calibrate", "generate", "match"]
    looks = [(arguments[0].name, options["look"], options["seed"]) for name, arguments, options in called if name == "generate"]
    assert looks == [("training", "training", 1), ("calibration", "training", 700), ("held_out", "held_out", 503)]
    by_name = {name: (arguments, options) for name, arguments, options in called}
    assert by_name["train"][1]["resume"] and by_name["train_edges"][1]["resume"]
    assert by_name["train"][0][1] == by_name["train_edges"][0][1] == by_name["calibrate"][0][0] == tmp_path
    assert by_name["match"][0][1].name == "held_out" and by_name["calibrate"][0][1].name == "calibration"
    assert json.loads((tmp_path / pipeline.FIGURES).read_text()) == {"images": 0}


def test_a_device_that_is_not_there_is_refused_before_anything_is_made(tmp_path, called, monkeypatch):
    monkeypatch.setattr(train.torch.cuda, "is_available", lambda: False)
    with pytest.raises(PerceptionError, match="device cuda: PyTorch sees no GPU here"):
        steps(load_plan(data=str(tmp_path / "data"), device="cuda"), say=print, show=lambda done, total: None)
    assert not called and not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments, named", [
    (("--config", "/no/such.yaml"), "/no/such.yaml cannot be read"),
    (("--device", "tpu"), "device is 'tpu'"),
    (("--workers", "0"), "workers is 0"),
    (("--out", "/proc/none"), "/proc/none cannot be made"),
])  # fmt: skip
def test_a_users_mistake_is_one_line_that_names_it(capsys, tmp_path, arguments, named):
    assert cli.main(["train", "perception", "--data", str(tmp_path / "data"), *arguments]) == cli.EXIT_ERROR
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1 and named in errors

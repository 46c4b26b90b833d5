"""What the tests of demonstrations share: made-up ones, which need no simulation, and one that is real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from humanoid_control.film import Film
from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import RobotModel
from policies.data import schema
from policies.data.demonstration import Demonstration, demonstrate
from policies.data.frame_cameras import FrameCameras
from policies.data.lerobot_dataset import Format, append
from policies.data.staging import PackedEpisode, Staging, pack

ROOT = Path(__file__).resolve().parents[3]
LINE_SIDE = ROOT / "config" / "factories" / "line_side.yaml"
REAL_SEED, REAL_SIZE, REAL_NOISE = 11, (64, 36), 0.3
FPS, WIDTH, HEIGHT = 10, 64, 48
SUBTASKS = ("approach", "reach", "grip", "lift", "carry")
RECORD = {"seed": 0, "factory": "made_up", "factory_sha256": "0" * 64, "noise": 0.2, "layouts": "", "model_sha256": "1" * 64,
          "code_sha256": "2" * 64, "versions": "{}", "wall_s": 1.0}  # fmt: skip


@pytest.fixture(scope="session")
def columns():
    return schema.frame_columns(RobotModel.load())


def image_of(frame: int, camera: int) -> np.ndarray:
    """An image that tells its frame and camera by its brightness."""
    return np.full((HEIGHT, WIDTH, 3), 20 + 5 * (frame % 40) + 10 * camera, np.uint8)


class MakeUp:
    """Makes demonstrations up, and stages them."""

    def __init__(self, columns) -> None:
        self.columns = columns

    def demonstration(self, seed: int, *, frames: int = 12, cameras: tuple[str, ...] = (), outcome: str = "success") -> Demonstration:
        rng = np.random.default_rng(seed)
        made = Demonstration(0, "bring a klt_3147 from a table to a conveyor", outcome, "t1 stands on outfeed", "step_back", "", 40.0 + seed)
        for column in self.columns:
            if column.dtype == "string":
                made.columns[column.name] = [f"{column.name} {frame}" for frame in range(frames)]
            else:
                shape = (frames,) if len(column.names) == 1 else (frames, len(column.names))
                made.columns[column.name] = rng.uniform(-1, 1, shape).astype(column.dtype)
        made.columns[schema.SUBTASK] = [SUBTASKS[len(SUBTASKS) * frame // frames] for frame in range(frames)]
        made.columns[schema.CLEAN_STEPS] = np.arange(frames, 0, -1)
        made.image_age_s = np.full(frames if cameras else 0, 0.06)
        for number, camera in enumerate(cameras):
            film = Film(width=WIDTH, height=HEIGHT, rate_hz=FPS)
            for frame in range(frames):
                film.add(image_of(frame, number))
            made.films[camera], histogram, sampled = film.finish()
            made.histograms[camera] = histogram, sampled
        return made

    def episode(self, seed: int, *, keep_failures: bool = True, name: str = "made_up", **kind) -> PackedEpisode:
        return pack(f"{name}_{seed:06d}", RECORD | {"seed": seed}, [self.demonstration(seed, **kind)], columns=self.columns,
                    keep_failures=keep_failures)  # fmt: skip

    def format(self, cameras: tuple[str, ...] = ()) -> Format:
        return Format(FPS, cameras, WIDTH, HEIGHT, self.columns)

    def data_set(self, folder: Path, seeds, *, cameras: tuple[str, ...] = (), **kind) -> Path:
        """Adds episodes to the data set in a folder."""
        staging = Staging(folder)
        for seed in seeds:
            staging.put(self.episode(seed, cameras=cameras, **kind))
        append(folder, staging, self.format(cameras))
        staging.remove(staging.names())
        return folder


@pytest.fixture(scope="session")
def make_up(columns) -> MakeUp:
    return MakeUp(columns)


def carry_out(seed: int, *, noise: float = REAL_NOISE, camera: bool = True) -> list[Demonstration]:
    model, factory = RobotModel.load(), load_factory(LINE_SIDE)
    cameras = FrameCameras(("head_camera",), width=REAL_SIZE[0], height=REAL_SIZE[1], rate_hz=FPS) if camera else None
    try:
        return demonstrate(model, factory, seed, rate_hz=FPS, noise=noise, cameras=cameras)
    finally:
        if cameras is not None:
            cameras.close()


@pytest.fixture(scope="session")
def real(columns) -> Demonstration:
    """An order of the demo's factory, carried out with noise, seen by one small camera."""
    (made,) = carry_out(REAL_SEED)
    return made


def edit_json(path: Path, change) -> None:
    """Changes a file of JSON."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def line_side_file() -> Path:
    return LINE_SIDE

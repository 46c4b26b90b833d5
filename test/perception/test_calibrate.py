"""The whole of a calibration in simulation: what is left of the mounting errors."""

import numpy as np
import pytest

from humanoid_control.cli import main
from humanoid_control.errors import SimulationError
from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import PACKAGE_ROOT, RobotModel
from humanoid_control.simulation.cameras import open_gl_context
from perception.calibrate import calibrate_in_simulation


@pytest.fixture(autouse=True)
def _with_gl():
    try:
        open_gl_context(16, 16).free()
    except SimulationError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_what_is_left_is_well_below_a_millimetre_and_a_tenth_of_a_degree(tmp_path):
    model = RobotModel.load()
    result = calibrate_in_simulation(model, load_factory(PACKAGE_ROOT / "config/factories/line_side.yaml"), 5)
    for name, estimate in result.estimates.items():
        assert not estimate.problem, name
        left, turned = result.left_over(name)
        assert left < 5e-4, name
        assert np.degrees(turned) < 0.06, name
        error = estimate.error - result.truth[name]
        assert error @ np.linalg.solve(estimate.covariance, error) < 22.5, name  # 99.9% of chi-squared with 6


def test_too_few_postures_are_no_success(tmp_path, capsys):
    out = tmp_path / "cameras.yaml"
    assert main(["calibrate", "--factory", str(PACKAGE_ROOT / "config/factories/line_side.yaml"), "--postures", "2", "--out", str(out)]) == 1
    assert "at least 5 are needed" in capsys.readouterr().err
    assert not out.exists()

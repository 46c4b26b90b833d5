"""How the cameras really sit on the robot: estimated from tags it sees at known places, with covariance and a verdict.

All views of all cameras are explained at once: by a mounting error of each camera and by how far off each target sits on
what it is fixed to. A view is one target in one image; kinematics err a little anew in each posture, which is what
keeps many corners in one view from counting as many views.

Gauss-Newton with Huber weights by view (Huber 1964); the information matrix at the end gives the covariance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import rotation_of_vector, rotation_vector
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig, mounting_transform
from perception.errors import PerceptionError

PRIOR = np.repeat([0.05, 0.2], 3)  # m, rad: all that is known of a mounting error before
KINEMATICS = np.repeat([3e-4, 5e-4], 3)  # m, rad: how far off the arms' forward kinematics is, posture by posture
MIN_VIEWS = 5
MAX_DEVIATION = np.repeat([1e-3, 1.7e-3], 3)  # m, rad (0.1 degrees) of a mounting error that is known well enough
MAX_CHI2 = 4.0
HUBER = 2.0  # of a view's error over its expectation
ITERATIONS = 30
OUTLIER_CHI2 = 12.0  # of a view's corners: something hid one of them, or it was no tag
MAX_OUTLIER_SHARE = 0.34  # of a camera's views: a hand hides a corner now and then; wrong tags or intrinsics spoil most
FILE_VERSION = 1


@dataclass(frozen=True, eq=False)
class TargetView:
    """One target in one image.

    Attributes:
        camera: its name.
        target: name of what carries the points.
        points: (N, 3) m in the target's frame.
        pixels: (N, 2).
        deviation: px of each coordinate.
        base_from_nominal: (4, 4) of the camera's optical frame by kinematics alone, without mounting error.
        base_from_target: (4, 4) of the target, by kinematics alone.
    """

    camera: str
    target: str
    points: np.ndarray
    pixels: np.ndarray
    deviation: float
    base_from_nominal: np.ndarray
    base_from_target: np.ndarray


@dataclass(frozen=True, eq=False)
class MountingEstimate:
    """What is known of one camera's mounting.

    Attributes:
        error: (6,) as `CameraRig` has it: m, rad.
        covariance: (6, 6).
        views: how many told it.
        outliers: how many others did not fit.
        residual: px, root mean square over their corners.
        chi2: squared error of a view over its expectation, mean.
        problem: why it cannot be relied upon; empty if it can.
    """

    error: np.ndarray
    covariance: np.ndarray
    views: int = 0
    outliers: int = 0
    residual: float = 0.0
    chi2: float = 0.0
    problem: str = ""

    @property
    def deviations(self) -> np.ndarray:
        """(6,) standard deviations in m and rad."""
        return np.sqrt(np.diag(self.covariance))


@dataclass
class _Unknowns:
    """Where each unknown stands in the vector of all, and its transform now."""

    names: list[str]
    priors: list[np.ndarray]
    values: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.values = [np.zeros(6) for _ in self.names]

    def block(self, name: str) -> slice:
        start = 6 * self.names.index(name)
        return slice(start, start + 6)

    def value(self, name: str) -> np.ndarray:
        return self.values[self.names.index(name)]

    def move(self, step: np.ndarray) -> None:
        for index, value in enumerate(self.values):
            part = step[6 * index : 6 * index + 6]
            turned = rotation_of_vector(part[3:]) @ rotation_of_vector(value[3:])
            self.values[index] = np.concatenate([value[:3] + part[:3], rotation_vector(turned)])


def estimate_mounting(
    views: Sequence[TargetView], cameras: Mapping[str, CameraModel], *, targets: Mapping[str, np.ndarray],
    kinematics: np.ndarray = KINEMATICS,
) -> dict[str, MountingEstimate]:  # fmt: skip
    """Returns the mounting error of each camera.

    Args:
        views: of all cameras.
        cameras: intrinsics by name.
        targets: (6,) by target, standard deviations (m, rad) of where it sits on what it is fixed to; large where that
            is not known.
        kinematics: (6,) standard deviations (m, rad) of a target's pose by kinematics, anew in each view.

    Raises:
        PerceptionError: a view is of an unknown camera or target.
    """
    for view in views:
        if view.camera not in cameras or view.target not in targets:
            raise PerceptionError(f"a view of target '{view.target}' by camera '{view.camera}': unknown; there are targets "
                                  f"{', '.join(targets)} and cameras {', '.join(cameras)}")  # fmt: skip
    names = [f"camera/{name}" for name in cameras] + [f"target/{name}" for name in targets]
    unknowns = _Unknowns(names, [PRIOR] * len(cameras) + [np.asarray(prior, float) for prior in targets.values()])
    errors = _fit(views, cameras, unknowns, kinematics)[1]
    kept = [view for view, (chi2, _) in zip(views, errors, strict=True) if chi2 <= OUTLIER_CHI2]
    information, errors = _fit(kept, cameras, unknowns, kinematics)
    covariance = np.linalg.inv(information)
    return {name: _verdict(name, views, kept, errors, unknowns, covariance) for name in cameras}


def _fit(views, cameras, unknowns: _Unknowns, kinematics: np.ndarray):
    """Moves the unknowns to where they explain the views best; returns their information matrix and each view's errors."""
    for _ in range(ITERATIONS):
        information, gradient, _ = _normal_equations(views, cameras, unknowns, kinematics)
        step = -np.linalg.solve(information, gradient)
        unknowns.move(step)
        if np.abs(step).max() < 1e-8:
            break
    information, _, errors = _normal_equations(views, cameras, unknowns, kinematics)
    return information, errors


def _normal_equations(views, cameras, unknowns: _Unknowns, kinematics: np.ndarray):
    """Information matrix and gradient of all unknowns, and for each view its chi-squared over expectation and px squared."""
    size = 6 * len(unknowns.names)
    information, gradient = np.zeros((size, size)), np.zeros(size)
    for index, (prior, value) in enumerate(zip(unknowns.priors, unknowns.values, strict=True)):
        block = slice(6 * index, 6 * index + 6)
        information[block, block] = np.diag(prior**-2)
        gradient[block] = value / prior**2
    errors = []
    for view in views:
        camera_block, target_block = unknowns.block(f"camera/{view.camera}"), unknowns.block(f"target/{view.target}")
        residual, by_camera, by_target = _residual(
            view, cameras[view.camera], unknowns.values[camera_block.start // 6], unknowns.values[target_block.start // 6])
        if residual is None:
            errors.append((np.inf, np.inf))
            continue
        # Kinematics move a target as its own offset does, anew in each view.
        spread = view.deviation**2 * np.eye(len(residual)) + (by_target * kinematics**2) @ by_target.T
        weight = np.linalg.inv(spread)
        chi2 = float(residual @ weight @ residual) / len(residual)
        errors.append((chi2, float(residual @ residual) / (len(residual) / 2)))
        weight *= min(1.0, HUBER / np.sqrt(max(chi2, 1e-12)))
        jacobian = np.zeros((len(residual), 12))
        jacobian[:, :6], jacobian[:, 6:] = by_camera, by_target
        rows = np.r_[camera_block, target_block]
        information[np.ix_(rows, rows)] += jacobian.T @ weight @ jacobian
        gradient[rows] += jacobian.T @ weight @ residual
    return information, gradient, errors


def _residual(view: TargetView, camera: CameraModel, mounting: np.ndarray, offset: np.ndarray):
    """(2 N,) px and its derivatives (2 N, 6) by mounting error and by the target's offset; Nones behind the camera."""
    mounted, turned = mounting_transform(mounting), rotation_of_vector(offset[3:])
    on_target = view.points @ turned.T
    nominal_from_target = np.linalg.solve(view.base_from_nominal, view.base_from_target)
    in_nominal = (on_target + offset[:3]) @ nominal_from_target[:3, :3].T + nominal_from_target[:3, 3]
    from_camera = in_nominal - mounted[:3, 3]
    points = from_camera @ mounted[:3, :3]
    pixels, valid = camera.project(points)
    if not valid.all():
        return None, None, None
    by_point = camera.projection_jacobian(points) @ mounted[:3, :3].T  # by the point in the nominal frame
    by_target_point = by_point @ nominal_from_target[:3, :3]
    by_camera = np.concatenate([-by_point, by_point @ _cross(from_camera)], axis=2)
    by_target = np.concatenate([by_target_point, -by_target_point @ _cross(on_target)], axis=2)
    return (pixels - view.pixels).ravel(), by_camera.reshape(-1, 6), by_target.reshape(-1, 6)


def _cross(vectors: np.ndarray) -> np.ndarray:
    """(N, 3, 3) matrices whose product with w is the cross product of a vector with w."""
    zero = np.zeros(len(vectors))
    x, y, z = vectors.T
    return np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)


def _verdict(name, views, kept, errors, unknowns: _Unknowns, covariance: np.ndarray) -> MountingEstimate:
    block = unknowns.block(f"camera/{name}")
    own = [error for view, error in zip(kept, errors, strict=True) if view.camera == name]
    outliers = sum(view.camera == name for view in views) - len(own)
    chi2 = float(np.mean([error[0] for error in own])) if own else 0.0
    residual = float(np.sqrt(np.mean([error[1] for error in own]))) if own else 0.0
    spread = covariance[block, block] * max(1.0, min(chi2, 1e3))
    deviations = np.sqrt(np.diag(spread))
    error = unknowns.value(f"camera/{name}")
    problem = ""
    if outliers > max(1, MAX_OUTLIER_SHARE * (len(own) + outliers)):
        problem = f"{outliers} of {len(own) + outliers} views do not fit the others: a wrong tag, size or intrinsics?"
    elif len(own) < MIN_VIEWS:
        problem = f"seen in {len(own)} views; at least {MIN_VIEWS} are needed"
    elif not chi2 <= MAX_CHI2:
        problem = f"views contradict each other: {residual:.2f} px, squared error {chi2:.1f} times its expectation"
    elif (deviations > MAX_DEVIATION).any():
        worst = int(np.argmax(deviations / MAX_DEVIATION))
        label = ("x", "y", "z", "turn about x", "turn about y", "turn about z")[worst]
        value = f"{1e3 * deviations[worst]:.2f} mm" if worst < 3 else f"{np.degrees(deviations[worst]):.2f} degrees"
        problem = f"the views do not tell its {label}: {value} uncertain; show the target nearer, further and turned"
    return MountingEstimate(error, spread, len(own), outliers, residual, chi2, problem)


# --- the file -----------------------------------------------------------------------------------------------------


MEASURED = "How the cameras sit on this robot, as `humanoid calibrate` estimated it."


def save_mounting(path: Path | str, estimates: Mapping[str, MountingEstimate], *, note: str = MEASURED) -> None:
    """Writes a calibration file.

    Args:
        path: of the file.
        estimates: by camera.
        note: where they come from, for people who read the file.

    Raises:
        PerceptionError: it cannot be written.
    """
    cameras = {name: {"error": [float(x) for x in estimate.error], "covariance": estimate.covariance.tolist(),
                      "views": estimate.views, "residual_px": round(estimate.residual, 4)}
               for name, estimate in estimates.items()}  # fmt: skip
    text = ("".join(f"# {line}\n" for line in note.splitlines())
            + "# Translation (m) and rotation vector (rad) in the optical frame the URDF gives.\n"
            + yaml.safe_dump({"version": FILE_VERSION, "cameras": cameras}, sort_keys=False))  # fmt: skip
    try:
        Path(path).write_text(text)
    except OSError as error:
        raise PerceptionError(f"{path}: cannot be written: {error.strerror}") from None


def load_mounting(path: Path | str) -> dict[str, MountingEstimate]:
    """Returns what a calibration file says of each camera.

    Raises:
        ConfigurationError: it cannot be read, or is none.
    """
    try:
        data = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or data.get("version") != FILE_VERSION or not isinstance(data.get("cameras"), dict):
        raise ConfigurationError(f"{path}: no calibration file: needs 'version: {FILE_VERSION}' and 'cameras'")
    estimates = {}
    for name, entry in data["cameras"].items():
        try:
            error, covariance = np.array(entry["error"], float), np.array(entry["covariance"], float)
            views, residual = int(entry.get("views", 0)), float(entry.get("residual_px", 0.0))
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ConfigurationError(f"{path}: cameras.{name}: needs error and covariance as numbers; {problem}") from None
        if (error.shape != (6,) or covariance.shape != (6, 6) or not np.isfinite(error).all()
                or not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance)[0] < 0):  # fmt: skip
            raise ConfigurationError(f"{path}: cameras.{name}: needs 6 numbers and a covariance of 6 x 6")
        estimates[name] = MountingEstimate(error, covariance, views, residual=residual)
    return estimates


def rig_from_file(model: RobotModel, cameras: Iterable[str], path: Path | str = "") -> tuple[CameraRig, tuple[str, ...]]:
    """Returns the cameras of a robot, whose intrinsics are not known yet, and which of them nobody has calibrated.

    Args:
        model: the robot.
        cameras: those that are used; a calibration file may tell of more.
        path: calibration file; empty: none, and mountings are the URDF's, with the covariance of that.

    Raises:
        ConfigurationError: the robot has no such camera, or the file cannot be read, or is none.
    """
    rig = CameraRig(model, dict.fromkeys(cameras))
    estimates = load_mounting(path) if path else {}
    for name in rig.cameras:
        if name in estimates:
            rig.set_mounting(name, estimates[name].error, covariance=estimates[name].covariance)
    return rig, tuple(name for name in rig.cameras if name not in estimates)

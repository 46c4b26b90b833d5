"""The student: the learned policy that sees its tote itself, by the head's and the wrists' cameras.

Four networks make it: perception's finder and corner network, as they ship, look at images; `tote_sight` makes a place of what they see;
`student_policy`, begun as the teacher, says what to do. Where stations are, and the tote that another shall stand on, perception tells it.
"""

from __future__ import annotations

from pathlib import Path

from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from perception.detector import ToteDetector
from perception.errors import PerceptionError
from perception.network_file import open_network
from policies.learned.eyes import Eyes
from policies.learned.pose_policy import PosePolicy
from policies.learned.sight_space import CAMERAS, SIGHTINGS_NAMES
from policies.learned.tote_sight import SeenTote

NAME, SIGHT = "student_policy", "tote_sight"
DEFAULT = Path(__file__).resolve().parent / "models" / f"{NAME}.onnx"
TRAIN = "train one with `humanoid train student`, and name it with --checkpoint"


def make_student(model: RobotModel, checkpoint: Path | None = None) -> PosePolicy:
    """The student of a checkpoint.

    Args:
        model: the robot.
        checkpoint: `student_policy.onnx`, with `tote_sight.onnx` and both cards beside it; by default what ships.

    Raises:
        ConfigurationError: a network is missing, corrupt, of another robot, of other cameras, or another than it was trained with; with its hash.
    """
    path = checkpoint if checkpoint is not None else DEFAULT
    try:
        detector = ToteDetector()
        network, sight = open_network(SIGHT, path.parent)
    except PerceptionError as error:
        raise ConfigurationError(f"{error}; {TRAIN}") from None
    student = PosePolicy(model, path, name="student", network=NAME, source=SeenTote(model, Eyes(detector), network))
    check_card(path, student.card, {**detector.hashes, SIGHT: sight})
    return student


def check_card(path: Path, card: dict, networks: dict[str, str]) -> None:
    """Refuses a checkpoint that was trained with other eyes than it has.

    Args:
        path: of the checkpoint.
        card: that came with it.
        networks: sha256 of each network of its eyes.

    Raises:
        ConfigurationError: cameras, sightings or a network differ.
    """
    for what, found, needed in (("cameras", card.get("cameras"), list(CAMERAS)), ("sightings", card.get("sightings"), list(SIGHTINGS_NAMES))):
        if found != needed:
            shown = f": {', '.join(map(str, found or []))} instead of {', '.join(needed)}" if what == "cameras" else ""
            raise ConfigurationError(f"{path} (sha256 {card.get('sha256')}) has other {what} than this robot{shown}")
    for name, sha256 in networks.items():
        if card.get("networks", {}).get(name) != sha256:
            raise ConfigurationError(f"{path} (sha256 {card.get('sha256')}) was trained with the network {name} with sha256 "
                                     f"{card.get('networks', {}).get(name)}; this one has {sha256}")  # fmt: skip

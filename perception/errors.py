"""The errors of `perception`."""

from humanoid_control.errors import HumanoidControlError


class PerceptionError(HumanoidControlError):
    """What cameras, their calibration or the networks give cannot be used; its text is fit to be shown to a user."""

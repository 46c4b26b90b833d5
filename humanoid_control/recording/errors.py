"""What goes wrong with records."""

from humanoid_control.errors import HumanoidControlError


class RecordingError(HumanoidControlError):
    """An episode cannot be recorded, read or changed; says which, why, and what to do."""

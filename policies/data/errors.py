"""The error of demonstrations and their data sets."""

from humanoid_control.errors import HumanoidControlError


class DataSetError(HumanoidControlError):
    """A data set cannot be written, is broken, or lacks what it shall hold."""

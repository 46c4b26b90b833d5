"""The errors of `humanoid_control`: one base, and a name for each kind of cause."""


class HumanoidControlError(Exception):
    """Base of all errors this package raises on purpose; its text is fit to be shown to a user."""


class ModelError(HumanoidControlError):
    """The robot's description lacks something or contradicts itself."""


class FactoryError(HumanoidControlError):
    """A factory file is malformed or describes something that cannot be."""


class TargetError(HumanoidControlError):
    """A target is not finite, wrongly framed, wrongly shaped or out of range."""


class SolverError(HumanoidControlError):
    """A solver found no solution; carries what it was given.

    Attributes:
        problem: the problem as the solver saw it, to be inspected or replayed.
    """

    def __init__(self, message: str, problem: object = None) -> None:
        super().__init__(message)
        self.problem = problem


class RobotError(HumanoidControlError):
    """The robot does not answer, refuses, or reports a fault."""


class SimulationError(HumanoidControlError):
    """The simulation cannot be built or rendered here."""


class OrderError(HumanoidControlError):
    """An order cannot be carried out as given."""


class ConfigurationError(HumanoidControlError):
    """A parameter is unknown, missing or out of range."""

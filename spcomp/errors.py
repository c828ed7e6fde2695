"""Every exception of spcomp. Each says what was asked, what was found and what to try."""

from __future__ import annotations


class SpcompError(Exception):
    """Base of all errors that spcomp raises on purpose.

    ``asked``, ``found`` and ``hint`` are kept apart so that a tool can show them apart; ``str(error)``
    joins them into one sentence each.
    """

    def __init__(self, asked: str, found: str, hint: str) -> None:
        self.asked = asked
        self.found = found
        self.hint = hint
        super().__init__(f"{asked}: {found}. Try: {hint}.")

    def __reduce__(self) -> tuple[type[SpcompError], tuple[str, str, str]]:
        return type(self), (self.asked, self.found, self.hint)


class InputError(SpcompError, ValueError):
    """An argument or a model input is not what the call can work with."""


class CaptureError(SpcompError):
    """``torch.export`` could not turn the model into a graph."""


class WeightError(SpcompError, ValueError):
    """A weight cannot be compiled as it is (NaN where a number is needed, no weights at all, wrong dtype)."""


class PatternError(SpcompError, ValueError):
    """A sparsity pattern is malformed or cannot be parsed."""


class EncodingError(SpcompError, ValueError):
    """A tensor cannot be stored in the encoding that was asked for."""


class KernelError(SpcompError, RuntimeError):
    """A kernel could not be generated, compiled or run."""


class PolicyError(SpcompError, RuntimeError):
    """``policy="force"`` asked for a sparse kernel that cannot be had."""


class PlanError(SpcompError, ValueError):
    """A serialized plan is malformed or of another version."""


class PassError(SpcompError, RuntimeError):
    """A graph pass produced an illegal graph, or one that means something else."""


class ArtifactError(SpcompError, ValueError):
    """A saved model is missing, truncated, altered, or of another version."""


class RecipeError(SpcompError, ValueError):
    """A pruning recipe is contradictory or does not fit the model."""


class StateError(SpcompError, RuntimeError):
    """An operation on a compiled module that its state does not allow."""


class SimulationError(SpcompError, RuntimeError):
    """A simulated machine cannot go on: its parts wait for each other."""

"""What makes the epochs of a fit: torch, in this process, or a backend that brings a fitter of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from halocline.errors import TrainingError, UsageError
from halocline.plugin import registry
from halocline.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from halocline.model import Backbone
    from halocline.training.problem import Problem
    from halocline.training.recipe import TrainingSettings
    from halocline.training.samples import Sample

#: The backend that needs no plugin.
TORCH: Final = "torch"


class Fitter(ABC):
    """Fits a copy of a backbone, epoch by epoch.

    Those of backends are made with ``problem``, ``samples`` (the frames to fit, and after them those to
    replay) and their own options by keyword. What they cannot do of a recipe they refuse when they are made.

    Attributes:
        model: with the weights as they are; between epochs, at least.
        average: with the exponential moving average of the weights, likewise. Both can be evaluated on flat edges.
        rate: learning rate of the last step.
    """

    model: Backbone
    average: Backbone
    rate: float = 0.0

    @abstractmethod
    def steps_before(self, epoch: int) -> int:
        """How many steps have been taken when an epoch begins; with the number of epochs, all steps."""

    @abstractmethod
    def run_epoch(self, epoch: int, at_step: Callable[[], bool], *, reductions: int = 0) -> float:
        """See every training frame once.

        Args:
            epoch: its number, from 0. Which frames a step has follows from it; see `Plan`.
            at_step: called before every step; whether to stop there.
            reductions: of the learning rate, because of plateaus before this epoch.

        Returns:
            Mean loss over the steps, each before its step.

        Raises:
            TrainingError: the fit has diverged.
            KeyboardInterrupt: it was to stop.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All that changes from epoch to epoch, by name: exactly this is kept, and goes back into `load`."""

    @abstractmethod
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go back to what `tensors` returned.

        Raises:
            TrainingError: they are those of another backend.
        """


def refuse_foreign(tensors: Iterable[str], kinds: Iterable[str]) -> None:
    """Refuse a state in which another optimiser has kept what this one would leave out.

    Args:
        tensors: their names, which begin with a kind.
        kinds: those that are known, such as ``adam``.

    Raises:
        TrainingError: there is another kind.
    """
    foreign = sorted({name.partition(".")[0] for name in tensors} - set(kinds))
    if foreign:
        raise TrainingError(
            f"The state of this run holds {', '.join(foreign)}, of an optimiser that is not the one here; resume "
            "it with the backend that it was started with."
        )


def divergence(step: int, settings: TrainingSettings) -> TrainingError:
    """What is raised where a gradient is not finite."""
    return TrainingError(
        f"The fit diverged at step {step}: the gradient is not finite. Lower training.learning_rate "
        f"({settings.learning_rate:g}) or training.gradient_clip ({settings.gradient_clip:g})."
    )


#: Makes the fitter of a problem from its training frames.
MakeFitter = Callable[["Problem", Sequence["Sample"]], Fitter]


def find_fitter(text: str) -> MakeFitter | None:
    """The fitter that a backend brings, by its name with options; None for torch itself.

    Raises:
        UsageError: there is none of this name, or it does not train.
        PluginError: it cannot be imported.
    """
    spec = Spec.parse(text)
    if spec.name == TORCH:
        if spec.options:
            raise UsageError(f"The backend torch takes no options in training, so not {text!r}.")
        return None
    known = registry().names("fitter")
    qualified = [component.qualified_name for component in known.values()]
    if spec.name not in (*known, *qualified):
        raise UsageError(f"{spec.name!r} is no backend that trains; those are {', '.join((TORCH, *known))}.")
    return partial(_make, spec, registry().load("fitter", spec.name))


def _make(spec: Spec, kind: Any, problem: Problem, samples: Sequence[Sample]) -> Fitter:
    made: Fitter = spec.build(kind, problem=problem, samples=samples)
    return made

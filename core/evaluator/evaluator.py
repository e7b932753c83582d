"""The evaluator interface: a structure in, a result out."""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from halocline.context import InContext
from halocline.errors import HaloclineError, StructureError
from halocline.evaluator.result import Result
from halocline.forks import lock
from halocline.graph import Structure
from halocline.program.replacement import Replacement
from halocline.shares import count_methods

E = TypeVar("E", bound="Evaluator")
P = ParamSpec("P")
R = TypeVar("R")


class Evaluator(InContext, ABC):
    """Owns what one evaluation leaves for the next: neighbour list, sessions, processes.

    None of it changes a result: evaluating a structure gives the same numbers whatever was evaluated before.
    Threads that share an evaluator take turns, whatever a subclass does in `evaluate` and `close`.

    Attributes:
        together: whether `evaluate_many` computes several structures at a time.
        replaced: stages that faster ones have taken the place of, where this process knows them.
        restarted: whether its processes, this one among them, were all started anew after a failure.
    """

    together: bool = False
    restarted: bool = False
    replaced: tuple[Replacement, ...] = ()

    in_context = ("evaluate", "evaluate_many")

    _turn: threading.RLock

    def __init_subclass__(cls, **options: Any) -> None:
        """Let threads take turns; see `InContext` for the rest."""
        if "evaluate" in vars(cls):
            cls.evaluate_within = vars(cls)["evaluate"]  # type: ignore[method-assign]
        super().__init_subclass__(**options)
        for name in ("evaluate", "evaluate_many", "close"):
            if name in vars(cls):
                setattr(cls, name, _in_turn(vars(cls)[name]))
        count_methods(cls, "evaluator", ("evaluate",))

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Here rather than in ``__init__``, which subclasses need not call."""
        self = super().__new__(cls)
        self._turn = lock()
        return self

    @abstractmethod
    def evaluate(self, structure: Structure) -> Result:
        """Energy, forces and stress, without reference energies."""

    def evaluate_within(self, structure: Structure) -> Result:
        """What `evaluate` does, for another evaluator that is evaluating and keeps this one to itself."""
        return self.evaluate(structure)

    def evaluate_many(self, structures: Sequence[Structure]) -> list[Result | HaloclineError]:
        """Results of several structures, in their order; one after another unless a subclass knows better.

        Returns:
            For each structure its result, or what is wrong with it: that of one is no matter of the others.
        """
        return [self._outcome(structure) for structure in structures]

    def _outcome(self, structure: Structure) -> Result | HaloclineError:
        try:
            return self.evaluate(structure)
        except StructureError as error:
            return error

    def close(self) -> None:  # most hold nothing that outlives them
        """End what would live until this object is collected, such as processes. It is not used again."""


def _in_turn(method: Callable[Concatenate[E, P], R]) -> Callable[Concatenate[E, P], R]:
    @functools.wraps(method)
    def wrapped(self: E, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._turn:
            return method(self, *args, **kwargs)

    return wrapped

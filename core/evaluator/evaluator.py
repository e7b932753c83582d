"""The evaluator interface: a structure in, a result out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from halocline.graph import Structure
from halocline.model.result import Result


class Evaluator(ABC):
    """Owns what one evaluation leaves for the next: neighbour list, sessions, processes.

    None of it changes a result: evaluating a structure gives the same numbers whatever was evaluated before.
    """

    @abstractmethod
    def evaluate(self, structure: Structure) -> Result:
        """Energy, forces and stress, without reference energies."""

    def close(self) -> None:  # noqa: B027  # most hold nothing that outlives them
        """End what would live until this object is collected, such as processes. It is not used again."""

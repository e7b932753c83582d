"""Frames are counted: those that are left out, and those that lie outside of what a model was made from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from halocline.errors import HaloclineError

if TYPE_CHECKING:
    from halocline.evaluation.frames import EvaluatedFrame
    from halocline.evaluator.result import Result


class FrameTally(ABC):
    """Counts frames.

    Attributes:
        frames: that were dealt with.
        failed: of them, left out.
    """

    def __init__(self) -> None:
        self._outside: dict[str, tuple[str, int]] = {}
        self.frames = self.failed = 0

    def result(self, evaluated: EvaluatedFrame) -> Result | None:
        """Count a frame, and return its result if it has one."""
        self.frames += 1
        result = evaluated.result
        if isinstance(result, HaloclineError):
            self.leave_out(result)
            return None
        for remark in result.outside:
            first, count = self._outside.get(remark.key, (f"{evaluated.frame}: {remark.warning}", 0))
            self._outside[remark.key] = first, count + 1
        return result

    def leave_out(self, error: HaloclineError) -> None:
        """Count the last frame among those that are left out."""
        self.failed += 1
        self.tell(error)

    @abstractmethod
    def tell(self, error: HaloclineError) -> None:
        """Say why a frame is left out, as that happens."""

    @property
    def outside(self) -> list[str]:
        """Of each way in which frames lie outside of the training the first, and in how many others it is so."""
        return [
            first + (f", and likewise in {count - 1} of the other frames" if count > 1 else "")
            for first, count in self._outside.values()
        ]

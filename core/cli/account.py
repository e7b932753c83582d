"""What is said of frames beside their numbers: which have none and why, and which lie outside of the training."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from halocline.cli.options import default_explained
from halocline.cli.output import say
from halocline.errors import HaloclineError, UnknownElementError

if TYPE_CHECKING:
    from halocline.evaluation.frames import EvaluatedFrame, Frame
    from halocline.evaluator.result import Result


class Account:
    """Says what is wrong with a frame as it comes, and of all frames what is said in the end.

    Args:
        arguments: with the options of `halocline.cli.options.add_model_options`.

    Attributes:
        frames: how many were dealt with.
        failed: how many of them are left out.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._explained = False
        self._outside: dict[str, tuple[str, int]] = {}
        self.frames = self.failed = 0

    def result(self, evaluated: EvaluatedFrame) -> Result | None:
        """Count a frame, and return its result if it has one."""
        self.frames += 1
        result = evaluated.result
        if isinstance(result, HaloclineError):
            self.fail(result)
            return None
        self._note_outside(evaluated.frame, result)
        return result

    def fail(self, error: HaloclineError) -> None:
        """Say why the frame that was counted last is left out; of unknown elements, once, what to take instead."""
        self.failed += 1
        if isinstance(error, UnknownElementError) and not self._explained:
            self._explained = True
            try:
                with default_explained(self._arguments):
                    raise error
            except HaloclineError as explained:
                error = explained
        say(f"halocline: {error}")

    def close(self) -> int:
        """Say what is said in the end, and return the exit status."""
        for first, count in self._outside.values():
            more = f", and likewise in {count - 1} of the other frames" if count > 1 else ""
            say(f"halocline: {first}{more}.")
        if self.failed and self.frames > 1:
            say(f"halocline: {self.failed} of {self.frames} structures were left out.")
        return 1 if self.failed else 0

    def _note_outside(self, frame: Frame, result: Result) -> None:
        """Keep of each way in which frames lie outside of the training the first, and the number."""
        for remark in result.outside:
            first, count = self._outside.get(remark.key, (f"{frame}: {remark.warning}", 0))
            self._outside[remark.key] = first, count + 1

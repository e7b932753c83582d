"""What is said of frames beside their numbers: which have none and why, and which lie outside of the training."""

from __future__ import annotations

import argparse
from typing import final

from halocline.cli.options import default_explained
from halocline.cli.output import say
from halocline.errors import HaloclineError, UnknownElementError
from halocline.evaluation.tally import FrameTally


@final
class Account(FrameTally):
    """Says what is wrong with a frame as it comes, and of all frames what is said in the end.

    Args:
        arguments: with the options of `halocline.cli.options.add_model_options`.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self._arguments = arguments
        self._explained = False

    def tell(self, error: HaloclineError) -> None:
        """See `FrameTally.tell`; of unknown elements, once, what to take instead."""
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
        for remark in self.outside:
            say(f"halocline: {remark}.")
        if self.failed and self.frames > 1:
            say(f"halocline: {self.failed} of {self.frames} structures were left out.")
        return 1 if self.failed else 0

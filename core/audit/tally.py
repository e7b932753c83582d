"""Which frames are left out of an audit and why, and which lie outside of what the model was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from halocline.errors import HaloclineError
from halocline.evaluation.tally import FrameTally

#: Reasons that are kept; the rest is counted.
_MOST: Final = 100


@final
class Tally(FrameTally):
    """Counts frames, and keeps the first reasons.

    Args:
        say: is told why a frame is left out.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._reasons: list[str] = []

    def tell(self, error: HaloclineError) -> None:
        """See `FrameTally.tell`."""
        self._say(str(error))
        if len(self._reasons) < _MOST:
            self._reasons.append(str(error))

    def document(self) -> dict[str, Any]:
        """Numbers, the first reasons, and in what frames lie outside of the training."""
        return {
            "frames": self.frames,
            "left_out": self.failed,
            "reasons": self._reasons,
            "outside": self.outside,
        }

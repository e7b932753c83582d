"""Which frames are left out of an audit and why, and which lie outside of what the model was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

from halocline.errors import HaloclineError

if TYPE_CHECKING:
    from halocline.evaluation.frames import EvaluatedFrame
    from halocline.evaluator.result import Result

#: Reasons that are kept; the rest is counted.
_MOST: Final = 100


@final
class Tally:
    """Counts frames.

    Args:
        say: is told why a frame is left out, as that happens.

    Attributes:
        frames: that were dealt with.
        failed: of them, left out.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._reasons: list[str] = []
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
        self._say(str(error))
        if len(self._reasons) < _MOST:
            self._reasons.append(str(error))

    def document(self) -> dict[str, Any]:
        """Numbers, the first reasons, and in what frames lie outside of the training."""
        return {
            "frames": self.frames,
            "left_out": self.failed,
            "reasons": self._reasons,
            "outside": [
                first + (f", and likewise in {count - 1} of the other frames" if count > 1 else "")
                for first, count in self._outside.values()
            ],
        }

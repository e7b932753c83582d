"""What a run does where the members of a committee disagree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from halocline.errors import UsageError
from halocline.typed_table import settle_fields

if TYPE_CHECKING:
    from halocline.dynamics.step_record import StepRecord

#: Steps between two frames that are collected: 50 fs at the usual time step, after which a frame is another one.
COLLECT_INTERVAL = 100


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Thresholds for the largest spread of a force, as `StepRecord.spread` has it.

    Attributes:
        collect_at: eV/Å, from which a frame is collected; None collects none.
        collect_interval: fewest steps from one frame that is collected to the next.
        stop_at: eV/Å, from which the run does not go on; None never stops it.
    """

    collect_at: float | None = None
    collect_interval: int = COLLECT_INTERVAL
    stop_at: float | None = None

    def __post_init__(self) -> None:
        settle_fields(self)
        for name in ("collect_at", "stop_at"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise UsageError(f"A spread of forces must be finite and greater than 0 eV/Å, not {value!r}.")
        if self.collect_interval < 1:
            raise UsageError(f"The interval of collected frames must be at least 1, not {self.collect_interval}.")

    @property
    def looks(self) -> bool:
        """Whether it has anything to look for."""
        return self.collect_at is not None or self.stop_at is not None

    def as_options(self) -> dict[str, Any]:
        """What decides on the frames that are collected, so that it must not change when a run goes on."""
        if self.collect_at is None:
            return {}
        return {"collect_at": self.collect_at, "collect_interval": self.collect_interval}

    def collects(self, sample: StepRecord, last: int | None) -> bool:
        """Whether the frame of a step is to be collected.

        Args:
            sample: the step.
            last: the step of the frame that was collected before; None if there is none.
        """
        apart = last is None or sample.step - last >= self.collect_interval
        return apart and _reaches(sample, self.collect_at)

    def reason_to_stop(self, sample: StepRecord) -> str | None:
        """Why a run stops at a step, or None."""
        if not _reaches(sample, self.stop_at):
            return None
        assert sample.spread is not None
        largest = sample.spread[1]
        return f"at step {sample.step} a force spreads by {largest:.4g} eV/Å, and {self.stop_at:g} ends the run"


def _reaches(sample: StepRecord, threshold: float | None) -> bool:
    return threshold is not None and sample.spread is not None and sample.spread[1] >= threshold

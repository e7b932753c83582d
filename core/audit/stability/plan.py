"""Which runs of molecular dynamics an audit makes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, final

from halocline.audit.draw import draw_frames
from halocline.dynamics.settings import Settings
from halocline.errors import StructureError, UsageError

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.evaluation.frames import Frame

#: Frames of a run beside its start, at most: those that follow each other closely tell distributions nothing new.
MOST_FRAMES: Final = 200


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """Runs from several starts.

    Attributes:
        starts: how many. If there are fewer frames, they are taken again, with other velocities.
        steps: of each run.
        settings: of all runs; each has a seed of its own, the first this one.
    """

    starts: int
    steps: int
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if self.starts < 1 or self.steps < 1:
            raise UsageError(
                f"Stability needs a start and a step, not {self.starts} starts and {self.steps} steps."
            )

    def of_start(self, number: int) -> Settings:
        """The settings of a run, from 0."""
        interval = max(self.settings.frame_interval, math.ceil(self.steps / MOST_FRAMES))
        return replace(self.settings, seed=self.settings.seed + number, frame_interval=interval)

    def identity(self) -> dict[str, Any]:
        """What its results follow from, as JSON values."""
        return {"starts": self.starts, "steps": self.steps, **asdict(self.settings)}


@final
@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins.

    Attributes:
        name: file and number of the frame.
        atoms: without velocities, which are drawn for the run.
    """

    name: str
    atoms: Atoms


def draw_starts(frames: Iterable[Frame], plan: Plan) -> list[Start]:
    """Draw frames evenly, in their order, and hold at most as many as there are starts.

    Raises:
        StructureError: there is no frame that can be read.
    """
    ordered = [
        Start(str(each), _still(each.atoms)) for each in draw_frames(frames, plan.starts, plan.settings.seed)
    ]
    if not ordered:
        raise StructureError("No frame can be read, so there is nothing to start dynamics from.")
    return [ordered[number % len(ordered)] for number in range(plan.starts)]


def _still(atoms: Atoms) -> Atoms:
    still: Atoms = atoms.copy()
    still.arrays.pop("momenta", None)
    return still

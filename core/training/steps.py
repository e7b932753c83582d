"""Which frames make up a step: so many, or as many as have so many atoms or edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import TrainingError
from halocline.training.parent import Replay

if TYPE_CHECKING:
    from halocline.training.recipe import TrainingSettings
    from halocline.training.samples import Sample


@final
@dataclass(frozen=True, slots=True)
class StepSize:
    """The most that one step holds.

    Attributes:
        most: how many.
        unit: ``frames``, ``atoms`` or ``edges``.
    """

    most: int
    unit: str

    @classmethod
    def of(cls, settings: TrainingSettings) -> StepSize:
        """As the recipe says."""
        given = {"frames": settings.batch_size, "atoms": settings.batch_atoms, "edges": settings.batch_edges}
        ((unit, most),) = ((unit, most) for unit, most in given.items() if most is not None)
        return cls(most, unit)

    @property
    def key(self) -> str:
        """Of the recipe, that sets it."""
        return "training.batch_size" if self.unit == "frames" else f"training.batch_{self.unit}"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.int64]:
        """What each frame takes of a step, (F,)."""
        if self.unit == "frames":
            return np.ones(len(samples), dtype=np.int64)
        sizes = (each.atoms if self.unit == "atoms" else len(each.graph.edges) for each in samples)
        return np.fromiter(sizes, np.int64, len(samples))

    def cut(self, sizes: NDArray[np.int64]) -> list[slice]:
        """Divide frames into steps, in their order: each is filled up until the next frame has no room.

        Args:
            sizes: what each frame takes, (F,). One that takes more than there is has a step of its own.
        """
        ends = np.cumsum(sizes)
        cuts, start, filled = [], 0, 0
        while start < len(ends):
            stop = max(start + 1, int(np.searchsorted(ends, filled + self.most, side="right")))
            cuts.append(slice(start, stop))
            start, filled = stop, int(ends[stop - 1])
        return cuts


#: No frame is replayed.
NONE: Final = Replay()

#: A step of a single frame.
ONE_FRAME: Final = StepSize(1, "frames")


@final
class Plan:
    """Which frames each step of each epoch has. All of it follows from the seed, the epoch and the frames.

    Args:
        samples: the frames to fit, and after them those to replay.
        settings: of the fit.
        replay: how many of the latter each epoch sees; by default there are none.

    Attributes:
        total: steps of all epochs.

    Raises:
        TrainingError: a frame alone is more than a step may hold.
    """

    def __init__(self, samples: Sequence[Sample], settings: TrainingSettings, replay: Replay = NONE) -> None:
        self._size, self._seed, self._replay = StepSize.of(settings), settings.seed, replay
        self._fitted = len(samples) - replay.available
        self._sizes = self._size.measure(samples)
        self._refuse_too_large()
        if self._size.unit == "frames":
            steps = [len(self._size.cut(self._sizes[: self._fitted + replay.frames]))] * settings.epochs
        else:
            steps = [len(self._cuts(self._order(epoch))) for epoch in range(settings.epochs)]
        self._before = np.cumsum([0, *steps])
        self.total = int(self._before[-1])

    def before(self, epoch: int) -> int:
        """How many steps have been taken when an epoch begins."""
        return int(self._before[epoch])

    def steps(self, epoch: int) -> list[NDArray[np.int64]]:
        """The numbers of the frames of each step of an epoch, which sees every frame to fit once."""
        order = self._order(epoch)
        return [order[cut] for cut in self._cuts(order)]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        replayed = self._fitted + self._replay.of_epoch(self._seed, epoch)
        seen = np.concatenate([np.arange(self._fitted), replayed])
        return np.random.default_rng((self._seed, epoch)).permutation(seen)

    def _cuts(self, order: NDArray[np.int64]) -> list[slice]:
        return self._size.cut(self._sizes[order])

    def _refuse_too_large(self) -> None:
        largest = int(self._sizes.max(initial=0))
        if largest > self._size.most:
            larger = int((self._sizes > self._size.most).sum())
            raise TrainingError(
                f"One of the frames to fit has {largest} {self._size.unit}, and {self._size.key} = "
                f"{self._size.most} lets no step hold as many; raise it, or leave out the frames that are larger "
                f"({larger} of {len(self._sizes)})."
            )

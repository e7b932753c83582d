"""Which replayed frames an epoch sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Replay:
    """So many frames in every epoch, in turns: all are seen equally often, to one.

    Attributes:
        frames: that each epoch sees.
        available: from how many.
    """

    frames: int = 0
    available: int = 0

    def of_epoch(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The numbers, from 0, of the frames that an epoch sees; they follow from seed and epoch alone."""
        if not self.frames:
            return np.zeros(0, dtype=np.int64)
        place = epoch * self.frames + np.arange(self.frames)
        turns = {turn: self._order(seed, turn) for turn in set((place // self.available).tolist())}
        return np.array([turns[p // self.available][p % self.available] for p in place.tolist()])

    def _order(self, seed: int, turn: int) -> NDArray[np.int64]:
        """Of all frames, within one turn."""
        return np.random.default_rng((seed, turn, 1)).permutation(self.available)  # no epoch's order of frames

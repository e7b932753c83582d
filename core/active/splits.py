"""Which frame serves what in an iteration: sets that split files state, one for each file of data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import final

import numpy as np

from halocline.data.indices import NAMES


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSplit:
    """Frames by purpose, as their numbers from 0 through all files.

    Attributes:
        train: that are fitted.
        validation: that decide on the cutoff, and on which iteration is the best.
        test: that decide on nothing.
        reserve: the pool: what may still be chosen.
        examine: those of the reserve that are scored in this iteration.
        add: those of the training set that came after the iteration before.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    reserve: tuple[int, ...]
    examine: tuple[int, ...] = ()
    add: tuple[int, ...] = ()

    def drawn(self, number: int, seed: int, iteration: int) -> PoolSplit:
        """With so many frames of the reserve to be examined, drawn anew whatever was before.

        Args:
            number: of frames; all of the reserve, if it has fewer.
            seed: of the draws.
            iteration: its number, from 0.
        """
        reserve = np.array(sorted(self.reserve), np.int64)
        order = np.random.default_rng((seed, iteration)).permutation(len(reserve))[:number]
        return replace(self, examine=tuple(sorted(reserve[order].tolist())))

    def grown(self, chosen: Sequence[int], labelled: Sequence[int] | None = None) -> PoolSplit:
        """After an iteration: what was chosen has left the reserve, and is fitted from now on.

        Args:
            chosen: frames of the reserve.
            labelled: the frames that are fitted in their place, if their labels came in a file of their own.
        """
        add, gone = tuple(chosen if labelled is None else labelled), set(chosen)
        reserve = tuple(frame for frame in self.reserve if frame not in gone)
        return replace(self, train=self.train + add, reserve=reserve, add=add, examine=())

    def by_file(self, lengths: Sequence[int]) -> list[dict[str, list[int]]]:
        """The frames of each file by purpose, as their numbers in it.

        Args:
            lengths: frames in each file.
        """
        starts = np.cumsum([0, *lengths])
        return [
            {
                purpose: [frame - int(start) for frame in getattr(self, purpose) if start <= frame < stop]
                for purpose in NAMES
            }
            for start, stop in pairwise(starts)
        ]

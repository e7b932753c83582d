"""Which frames are fitted, which are watched, and which stay unseen to the end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from halocline.errors import TrainingError
from halocline.training.recipe import SplitSettings


@final
@dataclass(frozen=True, slots=True)
class Split:
    """Attributes: numbers of frames, counted from 0 through all files in the order of the recipe."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def purposes(self) -> dict[str, tuple[int, ...]]:
        """The three sets by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def draw_split(frames: int, settings: SplitSettings) -> Split:
    """Draw disjoint sets at random.

    Raises:
        TrainingError: there are fewer frames than asked for.
    """
    wanted = settings.train + settings.validation + settings.test
    if wanted > frames:
        raise TrainingError(f"The split asks for {wanted} frames, but the files hold {frames}.")
    drawn = np.random.default_rng(settings.seed).permutation(frames)[:wanted]
    parts = np.split(drawn, [settings.test, settings.test + settings.validation])
    test, validation, train = (tuple(sorted(int(i) for i in part)) for part in parts)
    return Split(train, validation, test)


def consecutive_split(train: int, validation: int, test: int) -> Split:
    """The split of files given by purpose: frames in the order in which they were read."""
    bounds = np.cumsum([0, train, validation, test]).tolist()
    return Split(*(tuple(range(start, stop)) for start, stop in pairwise(bounds)))

"""Draw a few frames evenly from as many as there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from halocline.errors import StructureError

if TYPE_CHECKING:
    from halocline.evaluation.frames import Frame


def draw_frames(frames: Iterable[Frame], count: int, seed: int) -> list[Frame]:
    """Frames in their order, all if there are no more; at most so many are held at a time.

    Those that cannot be read are passed over.
    """
    random = np.random.default_rng(seed)
    drawn: list[tuple[int, Frame]] = []
    seen = 0
    for frame in frames:
        if isinstance(frame.content, StructureError):
            continue
        # Algorithm R (J. S. Vitter, ACM Trans. Math. Softw. 11, 37 (1985)): all frames have the same chance.
        place = len(drawn) if len(drawn) < count else int(random.integers(seen + 1))
        if place < count:
            drawn[place : place + 1] = [(seen, frame)]
        seen += 1
    return [frame for _, frame in sorted(drawn, key=lambda each: each[0])]

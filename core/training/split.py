"""Which frames are fitted, which are watched, and which stay unseen to the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from halocline.errors import TrainingError
from halocline.training.recipe import SplitSettings


@final
@dataclass(frozen=True, slots=True)
class Split:
    """Frames by purpose, as their numbers from 0 through all files in the order of the recipe."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    unlabelled: tuple[int, ...] = ()
    replay: tuple[int, ...] = ()

    @property
    def seen(self) -> tuple[int, ...]:
        """Frames that weights are fitted to."""
        return self.train + self.unlabelled + self.replay

    def replays(self, frame: int) -> bool:
        """Whether a frame is replayed. Such frames have numbers one after the other."""
        return bool(self.replay) and self.replay[0] <= frame <= self.replay[-1]

    def purposes(self) -> dict[str, tuple[int, ...]]:
        """Name of each set → the numbers of its frames; unlabelled and replayed ones where there are some."""
        sets = {"train": self.train, "validation": self.validation, "test": self.test}
        more = {"unlabelled": self.unlabelled, "replay": self.replay}
        return sets | {name: frames for name, frames in more.items() if frames}


def draw_split(frames: int, settings: SplitSettings, groups: Sequence[Sequence[int]] = ()) -> Split:
    """Draw disjoint sets at random.

    Args:
        frames: how many there are.
        settings: how many go where.
        groups: frames that must not be torn apart: each group goes to one set, or to none.

    Raises:
        TrainingError: there are fewer frames than asked for, or a group has no room.
    """
    wanted = settings.train + settings.validation + settings.test
    if wanted > frames:
        asked = f"train = {settings.train}, validation = {settings.validation}, test = {settings.test}"
        raise TrainingError(f"The split asks for {wanted} frames, but the files hold {frames} ({asked}).")
    if groups:
        return _draw_grouped(frames, settings, groups)
    drawn = np.random.default_rng(settings.seed).permutation(frames)[:wanted]
    parts = np.split(drawn, [settings.test, settings.test + settings.validation])
    test, validation, train = (tuple(sorted(int(i) for i in part)) for part in parts)
    return Split(train, validation, test)


def _draw_grouped(frames: int, settings: SplitSettings, groups: Sequence[Sequence[int]]) -> Split:
    """Place whole groups, the largest first, each into a set drawn by the room that is left where it fits."""
    sizes = (settings.train, settings.validation, settings.test)
    room = np.array([*sizes, frames - sum(sizes)])  # the last are used for nothing
    single = set(range(frames)).difference(*groups)
    pieces = [*map(tuple, groups), *((i,) for i in sorted(single))]
    generator = np.random.default_rng(settings.seed)
    order = [pieces[i] for i in generator.permutation(len(pieces))]
    parts: list[list[int]] = [[], [], [], []]
    for piece in sorted(order, key=len, reverse=True):  # which keeps the drawn order among equals
        fits = np.where(room >= len(piece), room, 0)
        if not fits.any():
            raise TrainingError(
                f"{len(piece)} frames show the same structure, and no set of data.split has room for all of them. "
                "Change the numbers of frames, so that some are used for nothing, or try another data.split.seed."
            )
        chosen = int(generator.choice(len(parts), p=fits / fits.sum()))
        parts[chosen] += piece
        room[chosen] -= len(piece)
    return Split(*(tuple(sorted(part)) for part in parts[:3]))


def consecutive_split(train: int, validation: int, test: int) -> Split:
    """The split of files given by purpose: frames in the order in which they were read."""
    bounds = np.cumsum([0, train, validation, test]).tolist()
    return Split(*(tuple(range(start, stop)) for start, stop in pairwise(bounds)))


def refuse_shared(groups: Sequence[Sequence[int]], split: Split, names: Sequence[object], remedy: str) -> None:
    """Make sure that no structure is in two sets; all that weights are fitted to are one.

    Args:
        groups: of duplicates among the frames.
        split: the sets.
        names: what the frames are called in the message, as text.
        remedy: what else than removing a frame would help, a sentence; or nothing.

    Raises:
        TrainingError: a structure is in two sets.
    """
    if not groups:
        return
    purpose = {i: name for name, frames in split.purposes().items() for i in frames}
    fitted = set(split.seen)
    for group in groups:
        used = [i for i in group if i in purpose]
        for i in used[1:]:
            if purpose[i] != purpose[used[0]] and {i, used[0]} - fitted:
                text = (
                    f"The same structure serves two purposes: {names[used[0]]} ({purpose[used[0]]}) and "
                    f"{names[i]} ({purpose[i]}). Remove one of them, so that the errors are those of unseen "
                    f"structures. {remedy}"
                )
                raise TrainingError(text.strip())

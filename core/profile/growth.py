"""How the cost of each kind of work grows with the number of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from halocline.profile.evaluation import Profile
from halocline.profile.rows import Place


@final
@dataclass(frozen=True, slots=True)
class Growth:
    """The cost of one kind of work for structures of several sizes.

    Attributes:
        place: what it is about.
        atoms: of the structures.
        seconds: that it takes in one evaluation of each, the median.
    """

    place: Place
    atoms: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def per_atom(self) -> tuple[float, ...]:
        """Seconds."""
        return tuple(seconds / atoms for seconds, atoms in zip(self.seconds, self.atoms, strict=True))

    @property
    def exponent(self) -> float | None:
        """The p of a fit of seconds by atoms to the power of p: 1 is a cost in proportion to the atoms.

        None for less than two sizes, or where a time is not above zero.
        """
        if len(set(self.atoms)) < 2 or min(self.seconds) <= 0.0:
            return None
        return float(np.polynomial.Polynomial.fit(np.log(self.atoms), np.log(self.seconds), 1).convert().coef[1])


def growths(profiles: Sequence[Profile]) -> list[Growth]:
    """Of each row that all profiles have, and of the whole evaluation, whose place is empty.

    Args:
        profiles: of one model, for structures of different sizes.
    """
    atoms = tuple(profile.atoms for profile in profiles)
    times = [{row.place: row.median for row in profile.rows} for profile in profiles]
    common = [place for place in times[0] if all(place in each for each in times)]
    found = [Growth(place, atoms, tuple(each[place] for each in times)) for place in common]
    return [*found, Growth(Place("", ""), atoms, tuple(profile.median for profile in profiles))]

"""What a model was made from, and where a structure lies outside of it: there the model extrapolates.

Model cards say how near atoms of each two elements came in training, and how many neighbours each atom had. Where
a card says nothing of distances, as with models from elsewhere, a fraction of the covalent radii stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from numpy.typing import NDArray

from halocline.errors import CheckpointError
from halocline.graph import Contacts, NeighbourRule, Radius
from halocline.graph.structure import same_bits
from halocline.shares import timed

#: Of the sum of two covalent radii (Cordero et al., Dalton Trans. 2832 (2008), as in ASE): below this, atoms are
#: nearer than labelled structures usually go. In 16 data sets of molecules, crystals and melts (5000 frames), the
#: nearest pairs are at 0.67 of that sum or above; only scans of dimers, which are made to go there, reach 0.53.
COVALENT_FRACTION = 0.6

#: Atoms may have this many times fewer, or more, neighbours than in training before anything is said. Of frames
#: held out of 13 data sets, 99 % stay within the range of the others times 1.2, but for one set of 85 frames. A
#: molecule of water alone has less than a quarter of the fewest neighbours in its liquid.
NEIGHBOUR_MARGIN = 1.5


@final
@dataclass(frozen=True, slots=True)
class Outside:
    """One way in which a structure lies outside of what its model was made from.

    Attributes:
        key: two elements, such as ``H-O``, or one if its neighbours are meant.
        text: a sentence without its full stop.
        nearness: of two elements, their distance divided by the shortest that was seen, or where none was by what
            stands in for it; None if neighbours are meant.
    """

    key: str
    text: str
    nearness: float | None = None

    @property
    def warning(self) -> str:
        """The sentence that a user is told, without a full stop."""
        return f"{self.text}: the model extrapolates"


@final
class _Usual(NamedTuple):
    """What was seen of some elements. Steps of dynamics have the same ones.

    Attributes:
        elements: (K,), see `Contacts`.
        shortest: (K, K) Å, below which a distance is looked at.
        fewest: (K,), neighbours of an atom; a number that is smaller even by the margin is strange.
        most: (K,), above which a number is strange.
    """

    elements: NDArray[np.int64]
    shortest: NDArray[np.float64]
    fewest: NDArray[np.float64]
    most: NDArray[np.float64]


@final
class Applicability:
    """What is known of the structures that a model was made from.

    Args:
        card: of the model; see `halocline.checkpoint.card.CARD_FIELDS`.

    Raises:
        CheckpointError: it speaks of an element that does not exist.
    """

    def __init__(self, card: Mapping[str, Any]) -> None:
        distances = card.get("shortest_distances")
        self._known = distances is not None
        self._shortest = (covalent_radii[:, None] + covalent_radii) * COVALENT_FRACTION
        self._seen = np.zeros(self._shortest.shape, bool)
        for pair, distance in (distances or {}).items():
            first, second = map(_number, pair.split("-"))
            self._shortest[[first, second], [second, first]] = distance
            self._seen[[first, second], [second, first]] = True
        neighbours = card.get("neighbours") or {}
        self._neighbours = {_number(symbol): (low, high) for symbol, (low, high) in neighbours.items()}
        self._last: _Usual | None = None
        self._crowded: tuple[NDArray[np.int64] | None, NDArray[np.int64] | None, tuple[Outside, ...]]
        self._crowded = None, None, ()

    @timed("result")
    def outside(self, contacts: Contacts) -> tuple[Outside, ...]:
        """The respects in which a structure lies outside of the training, distances first; empty if in none."""
        usual = self._last
        if usual is None or not same_bits(usual.elements, contacts.elements):
            usual = self._last = self._usual(contacts.elements)
        distances = () if contacts.are_beyond(usual.shortest) else tuple(self._distances(contacts))
        return distances + self._crowds_now(contacts, usual)

    def _crowds_now(self, contacts: Contacts, usual: _Usual) -> tuple[Outside, ...]:
        """What is strange about numbers of neighbours; steps with the same edges have the very same numbers."""
        fewest, most, found = self._crowded
        if fewest is not contacts.fewest or most is not contacts.most:
            lonely, crowded = contacts.fewest * NEIGHBOUR_MARGIN < usual.fewest, contacts.most > usual.most
            strange = np.count_nonzero(lonely) or np.count_nonzero(crowded)
            found = tuple(self._crowds(contacts)) if strange else ()
            self._crowded = contacts.fewest, contacts.most, found
        return found

    def _usual(self, elements: NDArray[np.int64]) -> _Usual:
        square = (elements[:, None], elements)
        shortest = self._shortest[square]
        if self._known:  # neighbours of elements that never were any are strange at any distance
            shortest = np.where(self._seen[square], shortest, np.inf)
        ranges = [self._neighbours.get(int(element), (-np.inf, np.inf)) for element in elements]
        fewest, most = (np.array(each, np.float64) for each in zip(*ranges, strict=True))
        return _Usual(elements, shortest, fewest, most * NEIGHBOUR_MARGIN)

    def _distances(self, contacts: Contacts) -> Iterator[Outside]:
        square = (contacts.elements[:, None], contacts.elements)
        strange = contacts.shortest < self._shortest[square]
        if self._known:
            strange |= np.isfinite(contacts.shortest) & ~self._seen[square]
        for first, second in np.argwhere(np.triu(strange)):
            pair = contacts.elements[[first, second]]
            yield self._near(pair, float(contacts.shortest[first, second]), contacts.pairs[first, second])

    def _near(self, elements: NDArray[np.int64], distance: float, atoms: NDArray[np.int64]) -> Outside:
        first, second = sorted(chemical_symbols[element] for element in elements)
        shortest = float(self._shortest[tuple(elements)])
        text = f"{first} and {second} (atoms {atoms[0]} and {atoms[1]}) are {distance:.3f} Å apart, "
        if not self._known:
            text += f"below {COVALENT_FRACTION:g} of the sum of their covalent radii ({shortest:.3f} Å)"
        elif self._seen[tuple(elements)]:
            text += f"nearer than any in the training data ({shortest:.3f} Å)"
        else:
            text += "and in the training data no two atoms of these elements were neighbours"
        return Outside(f"{first}-{second}", text, distance / shortest)

    def _crowds(self, contacts: Contacts) -> Iterator[Outside]:
        for element, fewest, most in zip(contacts.elements, contacts.fewest, contacts.most, strict=True):
            if element not in self._neighbours:
                continue
            low, high = self._neighbours[element]
            symbol = chemical_symbols[element]
            told = f"neighbours within the cutoff; in the training data each had {low} to {high}"
            if fewest * NEIGHBOUR_MARGIN < low:
                yield Outside(symbol, f"An atom of {symbol} has only {fewest} {told}")
            elif most > high * NEIGHBOUR_MARGIN:
                yield Outside(symbol, f"An atom of {symbol} has {most} {told}")


def _number(symbol: str) -> int:
    if symbol not in atomic_numbers:
        raise CheckpointError(f"The model card speaks of {symbol!r}, which is no element.")
    return atomic_numbers[symbol]


def describe(contacts: Contacts, rule: NeighbourRule) -> dict[str, Any]:
    """Fields of a card that describe the structures of a training.

    Args:
        contacts: of all of them.
        rule: of the model. Where it asks for a number of neighbours, that number says nothing of a structure.

    Returns:
        The fields ``shortest_distances`` and, for models with a cutoff, ``neighbours``.
    """
    symbols = [chemical_symbols[element] for element in contacts.elements]
    pairs = [tuple(map(int, pair)) for pair in np.argwhere(np.triu(np.isfinite(contacts.shortest)))]
    distances = {
        "-".join(sorted((symbols[i], symbols[j]))): _rounded_down(float(contacts.shortest[i, j])) for i, j in pairs
    }
    if not isinstance(rule, Radius):
        return {"shortest_distances": distances}
    counts = zip(contacts.fewest.tolist(), contacts.most.tolist(), strict=True)
    return {
        "shortest_distances": distances,
        "neighbours": {symbol: list(seen) for symbol, seen in zip(symbols, counts, strict=True)},
    }


def _rounded_down(distance: float) -> float:
    """To 1e-4 Å, and never up: no training frame lies outside of its own card."""
    return float(np.floor(distance * 1e4) / 1e4)

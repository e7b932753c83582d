"""Deuterium and tritium, which many files call D and T: hydrogen, with its own mass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from halocline.forks import lock

if TYPE_CHECKING:
    from ase import Atoms

#: Masses in u: Wang et al., Chinese Phys. C 45, 030003 (2021).
MASSES = {"D": 2.01410178, "T": 3.01604928}
#: The last two elements stand for them while a reader works, which knows only what is in ASE's table.
_STAND_INS = {"D": 118, "T": 117}
_LOCK = lock()


@contextmanager
def known() -> Iterator[None]:
    """Let ASE's readers take D and T for elements within the block; `resolve` what they give."""
    with _LOCK:
        atomic_numbers.update(_STAND_INS)
        chemical_symbols.extend(_STAND_INS)  # some readers look there whether it is a symbol, none for its place
        try:
            yield
        finally:
            del chemical_symbols[-len(_STAND_INS) :]
            for symbol in _STAND_INS:
                del atomic_numbers[symbol]


def is_unknown(error: BaseException) -> bool:
    """Whether a reader may have failed on one of the two symbols, as far as its words tell."""
    return re.search(r"\b[DT]\b", str(error)) is not None


def resolve(frames: Sequence[Atoms]) -> None:
    """Turn what was read with `known` into hydrogen of the right mass and velocity."""
    for atoms in frames:
        for symbol, stand_in in _STAND_INS.items():
            there = atoms.numbers == stand_in
            if there.any():
                _turn(atoms, there, atomic_masses[stand_in], MASSES[symbol])


def _turn(atoms: Atoms, there: np.ndarray, read_with: float, mass: float) -> None:
    masses = atoms.get_masses()
    stated = there & (masses != read_with)  # the file gives masses itself
    momenta = atoms.arrays.get("momenta")
    if momenta is not None:
        momenta[there & ~stated] *= mass / read_with
    masses[there & ~stated] = mass
    atoms.numbers[there] = atomic_numbers["H"]
    atoms.set_masses(masses)

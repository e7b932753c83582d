"""Summed over parts with their halos, a backbone gives what it gives on the whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.testing.comparison import require_same
from halocline.testing.subject import Subject

#: Random owners are drawn for this many parts.
PARTS = 3


def check_parts(subject: Subject) -> None:
    """Energies, forces and virial, in each form, for random owners, an empty part and parts of one atom.

    In every part the layers work on shrinking prefixes of the atoms, so each stage sees fewer receivers than
    senders. The long box matters most: where everything is everybody's neighbour, a halo too small goes unseen.
    """
    for name, atoms in subject.samples.all().items():
        expected = subject.evaluate(atoms)
        for form in subject.forms:
            for what, owners in _divisions(len(atoms)).items():
                result = subject.evaluate(atoms, form=form, owners=owners)
                require_same(f"of the {name}, summed over {what} in the form {form.value!r},", result, expected)


def _divisions(atoms: int) -> dict[str, NDArray[np.int64]]:
    """Owners (N,) of the atoms."""
    rng = np.random.default_rng(7)
    alone = np.ones(atoms, np.int64)
    alone[atoms // 2] = 0
    # Part 0 stays empty, and one atom is a part of its own.
    random = rng.integers(1, PARTS + 1, atoms)
    random[0] = PARTS + 1
    return {"random parts": random, "one atom and the rest": alone}

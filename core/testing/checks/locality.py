"""Nothing reaches an atom from beyond the declared hops, so that parts with their halos add up to the whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.probes.receptive_field import measure_hops
from halocline.testing.comparison import require_same
from halocline.testing.report import Failure, Remark
from halocline.testing.subject import Subject

#: Random owners are drawn for this many parts.
PARTS = 3


def check_parts(subject: Subject) -> None:
    """Energies, forces and virial, in each form, for random owners, an empty part and parts of one atom.

    In every part the layers work on shrinking prefixes of the atoms, so each stage sees fewer receivers than
    senders. The long box matters most: where everything is everybody's neighbour, a halo too small goes unseen.

    Raises:
        Failure: the sums differ from the whole by more than rounding.
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


def check_receptive_field(subject: Subject) -> None:
    """On chains, the energy of an atom depends exactly on the last declared hop, and on none beyond.

    Raises:
        Failure: it depends on atoms beyond.
        Remark: it depends on fewer hops than declared.
    """
    declared, measured = subject.backbone.hops, measure_hops(subject.backbone)
    if measured > declared:
        raise Failure(
            f"The energy of one atom depends on atoms {measured} hops away, beyond the declared {declared}: "
            "declare more hops."
        )
    if measured < declared:
        raise Remark(
            f"Nothing depends on the last of the {declared} declared hops: declare fewer, and parts get smaller."
        )

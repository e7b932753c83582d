"""The curl of a model's forces at a structure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import HaloclineError
from halocline.potential.many import outcomes
from halocline.probes.curl import Curl, measure_curl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ase import Atoms

    from halocline.evaluator import Evaluator
    from halocline.potential.potential import Potential

#: The field of the card.
DIRECT_FORCES: Final = "direct_forces"

#: What the card of a direct model says if nobody has looked.
NOT_MEASURED: Final = {"curl": "not measured; `halocline audit` measures it"}


def curl_at(potential: Potential, evaluator: Evaluator, atoms: Atoms, head: str | None = None) -> Curl:
    """Measure it by displacing all atoms.

    Args:
        potential: the model.
        evaluator: of it, in float64.
        atoms: the structure, which stays as it is.
        head: that is to answer.

    Raises:
        HaloclineError: it cannot be evaluated.
    """

    def forces(positions: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        found = []
        for outcome in outcomes(potential, evaluator, (_moved(atoms, each) for each in positions), head):
            if isinstance(outcome, HaloclineError):
                raise outcome
            found.append(outcome.forces)
        return found

    return measure_curl(forces, atoms.positions)


def curl_for_card(potential: Potential, structures: Iterable[Atoms], device: str, where: str) -> dict[str, Any]:
    """What the card of a direct model says: the curl over some structures, at least one.

    Args:
        potential: the model.
        structures: to look at.
        device: to evaluate on.
        where: which structures those are, in words.
    """
    with closing(potential.evaluator("torch", "float64", device, "none", "auto")) as evaluator:
        curl = Curl.mean([curl_at(potential, evaluator, atoms) for atoms in structures])
    asymmetry = {} if curl.asymmetry is None else {"asymmetry": curl.asymmetry}
    return {**asymmetry, "curl_eV_per_A2": curl.magnitude, "measured_on": where}


def _moved(atoms: Atoms, positions: NDArray[np.float64]) -> Atoms:
    moved: Atoms = atoms.copy()
    moved.set_positions(positions, apply_constraint=False)
    return moved

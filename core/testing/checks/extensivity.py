"""Energies add up over things that do not touch."""

from __future__ import annotations

import numpy as np

from halocline.evaluator.result import Result
from halocline.graph import Radius
from halocline.graph.rules import single_rules
from halocline.testing.comparison import require_same
from halocline.testing.report import NotApplicable
from halocline.testing.subject import Subject

#: Copies of the small crystal along its lattice vectors.
REPEATS = (2, 1, 2)


def check_extensivity(subject: Subject) -> None:
    """Two far copies of a molecule, and a supercell of a crystal, are copies in every atom's energy and force.

    Raises:
        Failure: an energy or a force differs by more than rounding.
        NotApplicable: a rule of the model counts neighbours, which bind distant copies.
    """
    if not all(isinstance(rule, Radius) for rule in single_rules(subject.backbone.neighbours)):
        raise NotApplicable(
            "Nearest neighbours bind distant copies of a small molecule, and equally near images are ranked "
            "anew in a supercell."
        )
    _check_far_copies(subject)
    _check_supercell(subject)


def _check_far_copies(subject: Subject) -> None:
    molecule = subject.samples.molecule
    twin = molecule.copy()
    twin.positions += 100.0 * subject.samples.length
    expected = _copies(subject.evaluate(molecule), 2)
    require_same("of two far copies of a molecule", subject.evaluate(molecule + twin), expected)


def _check_supercell(subject: Subject) -> None:
    crystal = subject.samples.crystal
    expected = _copies(subject.evaluate(crystal), int(np.prod(REPEATS)))
    require_same("of a supercell", subject.evaluate(crystal.repeat(REPEATS)), expected)


def _copies(result: Result, count: int) -> Result:
    return Result(
        energies=np.tile(result.energies, count),
        forces=np.tile(result.forces, (count, 1)),
        virial=None if result.virial is None else count * result.virial,
        volume=None if result.volume is None else count * result.volume,
    )

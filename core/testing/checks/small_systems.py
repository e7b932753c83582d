"""One atom, and atoms without neighbours."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from halocline.evaluator.result import Result
from halocline.graph.rules import reach
from halocline.testing import tolerances
from halocline.testing.comparison import require_close
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject


def check_one_atom(subject: Subject) -> None:
    """A lone atom has a finite energy and no force, in every form; in a small cell it has a finite stress, too."""
    for form in subject.forms:
        _require_no_force("A lone atom", subject.evaluate(subject.samples.atom, form=form))
    atom = subject.samples.atom
    atom.set_cell(0.6 * subject.samples.length * np.eye(3))
    atom.pbc = True
    result = subject.evaluate(atom)
    require_close(
        "Forces of an atom among its images, and zero (eV/Å)", result.forces, np.zeros((1, 3)), tolerances.FORCE
    )


def check_no_neighbours(subject: Subject) -> None:
    """Atoms out of each other's reach have their own energies, and exactly no forces.

    Where a model tells forces directly, those are what its head makes of an atom alone; energies count.

    Raises:
        Failure: energies differ from those of the same atoms alone, or a force is not zero.
        NotApplicable: a rule of the model counts neighbours, however far away they are.
    """
    if reach(subject.backbone.neighbours) == np.inf:
        raise NotApplicable("The nearest atoms are neighbours however far away they are.")
    species = subject.backbone.species
    places = 10.0 * subject.samples.length * np.arange(len(species))
    atoms = Atoms(list(species), positions=np.stack([places, 0 * places, 0 * places], axis=1))
    alone = np.concatenate([subject.evaluate(atoms[[i]]).energies for i in range(len(atoms))])
    for form in subject.forms:
        result = subject.evaluate(atoms, form=form)
        if subject.backbone.derives_forces:
            _require_no_force("An atom without neighbours", result)
        what = "Energies of atoms without neighbours, and of the same atoms alone (eV)"
        require_close(what, result.energies, alone, tolerances.ENERGY * max(1.0, float(np.abs(alone).max())))


def _require_no_force(what: str, result: Result) -> None:
    if not np.isfinite(result.energies).all():
        raise Failure(f"{what} has the energy {result.energies[0]} eV.")
    if result.forces.any() or (result.virial is not None and result.virial.any()):
        raise Failure(
            f"{what} has a force of up to {np.abs(result.forces).max():.2g} eV/Å, which must be zero exactly."
        )

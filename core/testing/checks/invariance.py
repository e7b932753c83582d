"""The same structure told differently has the same energies, and forces and virial that turn with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.testing.comparison import require_same
from halocline.testing.report import NotApplicable
from halocline.testing.subject import Subject


def check_rotation(subject: Subject) -> None:
    """Positions and cell turned together: energies stay, forces and virial turn with them.

    Raises:
        Failure: they do not.
        NotApplicable: the model declares that it is not invariant.
    """
    turn = _orthogonal(seed=1)
    _check_orthogonal(subject, turn * np.linalg.det(turn), "after a rotation")


def check_reflection(subject: Subject) -> None:
    """Positions and cell mirrored together; the cell becomes left-handed.

    Raises:
        Failure: energies change, or forces and virial do not turn.
        NotApplicable: the model declares that it is not invariant.
    """
    turn = _orthogonal(seed=2)
    _check_orthogonal(subject, -turn * np.linalg.det(turn), "after a reflection")


def check_translation(subject: Subject) -> None:
    """All atoms moved together, and each atom by lattice vectors of its own: wrapped or not is one structure."""
    rng = np.random.default_rng(3)
    for name, atoms in subject.samples.small().items():
        expected = subject.evaluate(atoms)
        moved = atoms.copy()
        moved.positions += rng.uniform(-10.0, 10.0, 3)
        require_same(f"of the {name} after a translation", subject.evaluate(moved), expected)
        lattice = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
        moved.positions += lattice @ atoms.cell.array
        require_same(f"of the {name} after moves by lattice vectors", subject.evaluate(moved), expected)


def check_permutation(subject: Subject) -> None:
    """Atoms listed in another order: energies and forces are listed in that order, the virial stays."""
    rng = np.random.default_rng(4)
    for name, atoms in subject.samples.small().items():
        order = rng.permutation(len(atoms))
        result = subject.evaluate(atoms)
        expected = replace(
            result,
            energies=result.energies[order],
            forces=result.forces[order],
            magmoms=None if result.magmoms is None else result.magmoms[order],
            charges=None if result.charges is None else result.charges[order],
        )
        require_same(f"of the {name} after a permutation", subject.evaluate(atoms[order]), expected)


def _check_orthogonal(subject: Subject, turn: NDArray[np.float64], what: str) -> None:
    if not subject.backbone.invariant:
        raise NotApplicable("It declares that energies or forces do not turn with a structure.")
    for name, atoms in subject.samples.small().items():
        result = subject.evaluate(atoms)
        virial = None if result.virial is None else turn.T @ result.virial @ turn
        expected = replace(result, forces=result.forces @ turn, virial=virial)
        require_same(f"of the {name} {what}", subject.evaluate(_turned(atoms, turn)), expected)


def _turned(atoms: Atoms, turn: NDArray[np.float64]) -> Atoms:
    turned: Atoms = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn, scale_atoms=False)
    turned.positions = atoms.positions @ turn
    return turned


def _orthogonal(seed: int) -> NDArray[np.float64]:
    """A random orthogonal matrix (3, 3) of either determinant, ±1."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))

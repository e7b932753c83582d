"""Structures and answers in npz files: all atoms in one array, cut at the sizes of the structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

#: Where the answers lie.
FOLDER = Path(__file__).with_name("answers")


class Answer(NamedTuple):
    """What an upstream package says about a structure, in one precision.

    Attributes:
        energy: of the structure, as the package adds it up, eV.
        energies: of the atoms, (N,), eV.
        forces: (N, 3), eV/Å.
        stress: (3, 3), eV/Å³, positive under tension; NaN for structures that are not periodic.
    """

    energy: float
    energies: NDArray
    forces: NDArray
    stress: NDArray


def write_structures(path: Path, structures: Mapping[str, Atoms]) -> None:
    """Write structures under their names."""
    every = list(structures.values())
    np.savez_compressed(
        path,
        names=np.array(list(structures)),
        sizes=np.array([len(atoms) for atoms in every]),
        numbers=np.concatenate([atoms.numbers for atoms in every]).astype(np.uint8),
        positions=np.concatenate([atoms.positions for atoms in every]),
        cells=np.stack([np.array(atoms.cell) for atoms in every]),
        periodic=np.array([atoms.pbc.all() for atoms in every]),
    )


def read_structures(path: Path) -> dict[str, Atoms]:
    """Read structures that `write_structures` wrote."""
    with np.load(path) as file:
        ends = np.cumsum(file["sizes"])[:-1]
        numbers, positions = np.split(file["numbers"], ends), np.split(file["positions"], ends)
        return {
            str(name): Atoms(z.astype(int), r, cell=cell, pbc=bool(periodic))
            for name, z, r, cell, periodic in zip(
                file["names"], numbers, positions, file["cells"], file["periodic"], strict=True
            )
        }


def write_answers(path: Path, answers: Mapping[str, Mapping[str, Answer]], **extra: NDArray) -> None:
    """Write answers.

    Args:
        path: an npz file.
        answers: precision (``float64``, ``float32``) → name of a structure → answer; the same structures in each.
        extra: further arrays to be kept beside them.
    """
    arrays: dict[str, NDArray] = {"names": np.array(list(answers["float64"]))}
    arrays["sizes"] = np.array([len(answer.energies) for answer in answers["float64"].values()])
    for precision, by_name in answers.items():
        every: Sequence[Answer] = list(by_name.values())
        arrays[f"energy_{precision}"] = np.array([answer.energy for answer in every]).astype(precision)
        arrays[f"energies_{precision}"] = np.concatenate([answer.energies for answer in every]).astype(precision)
        arrays[f"forces_{precision}"] = np.concatenate([answer.forces for answer in every]).astype(precision)
        arrays[f"stress_{precision}"] = np.stack([answer.stress for answer in every]).astype(precision)
    np.savez_compressed(path, **arrays, **extra)


def read_answers(path: Path, precision: str) -> dict[str, Answer]:
    """Read the answers of one precision, by the names of the structures."""
    with np.load(path) as file:
        ends = np.cumsum(file["sizes"])[:-1]
        energies = np.split(file[f"energies_{precision}"], ends)
        forces = np.split(file[f"forces_{precision}"], ends)
        energy, stress = file[f"energy_{precision}"], file[f"stress_{precision}"]
        return {
            str(name): Answer(*answer)
            for name, *answer in zip(file["names"], energy, energies, forces, stress, strict=True)
        }

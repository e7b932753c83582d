"""Answers in npz files, and the weights that belong to them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from oracles.mace.models import SEED

#: Where the answers lie.
FOLDER = Path(__file__).with_name("answers")


class Answer(NamedTuple):
    """What mace-torch says about a structure in double precision.

    Attributes:
        energy: eV.
        energies: of the atoms, (N,), eV.
        forces: (N, 3), eV/Å.
        stress: (3, 3), eV/Å³; NaN for molecules.
    """

    energy: float
    energies: NDArray
    forces: NDArray
    stress: NDArray


def weight(name: str, shape: tuple[int, ...]) -> NDArray:
    """A parameter of this name: normally distributed, from a stream of its own, so that nothing is stored."""
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    spread = 0.5 if "contractions" in name else 1.0  # products of three of them stay of order one
    return spread * rng.standard_normal(shape)


def write_answers(path: Path, answers: dict[str, Answer], constants: dict[str, NDArray]) -> None:
    """Write the answers of one model, and the constants that its file would hold."""
    arrays = {
        f"{name}/{field}": value for name, answer in answers.items() for field, value in answer._asdict().items()
    }
    np.savez_compressed(path, **arrays, **{f"constants/{name}": value for name, value in constants.items()})


def read_answers(path: Path) -> tuple[dict[str, Answer], dict[str, NDArray]]:
    """What `write_answers` wrote."""
    with np.load(path) as file:
        names = sorted({name.split("/")[0] for name in file} - {"constants"})
        answers = {name: Answer(*(file[f"{name}/{field}"] for field in Answer._fields)) for name in names}
        constants = {
            name.removeprefix("constants/"): file[name] for name in file if name.startswith("constants/")
        }
    return answers, constants

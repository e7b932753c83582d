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

#: Where files lie that versions of the package wrote, and their answers.
FILES = Path(__file__).with_name("files")

#: Trained models: name → file, within the folder of real data.
CHECKPOINTS = {
    "ecemc": "checkpoints_mace/ecemc_model.model",
    "ecemc-swa": "checkpoints_mace/ecemc_model_swa.model",
    "mace01": "checkpoints_pickle/mace01.model",
}

#: Structures that they are asked for: an isolated atom, and two frames of the liquid.
LABELLED = [("ec_emc_electrolyte/ECEMC.xyz", index) for index in (2, 3, 150)]


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


def answer_name(structure: str, head: str) -> str:
    """The name of the answer of a head; of models with one that of the structure."""
    return structure if head == "Default" else f"{structure}:{head}"


def write_answers(path: Path, answers: dict[str, Answer], constants: dict[str, NDArray]) -> None:
    """Write the answers of one model, and the constants that its file would hold."""
    arrays = {
        f"{number}/{field}": value
        for number, answer in enumerate(answers.values())
        for field, value in answer._asdict().items()
    }
    arrays["names"] = np.array(list(answers))
    np.savez_compressed(path, **arrays, **{f"constants/{name}": value for name, value in constants.items()})


def read_answers(path: Path) -> tuple[dict[str, Answer], dict[str, NDArray]]:
    """What `write_answers` wrote."""
    with np.load(path) as file:
        answers = {
            str(name): Answer(*(file[f"{number}/{field}"] for field in Answer._fields))
            for number, name in enumerate(file["names"])
        }
        constants = {name.removeprefix("constants/"): file[name] for name in file if name.startswith("constants/")}
    return answers, constants

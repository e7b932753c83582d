"""Frozen models, which executors run: tensors in, tensors out."""

from halocline.program.evaluate import atom_energies, energies_and_gradients
from halocline.program.frozen import FrozenModel, Precision
from halocline.program.inputs import EdgeInputs, ProgramInputs, ProgramOutputs, TableInputs

__all__ = [
    "EdgeInputs",
    "FrozenModel",
    "Precision",
    "ProgramInputs",
    "ProgramOutputs",
    "TableInputs",
    "atom_energies",
    "energies_and_gradients",
]

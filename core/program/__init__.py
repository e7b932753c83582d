"""Frozen models, which executors run: tensors in, tensors out."""

from halocline.program.capabilities import Capabilities, Precision
from halocline.program.evaluate import atom_energies, energies_and_gradients
from halocline.program.frozen import FrozenModel
from halocline.program.inputs import EdgeInputs, ProgramInputs, ProgramOutputs, TableInputs

__all__ = [
    "Capabilities",
    "EdgeInputs",
    "FrozenModel",
    "Precision",
    "ProgramInputs",
    "ProgramOutputs",
    "TableInputs",
    "atom_energies",
    "energies_and_gradients",
]

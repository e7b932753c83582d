"""What an executor runs: tensors in, tensors out."""

from halocline.program.evaluate import atom_energies, energies_and_gradients
from halocline.program.inputs import EdgeInputs, ProgramInputs, ProgramOutputs, TableInputs
from halocline.program.program import Precision, Program

__all__ = [
    "EdgeInputs",
    "Precision",
    "Program",
    "ProgramInputs",
    "ProgramOutputs",
    "TableInputs",
    "atom_energies",
    "energies_and_gradients",
]

"""Lowering: a backbone becomes graphs of plain tensor operations, with no autograd left in them."""

from halocline.lowering.arguments import flatten
from halocline.lowering.manifest import Manifest, Value
from halocline.lowering.program import Program
from halocline.lowering.stage import StagePrograms, lower_stage
from halocline.lowering.structure import lower_structure, structure_refusal
from halocline.lowering.whole import lower

__all__ = [
    "Manifest",
    "Program",
    "StagePrograms",
    "Value",
    "flatten",
    "lower",
    "lower_stage",
    "lower_structure",
    "structure_refusal",
]

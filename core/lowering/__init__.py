"""Lowering: a backbone becomes graphs of plain tensor operations, with no autograd left in them."""

from halocline.lowering.arguments import flatten
from halocline.lowering.lowered import Lowered
from halocline.lowering.manifest import Manifest, Value
from halocline.lowering.program import lower
from halocline.lowering.stage import StagePrograms, lower_stage
from halocline.lowering.structure import lower_structure

__all__ = [
    "Lowered",
    "Manifest",
    "StagePrograms",
    "Value",
    "flatten",
    "lower",
    "lower_stage",
    "lower_structure",
]

"""Gather and sum over neighbours: one definition, two forms."""

from halocline.aggregation.block import Block, Form
from halocline.aggregation.edges import EdgeBlock
from halocline.aggregation.radial import EdgeConvolution, RadialFunction
from halocline.aggregation.rows import prefix
from halocline.aggregation.sets import (
    EdgeQuadruplets,
    EdgeSets,
    EdgeTriplets,
    QuadrupletBlock,
    TableSets,
    TripletBlock,
)
from halocline.aggregation.table import TableBlock
from halocline.aggregation.tabulated import KeptTable, TabulatedFunction

__all__ = [
    "Block",
    "EdgeBlock",
    "EdgeConvolution",
    "EdgeQuadruplets",
    "EdgeSets",
    "EdgeTriplets",
    "Form",
    "KeptTable",
    "QuadrupletBlock",
    "RadialFunction",
    "TableBlock",
    "TableSets",
    "TabulatedFunction",
    "TripletBlock",
    "prefix",
]

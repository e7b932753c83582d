"""How each ATen operation is said in ONNX.

A rule takes the translation, the fx node and the node's arguments, and returns the name of the ONNX value. The
operations are those that torch's core decompositions leave, without any that writes to computed places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from halocline.backends.onnx.operators import (
    elementwise,
    functions,
    products,
    reductions,
    selection,
    shapes,
    sizes,
)

Rule = Callable[..., str]

#: Rules by what an fx node calls.
RULES: Final[Mapping[Any, Rule]] = (
    elementwise.RULES
    | functions.RULES
    | products.RULES
    | reductions.RULES
    | selection.RULES
    | shapes.RULES
    | sizes.RULES
)

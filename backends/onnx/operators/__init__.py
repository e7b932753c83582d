"""How each ATen operation is said in ONNX.

A rule takes the translation, the fx node and the node's arguments, and returns the name of the ONNX value. The
operations are those that torch's core decompositions leave, without any that writes to computed places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from torch._ops import OpOverload

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


def supported() -> list[str]:
    """The names of the ATen operations that are translated, as documented; overloads of one share it."""
    names = {rule._schema.name.removeprefix("aten::") for rule in RULES if isinstance(rule, OpOverload)}
    return sorted(name for name in names if not name.startswith("sym_"))

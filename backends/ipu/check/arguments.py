"""Which arguments any operation may have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from halocline.backends.ipu.check.call import Call, tensors_in

#: What can be summed up by a scatter. ``multiply`` is the same as ``prod``.
REDUCTIONS: Final = ("sum", "add", "mean", "amax", "amin", "prod", "multiply")

#: On the device, integers have 32 bits.
LARGEST_INTEGER: Final = 2**31 - 1

#: Beyond it, float32 is infinite.
LARGEST_FLOAT: Final = float(np.finfo(np.float32).max)


def accumulate(call: Call) -> str:
    """The addition that PopTorch drops."""
    if call.name in ("index_put", "index_put_") and call.arguments["accumulate"]:
        return "PopTorch ignores accumulate and keeps one of the values; gather and sum instead."
    return ""


def reduction(call: Call) -> str:
    """Reductions of scatters by name."""
    name = call.arguments.get("reduce")
    if isinstance(name, str) and name not in REDUCTIONS:
        return f"PopTorch does not know the reduction {name!r}; it knows {', '.join(REDUCTIONS)}."
    return ""


def constant(call: Call) -> str:
    """Numbers, sizes and bounds that another tensor decides."""
    if call.name == "clamp" and call.overload_name == "Tensor":
        return "the bounds are tensors; they must be numbers, or use maximum and minimum."
    for argument in call.overload._schema.arguments:
        value = call.arguments[argument.name]
        if "Tensor" not in str(argument.type) and any(tensors_in(value)):
            return f"{argument.name} is a tensor; it must be a number that is known before the program runs."
    return ""


def dynamic_size(call: Call) -> str:
    """Sizes that have names instead of numbers."""
    for argument in call.overload._schema.arguments:
        if any(kind in str(argument.real_type) for kind in ("int", "number")):
            names = [part for part in _parts(call.arguments[argument.name]) if isinstance(part, str | dict)]
            if names:
                return f"{argument.name} is {names[0]!r}; sizes are numbers in a program."
    return ""


def number_range(call: Call) -> str:
    """Numbers that 32 bits do not hold."""
    for name, value in call.arguments.items():
        if call.name == "slice" and name in ("start", "end"):
            continue  # the end of a slice may lie anywhere beyond the end of the tensor
        for part in _parts(value):
            if isinstance(part, int) and not -LARGEST_INTEGER - 1 <= part <= LARGEST_INTEGER:
                return f"{name} is {part}, beyond the 32 bits that integers have on the device."
            if isinstance(part, float) and math.isfinite(part) and abs(part) > LARGEST_FLOAT:
                return f"{name} is {part}, beyond the range of float32."
    return ""


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part)
    else:
        yield value

"""Which operations a program may call, and which PopTorch can compute, by version of the SDK."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

import torch

from halocline.backends.ipu.check.call import Call, tensors_in
from halocline.errors import unknown_name

#: Operations that PopTorch lacks, and what takes their place.
_REPLACEMENTS = {
    "index_add": "gather and sum instead, as the table form does",
    "index_copy": "gather instead",
    "slice_scatter": "join the parts with cat",
    "scalar_tensor": "make the number a constant of the program",
    "nan_to_num": "choose with where",
    "sgn": "use sign",
}

#: Their size depends on values only where no number says it; see `arguments.form`.
_SIZED_BY_ARGUMENT = ("bincount", "one_hot")

_VALUES_DECIDE = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)

#: The SDK that is checked against unless another one is named: the last one that was released.
LATEST: Final = "3.4"

#: Operations without a handler that never reach PopTorch, because torch or PopTorch itself turns them into others.
COMPOSITES: Final = {
    "_to_copy": "an empty tensor and copy_",
    "alias": "removed by PopTorch",
}


def forbidden(call: Call) -> str:
    """Say what takes the place of an operation that PopTorch is known to lack; empty if it has it."""
    name = call.name.rstrip("_")
    return f"PopTorch has no {name}; {_REPLACEMENTS[name]}." if name in _REPLACEMENTS else ""


def backward(call: Call) -> str:
    """Say that a call is a fused derivative, none of which PopTorch has; empty if it is not."""
    if "_backward" in call.name:
        return "PopTorch has no derivatives of its own; write them as plain operations before export."
    return ""


def in_place(call: Call) -> str:
    """Say that a call writes to an argument, which may be a view of something else; empty if it does not."""
    if call.overload._schema.is_mutable:
        return "it writes to its argument; a program gives every value a name of its own."
    return ""


def random(call: Call) -> str:
    """Say that a call draws random numbers; empty if it does not."""
    if torch.Tag.nondeterministic_seeded in call.overload.tags:
        return "it draws random numbers; a program gives the same result every time."
    return ""


def data_dependent(call: Call) -> str:
    """Say that a size or number that a call gives depends on values; empty if it does not."""
    if call.name == "index":
        decides = any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(call.arguments["indices"]))
    elif call.name in _SIZED_BY_ARGUMENT:
        decides = False
    else:
        decides = any(tag in call.overload.tags for tag in _VALUES_DECIDE)
    return "the size of its result, or the number it gives, depends on values; sizes are fixed." if decides else ""


def factory(call: Call) -> str:
    """Say that a call makes a tensor out of nothing, on the CPU, where PopTorch cannot see it; empty if not."""
    if not any(call.tensors()):
        return "it makes a tensor out of nothing, on the CPU; make it a constant of the program."
    return ""


def device(call: Call) -> str:
    """Say which device a call names for its result; empty if none."""
    named = [name for name in ("device", "layout", "pin_memory") if call.arguments.get(name) is not None]
    return f"it names {named[0]}; PopTorch decides where tensors are." if named else ""


@cache
def supported(sdk: str = LATEST) -> frozenset[str]:
    """Names of operations, without overload.

    Raises:
        UsageError: there is no list for this SDK.
    """
    table = _table()
    if sdk not in table["branches"]:
        raise unknown_name("list of PopTorch's operations for the SDK", sdk, table["branches"])
    return frozenset(table["names"]) - frozenset(table["branches"][sdk]["lacks"]) | frozenset(COMPOSITES)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((files("halocline.backends.ipu") / "handlers.json").read_text("utf-8"))
    return table

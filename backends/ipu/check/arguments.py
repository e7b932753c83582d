"""Which arguments operations may have: any of them, and those whose handlers refuse or ignore some.

What is known of handlers comes from reading those of operations that potentials may use. Those of layers for
images, of recurrent layers and of losses were not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from halocline.backends.ipu.check.call import Call, tensors_in

#: What can be summed up by a scatter. ``multiply`` is the same as ``prod``.
REDUCTIONS: Final = ("sum", "add", "mean", "amax", "amin", "prod", "multiply")

#: On the device, integers have 32 bits.
LARGEST_INTEGER: Final = 2**31 - 1

#: Beyond it, float32 is infinite.
LARGEST_FLOAT: Final = float(np.finfo(np.float32).max)


def accumulate(call: Call) -> str:
    """Say why a call adds up in place, which PopTorch drops without a word; empty if it does not."""
    if call.name in ("index_put", "index_put_") and call.arguments["accumulate"]:
        return "PopTorch ignores accumulate and keeps one of the values; gather and sum instead."
    return ""


def reduction(call: Call) -> str:
    """Say why the reduction of a scatter is none that PopTorch knows; empty if it is."""
    name = call.arguments.get("reduce")
    if isinstance(name, str) and name not in REDUCTIONS:
        return f"PopTorch does not know the reduction {name!r}; it knows {', '.join(REDUCTIONS)}."
    return ""


def constant(call: Call) -> str:
    """Say which number, size or bound of a call a tensor decides; empty if none."""
    if call.name == "clamp" and call.overload_name == "Tensor":
        return "the bounds are tensors; they must be numbers, or use maximum and minimum."
    for argument in call.overload._schema.arguments:
        value = call.arguments[argument.name]
        if "Tensor" not in str(argument.type) and any(tensors_in(value)):
            return f"{argument.name} is a tensor; it must be a number that is known before the program runs."
    return ""


def dynamic_size(call: Call) -> str:
    """Say which size of a call is a name and no number; empty if none."""
    for argument in call.overload._schema.arguments:
        if any(kind in str(argument.real_type) for kind in ("int", "number")):
            names = [part for part in _parts(call.arguments[argument.name]) if isinstance(part, str | dict)]
            if names:
                return f"{argument.name} is {names[0]!r}; sizes are numbers in a program."
    return ""


def number_range(call: Call) -> str:
    """Say which number of a call 32 bits do not hold; empty if none."""
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


class _Form(NamedTuple):
    """What one argument of some operations may be."""

    operations: str
    argument: str
    accepted: Callable[[Any], bool]
    reason: str


_FORMS: Final = (
    _Form("argsort", "stable", lambda stable: False, "PopTorch takes it for another argument"),
    _Form("as_strided", "size", lambda size: False, "PopTorch refuses it; name the view that is meant"),
    _Form("bincount", "minlength", lambda n: n > 0, "the number of bins must be given"),
    _Form("div", "rounding_mode", lambda mode: mode is None, "PopTorch ignores it; use floor or trunc afterwards"),
    _Form("elu", "input_scale", lambda scale: scale == 1, "PopTorch ignores it"),
    _Form("embedding embedding_bag", "scale_grad_by_freq", lambda flag: not flag, "PopTorch refuses it"),
    _Form("embedding embedding_bag", "sparse", lambda flag: not flag, "PopTorch refuses it"),
    _Form("one_hot", "num_classes", lambda n: n > 0, "the number of classes must be given"),
    _Form("round", "decimals", lambda n: n == 0, "PopTorch ignores it"),
    _Form("rsub", "alpha", lambda factor: factor == 1, "PopTorch ignores it"),
    _Form("slice", "step", lambda step: step >= 1, "steps must be at least 1"),
    _Form("std std_mean var var_mean", "correction", lambda n: n in (0, 1), "PopTorch reads it as a yes or no"),
    _Form("sum prod mean", "dtype", lambda dtype: dtype is None, "PopTorch does not read it; convert before"),
    _Form("topk", "sorted", bool, "the order of the results would be undefined"),
    _Form("triu", "diagonal", lambda diagonal: False, "PopTorch knows it of constants only; multiply by a mask"),
)


def form(call: Call) -> str:
    """Say which argument the handler of an operation refuses or does not read; empty if none."""
    for each in _FORMS:
        if call.name in each.operations.split() and each.argument in call.arguments:
            value = call.arguments[each.argument]
            if not _accepts(each, value):
                return f"{each.argument} is {value!r}: {each.reason}."
    if call.name in ("cross", "linalg_cross") and len({tensor.shape for tensor in call.tensors()}) > 1:
        return "its vectors differ in shape, and PopTorch does not expand them; expand before."
    return ""


def _accepts(form: _Form, value: Any) -> bool:
    try:
        return form.accepted(value)
    except TypeError:  # no number where one must be
        return False

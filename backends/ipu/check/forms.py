"""Which arguments PopTorch's handlers refuse, and which they ignore without a word.

What is known comes from reading the handlers of operations that potentials may use. Those of layers for images, of
recurrent layers and of losses were not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from halocline.backends.ipu.check.call import Call


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
    """Arguments that the handler of this operation refuses or does not read."""
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

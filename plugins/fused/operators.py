"""Define operators of torch: what one computes, its shapes, its derivative, and what it is in plain operations."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from halocline.errors import KernelError
from halocline.native import library
from halocline.native.triton import require_triton
from halocline.program.operators import CustomOperator, register_operator

_NAMESPACE: Final = "halocline"

#: Keeps what is defined.
_LIBRARY: Final = torch.library.Library(_NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]

#: Of C functions, by the dtype that they compute in.
SUFFIX: Final = {torch.float32: "float", torch.float64: "double"}


def define(
    schema: str,
    compute: Callable[..., Any],
    fake: Callable[..., Any],
    composite: Callable[..., Any],
    *,
    version: int = 1,
    derivative: Callable[..., Any] | None = None,
    saved: Callable[..., None] | None = None,
    triton: str | None = None,
    flops: Callable[..., int] | None = None,
) -> CustomOperator:
    """Register an operator with torch and with Halocline; it is called as ``torch.ops.halocline.NAME``.

    Args:
        schema: ``name(Tensor a, ...) -> ...``.
        compute: of plain tensors, on a CPU.
        fake: of the same arguments, results of the right shapes without values.
        composite: the same as ``compute`` in plain operations.
        version: raised whenever results change.
        derivative: as ``backward`` of `torch.library.register_autograd`, made of known operations or of further
            operators. None for an operator that has none.
        saved: as ``setup_context`` there.
        triton: ``module:function`` in `halocline.plugins.triton_operators`: the same as ``compute``, on a GPU.
            None for an operator that is its composite there.
        flops: see `CustomOperator`.
    """
    name = f"{_NAMESPACE}::{schema.partition('(')[0]}"
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    _LIBRARY.impl(name, compute, "CPU")  # type: ignore[no-untyped-call]
    _LIBRARY.impl(name, _on_gpu(triton, composite) if triton else composite, "CUDA")  # type: ignore[no-untyped-call]
    torch.library.register_fake(name, fake, lib=_LIBRARY)
    if derivative is not None:
        torch.library.register_autograd(name, derivative, setup_context=saved, lib=_LIBRARY)
    return register_operator(CustomOperator(name, version, composite, flops))


def prepare(device: str, *stems: str) -> None:
    """Make sure that operators can be run.

    Args:
        device: kind of device that they will run on.
        stems: files of C++ that they need on a CPU, as for `compiled`.

    Raises:
        KernelError: a file cannot be compiled here, or there is no Triton for a GPU.
    """
    if device == "cuda":
        require_triton()
        return
    for stem in stems:
        compiled(stem)


def _on_gpu(target: str, composite: Callable[..., Any]) -> Callable[..., Any]:
    """What is called on GPUs: a function in Triton, which is imported at the first call, or else the composite."""

    @cache
    def found() -> Callable[..., Any]:
        try:
            require_triton()
        except KernelError:
            return composite
        module, _, name = target.partition(":")
        function: Callable[..., Any] = getattr(import_module(f"halocline.plugins.triton_operators.{module}"), name)
        return function

    return lambda *arguments: found()(*arguments)


@cache
def compiled(stem: str) -> ctypes.CDLL:
    """The library of a file of C++ beside this one, which is compiled once on each machine.

    Headers beside it that it includes are put in their places, so that the library's key depends on them as well.

    Raises:
        KernelError: it cannot be compiled here.
    """
    return library(stem, _text(f"{stem}.cpp"))


def _text(name: str) -> str:
    beside = Path(__file__).parent

    def included(line: re.Match[str]) -> str:
        return _text(line[1]).replace("#pragma once\n", "") if (beside / line[1]).exists() else line[0]

    source = (beside / name).read_text(encoding="utf-8")
    return re.sub(r'^#include "(.+)"$', included, source, flags=re.MULTILINE)


@cache
def c_function(stem: str, name: str, arguments: str) -> Callable[..., None]:
    """A function of such a file.

    Args:
        stem: of the file.
        name: of the function, which is ``extern "C"`` and returns nothing.
        arguments: a letter for each: ``p`` for a pointer (`address`), ``i`` for int64.

    Raises:
        KernelError: it cannot be compiled here.
    """
    function = getattr(compiled(stem), name)
    function.argtypes, function.restype = [_TYPES[letter] for letter in arguments], None
    return function  # type: ignore[no-any-return]


_TYPES: Final = {"p": ctypes.c_void_p, "i": ctypes.c_int64}


def address(tensor: Tensor | None) -> int | None:
    """Where the numbers of a contiguous tensor begin; None for no tensor."""
    return None if tensor is None else tensor.data_ptr()

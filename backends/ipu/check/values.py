"""Which tensors a program may hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.backends.ipu.check.arguments import LARGEST_INTEGER
from halocline.backends.ipu.check.call import Call, TensorType, Violation
from halocline.backends.ipu.program_file import Input, IpuProgram

#: What the device has, and int64, which PopTorch makes int32 of on the way there.
DTYPES: Final = (torch.float32, torch.float16, torch.int32, torch.int64, torch.bool)

#: A limit of our own: PopTorch documents none, and no program comes near.
LARGEST_RANK: Final = 8


def check_values(program: IpuProgram, types: Iterable[TensorType], calls: Iterable[Call]) -> Iterator[Violation]:
    """Look at every tensor: inputs, constants, results and the dtypes that calls ask for."""
    for value in program.inputs:
        yield from _check_sizes(value)
    for type_ in types:
        yield from _check_type(type_)
    for name, array in program.constants.items():
        yield from _check_numbers(name, array)
    for call in calls:
        wanted = [each for each in call.arguments.values() if isinstance(each, torch.dtype)]
        if wanted and wanted[0] not in DTYPES:
            yield Violation("dtype", call.where, _wrong_dtype(wanted[0]))


def _check_sizes(value: Input) -> Iterator[Violation]:
    if not all(type(size) is int and size >= 0 for size in value.shape):
        sentence = f"its shape is {list(value.shape)}; sizes are numbers in a program."
        yield Violation("dynamic-size", value.name, sentence)


def _check_type(type_: TensorType) -> Iterator[Violation]:
    if type_.dtype is not None and type_.dtype not in DTYPES:
        yield Violation("dtype", type_.name, _wrong_dtype(type_.dtype))
    if type_.shape is not None and 0 in type_.shape:
        sentence = f"its shape is {list(type_.shape)}; PopTorch refuses tensors without elements."
        yield Violation("zero-size", type_.name, sentence)
    if type_.shape is not None and len(type_.shape) > LARGEST_RANK:
        sentence = f"it has {len(type_.shape)} dimensions; {LARGEST_RANK} are allowed."
        yield Violation("rank", type_.name, sentence)


def _check_numbers(name: str, array: NDArray[Any]) -> Iterator[Violation]:
    if array.dtype == np.int64 and array.size and max(-int(array.min()) - 1, int(array.max())) > LARGEST_INTEGER:
        sentence = "it holds integers beyond the 32 bits that the device has."
        yield Violation("number-range", name, sentence)


def _wrong_dtype(dtype: torch.dtype) -> str:
    name, allowed = _name(dtype), ", ".join(map(_name, DTYPES))
    return f"it is {name}, which the device would silently make something else; use one of {allowed}."


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

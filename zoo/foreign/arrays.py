"""Arrays as NumPy writes them, one after another in a file; no more than the file holds, and never a pickle."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from halocline.errors import CheckpointError

#: Of version 1.0 of the format, which NumPy writes unless a header is long; two bytes of its length follow.
_MAGIC = b"\x93NUMPY\x01\x00"

#: What NumPy writes itself of plain numbers, so that no header has to be evaluated.
_HEADER = re.compile(
    rb"\{'descr': '([<|][bif][1248])', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[1-9]\d{0,17}(?:, [1-9]\d{0,17}){0,7})?,?)\), \} *\n"
)


def read_arrays(path: Path, file: IO[bytes]) -> list[Tensor]:
    """Read arrays from where a file stands to its end, where an empty line may be.

    Args:
        path: the file, for messages.
        file: opened for reading.

    Raises:
        CheckpointError: there is something else than arrays of numbers, or one is cut short.
    """
    arrays: list[Tensor] = []
    while (magic := file.read(len(_MAGIC))) not in (b"", b"\n"):
        if magic != _MAGIC:
            raise CheckpointError(f"{path} is damaged: array {len(arrays)} does not begin as NumPy's do.")
        arrays.append(_array(path, file, len(arrays)))
    return arrays


def _array(path: Path, file: IO[bytes], number: int) -> Tensor:
    header = _HEADER.fullmatch(file.read(int.from_bytes(file.read(2), "little")))
    try:
        dtype = np.dtype(header[1].decode()) if header else None
    except TypeError:  # an i1 is a type, an f1 is none
        dtype = None
    if header is None or dtype is None:
        raise CheckpointError(f"{path} is damaged: the header of array {number} is not one of plain numbers.")
    shape = tuple(int(size) for size in header[3].replace(b" ", b"").split(b",") if size)
    size = math.prod(shape) * dtype.itemsize
    if size > path.stat().st_size:
        raise CheckpointError(f"{path} is damaged: array {number} claims more bytes than the file has.")
    data = bytearray(file.read(size))
    if len(data) < size:
        raise CheckpointError(f"{path} is cut short within array {number}.")
    if dtype == np.bool_:
        dtype = np.dtype(np.uint8)  # any byte is a number, where a truth value would have to be 0 or 1
    flat = np.frombuffer(data, dtype)
    array = flat.reshape(shape[::-1]).T if header[2] == b"True" else flat.reshape(shape)
    return torch.from_numpy(array.copy(order="C"))

"""The table of tensors in the header of a safetensors file, checked before any tensor is read.

Format: https://github.com/huggingface/safetensors#format. The library refuses much of this too, but accepts
duplicate keys, any name, and a header of up to 100 MB.
"""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass
from typing import Any, final

from halocline.errors import CheckpointError

#: Bytes of one element; dtypes that no backbone has weights in are left out.
DTYPE_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9_.]+")
#: More dimensions than any weight has, and fewer than torch refuses.
MOST_DIMENSIONS = 16

_FIELDS = {"dtype", "shape", "data_offsets"}


@final
@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file.

    Attributes:
        dtype: a key of `DTYPE_SIZES`.
        shape: its lengths.
        start: offset of its first byte in the data, after the header.
        stop: offset behind its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def check_tensor_name(name: str) -> None:
    """Refuse names that could be taken for paths, or for anything but a name.

    Raises:
        CheckpointError: the name has other characters than letters, digits, dots and underscores.
    """
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"the tensor name {name!r} has characters other than letters, digits, '.' and '_'")


def read_tensor_table(table: dict[str, Any], data_size: int) -> dict[str, TensorEntry]:
    """Check that the tensors lie one behind the other and fill the data exactly.

    Args:
        table: the header without its metadata.
        data_size: bytes behind the header.

    Raises:
        CheckpointError: an entry is malformed, or the tensors overlap, leave a hole, or do not fill the data.
    """
    entries = {name: _read_entry(name, fields) for name, fields in table.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            fault = "overlaps the one before it" if entry.start < end else "leaves a hole before it"
            raise CheckpointError(f"the tensor {name!r} at byte {entry.start} of the data {fault}")
        end = entry.stop
    if end != data_size:
        raise CheckpointError(f"the header describes {end} bytes of tensors, the file holds {data_size}")
    return entries


def _read_entry(name: str, fields: Any) -> TensorEntry:
    check_tensor_name(name)
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise CheckpointError(f"the entry of tensor {name!r} does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_SIZES:
        raise CheckpointError(f"the tensor {name!r} has the unknown dtype {dtype!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise CheckpointError(f"the shape or the offsets of tensor {name!r} are not non-negative integers")
    # Without its zeros, as libraries multiply the others into strides of 64 bits.
    if len(shape) > MOST_DIMENSIONS or math.prod(max(1, length) for length in shape) * DTYPE_SIZES[dtype] >= 2**63:
        raise CheckpointError(f"the tensor {name!r} has the shape {reprlib.repr(shape)}, which no memory holds")
    size = math.prod(shape) * DTYPE_SIZES[dtype]
    taken = offsets[1] - offsets[0]
    if taken != size:
        raise CheckpointError(f"the tensor {name!r} takes {taken} bytes, but {dtype} {shape} needs {size}")
    return TensorEntry(dtype, tuple(shape), *offsets)


def _are_sizes(values: Any) -> bool:
    # type() rather than isinstance: JSON's true would pass for 1.
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)

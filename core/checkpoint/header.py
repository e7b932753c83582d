"""Read the header of a checkpoint, without torch and without the weights."""

from __future__ import annotations

import math
import os
import re
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

from halocline.canonical import parse_strict_json
from halocline.checkpoint.metadata import METADATA_KEY, Metadata, parse_metadata
from halocline.errors import CheckpointError

#: Far above the header of any model, and far below what could hurt.
MAX_HEADER_SIZE = 2**20
_LENGTH_SIZE = 8

#: Bytes of one element; dtypes that no backbone has weights in are left out.
DTYPE_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9_.]+")
#: More dimensions than any weight has, and fewer than torch refuses.
MOST_DIMENSIONS = 16

_FIELDS = {"dtype", "shape", "data_offsets"}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Everything in a checkpoint but the weights.

    Attributes:
        backbone: name of the backbone.
        config: what it is built from.
        reference_energies: chemical symbol → eV.
        card: what users should know.
        sha256: digest of the contents, as the file claims it.
        tensors: names, dtypes, shapes and places of the weights.
        data_start: offset of the weights in the file, bytes.
        size: of the whole file, bytes.
    """

    backbone: str
    config: dict[str, Any]
    reference_energies: dict[str, float]
    card: dict[str, Any]
    sha256: str
    tensors: dict[str, TensorEntry]
    data_start: int
    size: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what a checkpoint says of itself; its weights are not looked at.

    Raises:
        CheckpointError: the file cannot be read, is truncated, is no checkpoint, or is of another version.
    """
    with open_checkpoint(path) as file:
        return header_of(file, path)


def open_checkpoint(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a checkpoint for reading.

    Raises:
        CheckpointError: there is no such file, or it cannot be read.
    """
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {os.fspath(path)}: {error.strerror}.") from error


def header_of(file: BinaryIO, path: str | os.PathLike[str]) -> Header:
    """Read the header of an open checkpoint; ``path`` is for messages.

    Raises:
        CheckpointError: as for `read_header`.
    """
    try:
        size = os.fstat(file.fileno()).st_size
        length = _header_length(file.read(_LENGTH_SIZE), size)
        metadata, table = _split(file.read(length))
        data_start = _LENGTH_SIZE + length
        return Header(
            backbone=metadata.backbone,
            config=metadata.config,
            reference_energies=metadata.reference_energies,
            card=metadata.card,
            sha256=metadata.sha256,
            tensors=read_tensor_table(table, size - data_start),
            data_start=data_start,
            size=size,
        )
    except (CheckpointError, OSError) as error:
        raise CheckpointError(
            f"{os.fspath(path)} is not a readable checkpoint: {str(error).rstrip('.')}."
        ) from error


def _header_length(prefix: bytes, size: int) -> int:
    if size < _LENGTH_SIZE:
        raise CheckpointError(f"it is truncated: it has {size} bytes, and its first {_LENGTH_SIZE} are a length")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_SIZE:
        raise CheckpointError(f"its header claims {length} bytes, the limit is {MAX_HEADER_SIZE}")
    if length > size - _LENGTH_SIZE:
        raise CheckpointError(f"it is truncated: it has {size} bytes, its header alone claims {length}")
    return length


def _split(raw: bytes) -> tuple[Metadata, dict[str, Any]]:
    """Separate the metadata from the table of tensors."""
    try:
        header = parse_strict_json(raw.decode("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"its header is not valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise CheckpointError("its header is not a JSON object")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError("its metadata are missing or not all strings")
    if set(metadata) != {METADATA_KEY}:
        raise CheckpointError(
            f"it was not written by Halocline: its metadata are {sorted(metadata)}, not {METADATA_KEY!r}"
        )
    return parse_metadata(metadata[METADATA_KEY]), header


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

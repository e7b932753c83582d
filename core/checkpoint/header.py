"""Read the header of a checkpoint, without torch and without the weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

from halocline.checkpoint.canonical import parse_strict_json
from halocline.checkpoint.metadata import METADATA_KEY, Metadata, parse_metadata
from halocline.checkpoint.tensors import TensorEntry, read_tensor_table
from halocline.errors import CheckpointError

#: Far above the header of any model, and far below what could hurt.
MAX_HEADER_SIZE = 2**20
_LENGTH_SIZE = 8


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

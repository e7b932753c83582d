"""A checkpoint: what it holds, how it is read and written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from halocline.checkpoint.header import MAX_HEADER_SIZE, Header, check_tensor_name, header_of, open_checkpoint
from halocline.checkpoint.metadata import METADATA_KEY, content_digest, format_metadata, parse_metadata
from halocline.errors import CheckpointError
from halocline.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model: which backbone, how it is built, its weights, and who made it.

    Attributes:
        backbone: name of the backbone among the plugins.
        config: what the backbone is built from; plain JSON values.
        tensors: the weights by name; names are letters, digits, dots and underscores.
        reference_energies: chemical symbol → eV of one atom alone; its keys are the species of the model.
        card: what its users should know; the fields are those of `CARD_FIELDS`.
    """

    backbone: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    reference_energies: dict[str, float]
    card: dict[str, Any] = field(default_factory=dict)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and verify its digest; nothing in the file is ever executed.

    Raises:
        CheckpointError: the file cannot be read, is damaged, is of another version, or its weights are not finite.
    """
    # Here rather than above: they import torch, which reading a header does without.
    from safetensors import SafetensorError
    from safetensors.torch import load

    from halocline.checkpoint.weights import check_finite

    header, data = read_verified(path)
    try:
        tensors = load(data)
        for name, tensor in tensors.items():
            check_finite(name, tensor)
    except (CheckpointError, SafetensorError) as error:
        raise CheckpointError(f"{os.fspath(path)} cannot be used: {str(error).rstrip('.')}.") from error
    return Checkpoint(
        backbone=header.backbone,
        config=header.config,
        tensors=tensors,
        reference_energies=header.reference_energies,
        card=header.card,
    )


def read_verified(path: str | os.PathLike[str]) -> tuple[Header, bytes]:
    """Read a whole checkpoint once, so that header and weights are of the same file, and verify its digest.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or is of another version.
    """
    with open_checkpoint(path) as file:
        header = header_of(file, path)
        file.seek(0)
        data = file.read()
    if len(data) != header.size or _digest(header, data) != header.sha256:
        raise CheckpointError(
            f"{os.fspath(path)} is damaged: its contents do not have the SHA-256 {header.sha256} that it claims. "
            "Fetch or save it again."
        )
    return header, data


def _digest(header: Header, data: bytes) -> str:
    fields = {
        "backbone": header.backbone,
        "config": header.config,
        "reference_energies": header.reference_energies,
        "card": header.card,
    }
    view = memoryview(data)[header.data_start :]
    tensors = ((name, e.dtype, e.shape, view[e.start : e.stop]) for name, e in header.tensors.items())
    return content_digest(fields, tensors)


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the same contents give the same bytes.

    Readers see the old file or the new one, and a failure leaves the old one as it was.

    Raises:
        CheckpointError: the contents cannot be stored (weights that are not finite, a card with unknown fields,
            values without a form in JSON), or the file cannot be written.
    """
    target = Path(path)
    try:
        data = serialise(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"Cannot save {target}: {str(error).rstrip('.')}.") from error
    try:
        write_atomically(target, data)
    except OSError as error:
        raise CheckpointError(f"Cannot save {target} ({len(data)} bytes): {error.strerror}.") from error


def serialise(checkpoint: Checkpoint) -> bytes:
    """The bytes of the file.

    Raises:
        CheckpointError: the contents cannot be stored.
    """
    # Here rather than above: they import torch, which reading a header does without.
    from safetensors.torch import save

    from halocline.checkpoint.weights import plain_copy

    tensors = {name: plain_copy(tensor) for name, tensor in checkpoint.tensors.items()}
    data = save(tensors, metadata={METADATA_KEY: _metadata_text(checkpoint, tensors)})
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_SIZE:
        raise CheckpointError(f"config and card take {length} bytes, the limit is {MAX_HEADER_SIZE}")
    return data


def _metadata_text(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> str:
    fields: dict[str, Any] = {
        "backbone": checkpoint.backbone,
        "config": checkpoint.config,
        "reference_energies": checkpoint.reference_energies,
        "card": checkpoint.card,
    }
    digest = content_digest(fields, [_describe(name, tensor) for name, tensor in tensors.items()])
    text = format_metadata({**fields, "sha256": digest})
    parse_metadata(text)  # what could not be read back must not be written
    return text


def _describe(name: str, tensor: Tensor) -> tuple[str, str, tuple[int, ...], bytes]:
    """Name, dtype as in safetensors, shape, and bytes."""
    from halocline.checkpoint.weights import DTYPE_NAMES, check_finite, raw_bytes

    check_tensor_name(name)
    check_finite(name, tensor)
    if tensor.dtype not in DTYPE_NAMES:
        raise CheckpointError(f"the tensor {name!r} has the dtype {tensor.dtype}, which the format does not hold")
    return name, DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), raw_bytes(tensor)

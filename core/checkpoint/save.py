"""Write a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.checkpoint.checkpoint import Checkpoint
from halocline.checkpoint.digest import content_digest
from halocline.checkpoint.header import MAX_HEADER_SIZE
from halocline.checkpoint.metadata import METADATA_KEY, format_metadata, parse_metadata
from halocline.checkpoint.tensors import check_tensor_name
from halocline.errors import CheckpointError
from halocline.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


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

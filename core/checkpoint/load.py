"""Read a checkpoint."""

from __future__ import annotations

import os

from halocline.checkpoint.checkpoint import Checkpoint
from halocline.checkpoint.digest import content_digest
from halocline.checkpoint.header import Header, header_of, open_checkpoint
from halocline.errors import CheckpointError


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

"""Digests: whether two models, or two files, have the same numbers is one question with one answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor


def tensors_digest(tensors: Iterable[tuple[str, Tensor]], about: str = "") -> str:
    """SHA-256 over a text, and over names, dtypes, shapes and bytes of tensors in the order of their names.

    Args:
        tensors: by name, anywhere.
        about: what else has to be the same.
    """
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors, key=lambda named: named[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file as it is now."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

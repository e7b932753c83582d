"""The digest that ties a checkpoint together: any changed bit is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from halocline.checkpoint.metadata import format_metadata


def content_digest(
    fields: Mapping[str, Any],
    tensors: Iterable[tuple[str, str, tuple[int, ...], bytes | memoryview]],
) -> str:
    """SHA-256 over the metadata, and over names, dtypes, shapes and bytes of the tensors.

    It does not depend on where in the file the tensors lie. The hashed text is canonical JSON of the metadata
    without ``sha256``, to which ``tensors`` is added: a list of [name, dtype, shape] in the order of the names.
    After it come the bytes of the tensors in the same order.

    Args:
        fields: the metadata without ``format_version`` and ``sha256``.
        tensors: name, dtype as in safetensors, shape and bytes (little-endian, C order) of each tensor.

    Raises:
        CheckpointError: a value has no form in JSON.
    """
    ordered = sorted(tensors, key=lambda tensor: tensor[0])
    table = [[name, dtype, list(shape)] for name, dtype, shape, _ in ordered]
    digest = hashlib.sha256(format_metadata({**fields, "tensors": table}).encode("utf-8"))
    for _, _, _, data in ordered:
        digest.update(data)
    return digest.hexdigest()

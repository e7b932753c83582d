"""Tensors out of the storages of an archive, never more than it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.foreign.archive import Archive

#: Classes of storages that a pickle may name, and what their bytes are.
STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.uint8,  # any byte is a number, where a truth value would have to be 0 or 1
}


@final
@dataclass(frozen=True, slots=True)
class Storage:
    """A reference to a storage.

    Attributes:
        key: its name in the archive.
        dtype: of its elements.
    """

    key: str
    dtype: torch.dtype


@final
class TensorReader:
    """Makes the tensors that a pickle describes."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._left = archive.size
        self._flat: dict[Storage, Tensor] = {}

    def read(self, storage: Storage, offset: Any, size: Any, stride: Any) -> Tensor:
        """Copy a tensor out of a storage.

        Args:
            storage: where its elements lie.
            offset: of the first one.
            size: its shape.
            stride: steps between elements along each axis.

        Raises:
            CheckpointError: the description is none, or reaches beyond the storage or the size of the file.
        """
        path = self._archive.path
        if (
            not _are_counts([offset])
            or not _are_counts(size)
            or not _are_counts(stride)
            or len(size) != len(stride)
        ):
            raise CheckpointError(f"{path} describes a tensor by something else than numbers of elements.")
        flat, count = self._elements(storage), math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        self._left -= count * storage.dtype.itemsize
        if count and (last >= len(flat) or self._left < 0):
            raise CheckpointError(f"{path} describes tensors of more elements than it holds.")
        return flat.as_strided(size, stride, offset).clone() if count else flat.new_empty(size)

    def _elements(self, storage: Storage) -> Tensor:
        if storage not in self._flat:
            data = bytearray(self._archive.storage(storage.key))
            if len(data) % storage.dtype.itemsize:
                raise CheckpointError(f"The storage {storage.key} of {self._archive.path} ends within an element.")
            empty = torch.empty(0, dtype=storage.dtype)
            self._flat[storage] = torch.frombuffer(data, dtype=storage.dtype) if data else empty
        return self._flat[storage]


def _are_counts(value: Any) -> bool:
    """Whether these are a few whole numbers, none negative; no tensor has as many elements as 2⁶³."""
    return (
        isinstance(value, tuple | list)
        and len(value) <= 8
        and all(type(number) is int and 0 <= number < 2**63 for number in value)
    )

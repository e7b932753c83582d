"""State of any size in buckets of sizes, like the edges it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from halocline.lowering import Value
from halocline.lowering.arguments import block_tensors, markers
from halocline.model.stage import OF_EDGES
from halocline.program import ProgramInputs, TableInputs
from halocline.program.capacity import Capacity, bucket_levels, crop_edges, homes, pad, pad_edges


@final
class StagePadding:
    """The sizes of what a stage is given, and those that it is padded to.

    Args:
        state: what the stage reads.
        inputs: its edges; None without hops.

    Attributes:
        written: n_0, atoms that the stage writes.
    """

    def __init__(self, state: Mapping[str, Tensor], inputs: ProgramInputs | None) -> None:
        assert inputs is None or isinstance(inputs, TableInputs)
        first = next(iter(state.values()))
        self._device, self._inputs = first.device, inputs
        levels = (len(first),) if inputs is None else inputs.levels
        room = bucket_levels(levels)
        self.written, self._read = levels[0], levels[-1]
        self._room_written, self._room_read = room[0], room[-1]
        self._homes = homes(levels, room).to(self._device)

    def pad_edges(self) -> dict[str, Tensor]:
        """Everything about edges that the stage takes, by name."""
        if self._inputs is None:
            return {}
        padded = pad(self._inputs, Capacity.bucket(self._inputs))
        return {**block_tensors(padded), **markers(padded, first=0)}

    def pad_state(self, name: str, values: Tensor) -> Tensor:
        """Padding repeats the first atom or the first padded slot: whatever is computed there is as finite."""
        if name.startswith(OF_EDGES):
            return self._pad_slots(values, values[0, -1])
        padded = values[:1].repeat(self._room_read, *[1] * (values.ndim - 1))
        padded[self._homes] = values
        return padded

    def pad_cotangents(self, name: str, values: Tensor) -> Tensor:
        """Cotangents of what is written, padded with zeros, as nothing depends on padding."""
        if name.startswith(OF_EDGES):
            return self._pad_slots(values, values.new_zeros(values.shape[2:]))
        padded = values.new_zeros((self._room_written, *values.shape[1:]))
        padded[: self.written] = values
        return padded

    def crop_written(self, name: str, values: Tensor) -> Tensor:
        """Values that were written, of the original atoms and edges alone."""
        return self._crop_slots(values) if name.startswith(OF_EDGES) else values[: self.written]

    def crop_read(self, name: str, values: Tensor) -> Tensor:
        """The cotangents of what the original atoms and edges gave to read."""
        return self._crop_slots(values) if _of_slots(name) else values[self._homes]

    def zeros_written(self, name: str, value: Value) -> Tensor:
        """Zeros of the shape that `crop_written` gives."""
        return self._zeros(name, value, self.written)

    def zeros_read(self, name: str, value: Value) -> Tensor:
        """Zeros of the shape that `crop_read` gives."""
        return self._zeros(name, value, self._read)

    def _zeros(self, name: str, value: Value, rows: int) -> Tensor:
        sizes: tuple[int, ...] = (rows,)
        if _of_slots(name):
            assert self._inputs is not None
            sizes = tuple(self._inputs.neighbours.shape)
        channels = [size for size in value.shape if isinstance(size, int)]
        return torch.zeros((*sizes, *channels), dtype=getattr(torch, value.dtype), device=self._device)

    def _pad_slots(self, values: Tensor, padding: Tensor) -> Tensor:
        assert self._inputs is not None
        return pad_edges(values, padding, self._inputs, Capacity.bucket(self._inputs))

    def _crop_slots(self, values: Tensor) -> Tensor:
        assert self._inputs is not None
        return crop_edges(values, self._inputs, Capacity.bucket(self._inputs))


def _of_slots(name: str) -> bool:
    """Whether there is a value for each slot of the table, not for each atom."""
    return name == "vectors" or name.startswith(OF_EDGES)

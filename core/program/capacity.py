"""Fixed sizes for backends that compile one shape at a time: padded inputs, cropped outputs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Self, final

import torch
from torch import Tensor

from halocline.errors import UsageError
from halocline.program.index_sets import OPPOSITE, SetInputs
from halocline.program.inputs import ProgramOutputs, TableInputs

#: Each octave of sizes has this many buckets, so padding adds less than an eighth and sizes seldom change bucket.
_BUCKETS_PER_OCTAVE = 8


@final
@dataclass(frozen=True, slots=True)
class Capacity:
    """The sizes that inputs in table form are padded to.

    Atoms are padded hop level by hop level: padding stands at the end of each level, so that every level remains
    a prefix.

    Attributes:
        levels: (c_0, ..., c_H), atoms up to each hop level.
        width: k, slots of a row of neighbours; the last of each row stays padding.
        transposed: t, slots of a row of the transposed table.
    """

    levels: tuple[int, ...]
    width: int
    transposed: int

    @classmethod
    def of(cls, inputs: TableInputs) -> Self:
        """Exactly the sizes of these inputs."""
        return cls(inputs.levels, inputs.neighbours.shape[1], inputs.transposed.shape[1])

    @classmethod
    def bucket(cls, inputs: TableInputs) -> Self:
        """The sizes of these inputs, rounded up so that similar inputs share one compiled shape."""
        exact = cls.of(inputs)
        return cls(bucket_levels(exact.levels), _round_up(exact.width), _round_up(exact.transposed))

    @classmethod
    def few(cls, inputs: TableInputs) -> Self:
        """The sizes of these inputs, rounded up to powers of two: few shapes, each size up to twice as large."""
        exact = cls.of(inputs)
        levels = accumulate(power_of_two(size) for size in _shells(exact.levels))
        return cls(tuple(levels), power_of_two(exact.width), power_of_two(exact.transposed))

    def holds(self, inputs: TableInputs) -> bool:
        """Whether inputs fit into these sizes."""
        exact = self.of(inputs)
        return (
            len(exact.levels) == len(self.levels)
            and exact.width <= self.width
            and exact.transposed <= self.transposed
            and all(n <= c for n, c in zip(_shells(exact.levels), _shells(self.levels), strict=True))
        )


def bucket_levels(levels: tuple[int, ...]) -> tuple[int, ...]:
    """Hop levels (n_0, ..., n_H), each with room for padding at its end."""
    return tuple(accumulate(_round_up(size) for size in _shells(levels)))


def homes(levels: tuple[int, ...], capacity: tuple[int, ...]) -> Tensor:
    """Rows of atoms in padded arrays, (n_H,) int64: hop level h begins where the capacity of level h - 1 ends."""
    starts = (0, *capacity[:-1])
    return torch.cat([start + torch.arange(size) for start, size in zip(starts, _shells(levels), strict=True)])


def pad(inputs: TableInputs, capacity: Capacity) -> TableInputs:
    """Fill up to a capacity with atoms that have no neighbours and no seed.

    Raises:
        UsageError: the inputs do not fit.
    """
    exact = Capacity.of(inputs)
    if exact == capacity:
        return inputs
    if not capacity.holds(inputs):
        raise UsageError(
            f"The structure needs room for {', '.join(map(str, exact.levels))} atoms by hop level, {exact.width} "
            f"slots of neighbours (one is padding) and {exact.transposed} transposed ones; the program has "
            f"{', '.join(map(str, capacity.levels))}, {capacity.width} and {capacity.transposed}. "
            "Compile it for more."
        )
    device = inputs.species.device
    places = homes(exact.levels, capacity.levels).to(device)
    rows = places[: len(inputs.neighbours)]
    room = capacity.levels[-2]
    assert inputs.mask is not None
    return TableInputs(
        species=_spread(inputs.species, places, (capacity.levels[-1],), int(inputs.species[0])),
        vectors=_spread(inputs.vectors, rows, (room, capacity.width, 3)),
        seeds=_spread(inputs.seeds, places[: exact.levels[0]], (capacity.levels[0],)),
        levels=capacity.levels,
        mask=_spread(inputs.mask, rows, (room, capacity.width)),
        conditions={
            name: _spread(values, places, (capacity.levels[-1], *values.shape[1:]), values.reshape(-1)[0].item())
            for name, values in inputs.conditions.items()
        },
        neighbours=_spread(places[inputs.neighbours], rows, (room, capacity.width)),
        transposed=_spread(
            _moved_slots(inputs.transposed, rows, exact.width, capacity.width),
            places,
            (capacity.levels[-1], capacity.transposed),
            capacity.width - 1,
        ),
        sets=_pad_sets(inputs, rows, exact, capacity),
    )


def _pad_sets(inputs: TableInputs, rows: Tensor, exact: Capacity, capacity: Capacity) -> SetInputs:
    """Masks and opposite slots; padding is in no list and has no opposite."""
    shape, padded = (capacity.levels[-2], capacity.width), {}
    for name, values in inputs.sets.tensors.items():
        if name == OPPOSITE:
            moved = _moved_slots(values, rows, exact.width, capacity.width)
            padded[name] = _spread(moved, rows, shape, capacity.width - 1)
        else:
            padded[name] = _spread(values, rows, shape)
    return SetInputs(inputs.sets.asked, padded)


def pad_edges(values: Tensor, padding: Tensor, inputs: TableInputs, capacity: Capacity) -> Tensor:
    """Put values [..., *] of the slots of these inputs where the slots go; (*) fills the others."""
    rows = homes(inputs.levels, capacity.levels)[: len(inputs.neighbours)].to(values.device)
    padded = padding.expand(capacity.levels[-2], capacity.width, *padding.shape).clone()
    padded[rows, : values.shape[1]] = values
    return padded


def crop(outputs: ProgramOutputs, inputs: TableInputs, capacity: Capacity) -> ProgramOutputs:
    """Take the outputs of the original inputs out of those of the padded ones."""
    owned = inputs.levels[0]
    others = (values[:owned] for values in outputs.others)
    return ProgramOutputs(outputs.energies[:owned], crop_edges(outputs.gradients, inputs, capacity), *others)


def crop_edges(values: Tensor, inputs: TableInputs, capacity: Capacity) -> Tensor:
    """Take the slots of the original inputs out of those [..., *] of the padded ones."""
    exact = Capacity.of(inputs)
    if exact == capacity:
        return values
    rows = homes(exact.levels, capacity.levels)[: len(inputs.neighbours)].to(values.device)
    return values[rows, : exact.width]


def _shells(levels: tuple[int, ...]) -> tuple[int, ...]:
    """Atoms that each hop level adds."""
    return (levels[0], *(outer - inner for inner, outer in pairwise(levels)))


def _spread(values: Tensor, rows: Tensor, shape: tuple[int, ...], fill: float = 0) -> Tensor:
    """Put values into the first columns of the given rows of a larger tensor."""
    padded = values.new_full(shape, fill)
    if values.ndim == 1:
        padded[rows] = values
    else:
        padded[rows, : values.shape[1]] = values
    return padded


def _moved_slots(slots: Tensor, rows: Tensor, width: int, wider: int) -> Tensor:
    """Flat slots of the padded table; the zero slot is the last of the first row in both."""
    moved = rows[slots // width] * wider + slots % width
    return moved.where(slots != width - 1, wider - 1)


def power_of_two(size: int) -> int:
    """The next one; of nothing, nothing."""
    return 1 << (size - 1).bit_length() if size else 0


def _round_up(size: int) -> int:
    """The next bucket: multiples of an eighth of the power of two below."""
    step = 1 << max(0, (size - 1).bit_length() - _BUCKETS_PER_OCTAVE.bit_length())
    return -(-size // step) * step

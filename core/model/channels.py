"""How a backbone declares its channels: by the weights that write and read each of them.

A channel is one number of a vector inside a network, such as a feature of atoms or a hidden unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from halocline.errors import BackboneError


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight has channels: side by side along one of its dimensions.

    Attributes:
        weight: its name in the state dictionary.
        dim: the dimension, from 0.
        first: index of the first channel. Other channels may lie before it, and after the last one.
    """

    weight: str
    dim: int
    first: int = 0

    def of(self, weights: Mapping[str, Tensor], size: int) -> Tensor:
        """The numbers of each of so many channels, (size, numbers)."""
        return weights[self.weight].movedim(self.dim, 0)[self.first : self.first + size].reshape(size, -1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Channels of one vector, each of which can be removed by itself.

    Attributes:
        width: entry of the config that says how many there are. Several vectors may have one width, and then each
            loses as many channels; or a fixed share of it, such as half.
        size: how many there are.
        written: where weights give a channel its value: rows of matrices, and offsets.
        read: where weights use its value. With zeros there, the channel has no effect on anything.

    Raises:
        BackboneError: nothing writes them, or nothing reads them.
    """

    width: str
    size: int
    written: tuple[Place, ...]
    read: tuple[Place, ...]

    def __post_init__(self) -> None:
        if not (self.written and self.read):
            raise BackboneError(
                f"Channels counted by {self.width!r} need weights that write and weights that read them."
            )


def outputs(layer: str, *, bias: bool = True, first: int = 0) -> tuple[Place, ...]:
    """What a dense layer gives: rows of its weight (out, in), and its offsets if it has any."""
    weight = Place(f"{layer}.weight", 0, first)
    return (weight, Place(f"{layer}.bias", 0, first)) if bias else (weight,)


def inputs(layer: str, first: int = 0) -> tuple[Place, ...]:
    """What a dense layer takes: columns of its weight (out, in)."""
    return (Place(f"{layer}.weight", 1, first),)

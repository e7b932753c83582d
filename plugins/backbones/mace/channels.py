"""Channels of a MACE: features between layers, and in each layer what is sent, what is summed and its products.

A channel has all components of all irreps. Hidden units of radial networks and of readouts are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from halocline.model.channels import Channels, Place, inputs
from halocline.plugins.backbones.mace.stages import Layer, Readout
from halocline.plugins.equivariance import IrrepLinear

#: Dimensions of the matrices of an `IrrepLinear`, of a `SpeciesLinear`, and of weights of a contraction.
_IN, _OUT = 0, 1
_SPECIES_IN, _SPECIES_OUT = 2, 3
_CONTRACTED = 2


def channels_of(channels: int, layers: Sequence[Layer], readouts: Sequence[Readout]) -> tuple[Channels, ...]:
    """All channels; see `Backbone.channels`.

    Args:
        channels: C.
        layers: of the model.
        readouts: one for each layer.
    """
    every = [*_features(layers, readouts)]
    for number, layer in enumerate(layers):
        every += _within(f"layers.{number}", layer)
    return tuple(
        Channels(width="channels", size=channels, written=tuple(written), read=tuple(read))
        for written, read in every
    )


_Ends = tuple[Iterable[Place], Iterable[Place]]


def _features(layers: Sequence[Layer], readouts: Sequence[Readout]) -> Iterator[_Ends]:
    """What each layer finds, and what the last one leaves: by whom it is written, and read."""
    written = [Place("embed.table", 1)]
    read: list[Place] = []
    for number, (layer, readout) in enumerate(zip(layers, readouts, strict=True)):
        name, skips = f"layers.{number}", layer.residual
        skip = f"{name}.skip.weight"
        yield written, [*read, *_all(f"{name}.up", layer.up, _IN), *([Place(skip, _SPECIES_IN)] if skips else [])]
        written = [*_all(f"{name}.mix", layer.mix, _OUT), *([Place(skip, _SPECIES_OUT)] if skips else [])]
        read = list(inputs(f"heads.{number}.{'out' if readout.hidden is None else 'hidden'}"))
    yield written, read


def _within(name: str, layer: Layer) -> Iterator[_Ends]:
    """Channels that a layer keeps to itself. All paths of the product have those of what is sent."""
    paths = [path * layer.channels for path in range(len(layer.product.paths))]
    radial = f"{name}.weights.layers.{len(layer.weights.layers) - 1}.weight"
    sent = [*_all(f"{name}.up", layer.up, _OUT), *(Place(radial, 0, first) for first in paths)]
    summed = [
        Place(f"{name}.down.weights.{irrep}", _IN, path * layer.channels)
        for irrep, count in enumerate(layer.product.of_out)
        for path in range(count)
    ]
    yield sent, summed
    contracted = [Place(f"{name}.contraction.weights.{each}", _CONTRACTED) for each in layer.contraction.weights]
    down, mixed = _all(f"{name}.down", layer.down, _OUT), _all(f"{name}.mix", layer.mix, _IN)
    if layer.residual:
        yield [*down, *contracted], mixed
    else:
        skip = f"{name}.skip.weight"
        yield down, [Place(skip, _SPECIES_IN)]
        yield [Place(skip, _SPECIES_OUT), *contracted], mixed


def _all(name: str, linear: IrrepLinear, dim: int) -> list[Place]:
    return [Place(f"{name}.weights.{irrep}", dim) for irrep in range(len(linear.weights))]

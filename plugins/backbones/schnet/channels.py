"""Channels of a SchNet: features of atoms, and in each layer filters' hidden units, messages and hidden units."""

from __future__ import annotations

from collections.abc import Iterator

from halocline.model.channels import Channels, Place, inputs, outputs


def channels_of(features: int, layers: int) -> tuple[Channels, ...]:
    """All channels; see `Backbone.channels`. Each layer adds to the features of atoms, which are one vector.

    Args:
        features: C.
        layers: of the model.
    """
    names = [f"layers.{number}" for number in range(layers)]
    of_atoms = Channels(
        width="features",
        size=features,
        written=sum((outputs(f"{layer}.out") for layer in names), (Place("embed.table.weight", 1),)),
        read=sum((inputs(f"{layer}.sender") for layer in names), inputs("readout.hidden")),
    )
    of_readout = Channels(
        width="features",
        size=features // 2,
        written=outputs("readout.hidden"),
        read=inputs("readout.out"),
    )
    return (of_atoms, *(each for layer in names for each in _within(layer, features)), of_readout)


def _within(layer: str, features: int) -> Iterator[Channels]:
    """Vectors that live within one layer; a message is what the sender gives times what the filter gives."""
    for written, read in (
        (outputs(f"{layer}.filters.hidden"), inputs(f"{layer}.filters.out")),
        (outputs(f"{layer}.sender", bias=False) + outputs(f"{layer}.filters.out"), inputs(f"{layer}.receiver")),
        (outputs(f"{layer}.receiver"), inputs(f"{layer}.out")),
    ):
        yield Channels(width="features", size=features, written=written, read=read)

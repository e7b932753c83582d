"""Channels of an M3GNet: features of atoms and of edges, and the hidden units of its gated perceptrons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from halocline.model.channels import Channels, Place, inputs, outputs
from halocline.plugins.backbones.m3gnet.config import M3GNetConfig

#: The two perceptrons of a gated one, which are multiplied at the end and have hidden units of their own.
_SIDES = ("values", "gates")


def channels_of(config: M3GNetConfig) -> tuple[Channels, ...]:
    """All channels; see `Backbone.channels`. Blocks add to the features of atoms and to those of edges."""
    blocks = [f"layers.{number}" for number in range(config.layers)]
    edge_mlps = [f"{block}.{update}_update" for block in blocks for update in ("edge", "atom")]
    last = config.hidden_layers - 1
    of_atoms = Channels(
        width="features",
        size=config.features,
        written=(
            Place("embed.table.weight", 1),
            *(place for block in blocks for place in _update(f"{block}.atom", last)),
        ),
        read=(
            *(place for block in blocks for place in inputs(f"{block}.three_body.gate")),
            *(place for mlp in edge_mlps for end in ("centre", "end") for place in inputs(f"{mlp}.{end}")),
            *(place for side in _SIDES for place in inputs(f"readout.final.{side}.0")),
        ),
    )
    of_edges = Channels(
        width="features",
        size=config.features,
        written=(
            *outputs("layers.0.encoder", bias=config.matgl),
            *(place for block in blocks for place in _three_body(block)),
            *(place for block in blocks for place in _update(f"{block}.edge", last)),
        ),
        read=tuple(place for mlp in edge_mlps for place in inputs(f"{mlp}.edge")),
    )
    hidden = [each for mlp in edge_mlps for each in _hidden(mlp, config)]
    return of_atoms, of_edges, *hidden, *_of_readout(config)


def _update(name: str, last: int) -> tuple[Place, ...]:
    """What a gated perceptron and the weights of the radial basis write together."""
    sides = [place for side in _SIDES for place in outputs(f"{name}_update.{side}.{last}")]
    return (*sides, *outputs(f"{name}_weight", bias=False))


def _three_body(block: str) -> tuple[Place, ...]:
    return tuple(place for side in _SIDES for place in outputs(f"{block}.three_body.update.{side}.0", bias=False))


def _hidden(mlp: str, config: M3GNetConfig) -> Iterator[Channels]:
    """Hidden units of a perceptron on edges, whose first layer has the rows of both sides, one after the other."""
    for number, side in enumerate(_SIDES):
        first = number * config.units
        joint = (
            *outputs(f"{mlp}.centre", bias=False, first=first),
            *outputs(f"{mlp}.end", bias=False, first=first),
            *outputs(f"{mlp}.edge", first=first),
        )
        yield Channels(width="units", size=config.units, written=joint, read=inputs(f"{mlp}.{side}.0"))
        layers = [f"{mlp}.{side}.{layer}" for layer in range(config.hidden_layers)]
        yield from _between(layers, ["units"] * (config.hidden_layers - 1), config)


def _of_readout(config: M3GNetConfig) -> Iterator[Channels]:
    """Hidden units of the readout; in MatGL's its first layer has as many as there are features."""
    counted = ["features", "units", "units"] if config.matgl else ["units", "units"]
    for side in _SIDES:
        layers = [f"readout.final.{side}.{layer}" for layer in range(len(counted) + 1)]
        yield from _between(layers, counted, config)


def _between(layers: Sequence[str], counted: Sequence[str], config: M3GNetConfig) -> Iterator[Channels]:
    """What dense layers hand to each other."""
    for (writer, reader), width in zip(pairwise(layers), counted, strict=True):
        yield Channels(width=width, size=getattr(config, width), written=outputs(writer), read=inputs(reader))

"""Keep a share of the channels within layers: those on which forces depend most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np

from halocline.errors import UnknownElementError, UsageError, within
from halocline.graph import Graph, NeighbourList, Structure
from halocline.model.backbone import Backbone
from halocline.model.condition import under_conditions
from halocline.model.pruner import Pruner, PruningReport
from halocline.model.thinning import Width, thinned, widths
from halocline.plugins.pruners.importance import importances, stand_ins
from halocline.structures.read import read_frames

if TYPE_CHECKING:
    from ase import Atoms

#: Importances change as channels go, so they are taken away in so many rounds of equal ratios.
ROUNDS: Final = 4

#: Structures of a file that are looked at, evenly spread over it: derivatives of forces by weights take memory.
MOST_FRAMES: Final = 8


@final
class ChannelPruner(Pruner):
    """Remove the least important channels, the same share of every vector inside a network.

    Args:
        keep: the share to keep, above 0 and at most 1, rounded to what the config allows.
        structures: a file of structures that resemble those of later use, of which no labels are read. By default
            small random arrangements of the model's elements stand in for them, which choose less well.
    """

    example = "keep=0.5"

    def __init__(self, keep: float, structures: Path | None = None) -> None:
        if not 0.0 < keep <= 1.0:
            raise UsageError(f"The share of channels to keep must be above 0 and at most 1, not {keep:g}.")
        self.keep, self.structures = keep, structures

    def prune(self, backbone: Backbone) -> tuple[Backbone, PruningReport]:
        """See `Pruner.prune`.

        Raises:
            UsageError: the backbone declares no channels, or the share leaves all of them.
            StructureError: the structures cannot be read, or the model does not know an element of theirs.
            BackboneError: what it declares does not fit its weights.
        """
        before = widths(backbone)
        if self.keep < 1.0 and _sizes(before, self.keep) == _sizes(before, 1.0):
            told = ", ".join(f"{name} = {width.value}" for name, width in before.items())
            raise UsageError(f"keep={self.keep:g} leaves all channels of {backbone.name!r} ({told}); keep fewer.")
        graphs = stand_ins(backbone) if self.structures is None else _graphs(backbone, self.structures)
        pruned = backbone
        for done in range(1, ROUNDS + 1):
            pruned = _thinned(pruned, _sizes(before, self.keep ** (done / ROUNDS)), graphs)
        return pruned, PruningReport.compare(backbone, pruned)


def _sizes(before: Mapping[str, Width], keep: float) -> dict[str, int]:
    """What is left of each width, a step at least."""
    return {name: width.step * max(1, round(width.value * keep / width.step)) for name, width in before.items()}


def _thinned(backbone: Backbone, sizes: Mapping[str, int], graphs: Sequence[Graph]) -> Backbone:
    """The most important channels of each vector, as many as the widths say, in their order."""
    now = widths(backbone)
    kept = []
    for channels, importance in zip(backbone.channels, importances(backbone, graphs), strict=True):
        count = channels.size * sizes[channels.width] // now[channels.width].value
        kept.append(importance.topk(count).indices.sort().values)
    return thinned(backbone, kept)


def _graphs(backbone: Backbone, file: Path) -> list[Graph]:
    """Neighbour graphs of some structures of a file."""
    if backbone.pooled_head is not None:
        raise UsageError(
            f"The energy of {backbone.name!r} is no sum over atoms, so that its channels cannot be weighed on "
            "structures; leave the option structures out."
        )
    frames = read_frames(str(file))
    neighbours = NeighbourList(backbone.neighbours, skin=0.0)
    graphs = []
    for number in np.unique(np.linspace(0, len(frames) - 1, MOST_FRAMES).round().astype(int)):
        with within(f"frame {number} of {file}"):
            graphs.append(neighbours.graph(_structure(backbone, frames[number])))
    return graphs


def _structure(backbone: Backbone, atoms: Atoms) -> Structure:
    """A structure as the model is to see it.

    Raises:
        UnknownElementError: it has an element that the model does not know.
    """
    strange = sorted(set(atoms.get_chemical_symbols()) - set(backbone.species))
    if strange:
        raise UnknownElementError(
            f"The model does not know {', '.join(strange)}; it was made for {', '.join(backbone.species)}."
        )
    return under_conditions(Structure.from_atoms(atoms), backbone.conditions, atoms.info)

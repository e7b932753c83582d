"""How far a backbone really looks, measured, because parts are cut by what it declares.

Chains of two spacings and several seeds keep a hop from being hidden by chance, where a filter happens to be zero.
Gradients by edge vectors are exactly zero beyond the receptive field. What has no gradient, such as species, is
found by exchanging everything beyond.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Final

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray
from torch import Tensor

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.errors import BackboneError
from halocline.graph import Graph
from halocline.model.backbone import Backbone
from halocline.model.chain import SPACING, chain
from halocline.partition import Part, whole
from halocline.program import Capabilities, FrozenModel, Precision, ProgramInputs
from halocline.program.evaluate import atom_outputs, vector_jacobian_product
from halocline.program.layout import gather_edges, lay_out

logger = logging.getLogger(__name__)

#: Spacings (in cutoffs) and seeds of the chains. Two messages in one layer reach beyond a hop where each of them
#: reaches a good half of the cutoff.
PROBES: Final = ((SPACING, 0), (SPACING, 1), (0.55, 2))

#: Hops of the chains beyond the declared ones: how far too far a backbone reaches is told up to there.
BEYOND: Final = 2

#: Numbers that differ by less (of the larger of 1 and themselves) differ by rounding.
ROUNDING: Final = 1e-11

#: What becomes of lengths beyond: pairs stay within the cutoff.
SHRINK: Final = 0.9


def require_hops(backbone: Backbone) -> None:
    """Measure the receptive field, and compare it with what the stages declare.

    More declared hops than there are cost a wider halo than needed, and are only logged.

    Raises:
        BackboneError: energies, or what else the model tells, depend on atoms beyond the declared hops.
    """
    declared, measured = backbone.hops, measure_hops(backbone)
    if measured > declared:
        raise BackboneError(
            f"{backbone.name!r} declares {declared} hops of neighbours, but what it tells depends on atoms "
            f"{measured} hops away, so parts would be wrong; declare in its stages what they read."
        )
    if measured < declared:
        logger.warning(
            "%r declares %d hops of neighbours and depends on %d: its parts carry more halo than they need.",
            backbone.name,
            declared,
            measured,
        )


@in_evaluation_context
def measure_hops(backbone: Backbone) -> int:
    """The receptive field in hops; at most `BEYOND` more than declared are looked for.

    Raises:
        BackboneError: the backbone cannot be evaluated, see `FrozenModel.freeze`.
    """
    shared = frozenset(Form).intersection(*(stage.spec.forms for _, stage in backbone.stages()))
    form = Form.EDGES if Form.EDGES in shared else Form.TABLE
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(form))
    farthest = backbone.hops + BEYOND
    return max(_reach(frozen, _long_chain(backbone, farthest, spacing, seed)) for spacing, seed in PROBES)


def _long_chain(backbone: Backbone, hops: int, spacing: float, seed: int) -> Graph:
    """A chain with an atom so many hops from the first."""
    layers = hops + 1
    while True:
        graph = chain(backbone, 4 * layers, seed, spacing)
        if _distances(graph).max() >= hops:
            # Without pairs each edge has a gradient of its own.
            return dataclasses.replace(graph, partners=None)
        layers *= 2


def _reach(frozen: FrozenModel, graph: Graph) -> int:
    """Hops from the first atom to the farthest that anything told of it depends on."""
    distances = _distances(graph)
    told, gradients = _told_and_gradients(frozen, graph)
    reach = 1 + int(distances[graph.edges.receivers[gradients.any(axis=1)]].max(initial=-1))
    while reach < distances.max():
        exchanged = _exchanged_beyond(graph, distances, reach, frozen.backbone.species)
        inputs, _ = _inputs(frozen, exchanged)
        with torch.no_grad():
            changes = (_told(frozen, inputs, inputs.vectors) - told).abs()
        if (changes <= ROUNDING * told.abs().clamp(min=1.0)).all():
            break
        reach += 1
    return reach


def _told_and_gradients(frozen: FrozenModel, graph: Graph) -> tuple[Tensor, NDArray[np.float64]]:
    """What the model tells of the first atom, and the gradient of a mixture of it by each edge vector, (E, 3).

    Raises:
        BackboneError: there are edges and declared hops, and nothing depends on them.
    """
    inputs, part = _inputs(frozen, graph)
    vectors = inputs.vectors.detach().requires_grad_()
    told = _told(frozen, inputs, vectors)
    mixture = told @ torch.linspace(1.0, 2.0, len(told), dtype=told.dtype)  # of which nothing cancels
    gradients = vector_jacobian_product(
        {"told": mixture},
        {"told": torch.ones_like(mixture)},
        {"vectors": vectors},
        f"Energies of {frozen.backbone.name!r}",
        constant=lambda: not frozen.backbone.hops or not vectors.numel(),
    )["vectors"]
    return told.detach(), gather_edges(gradients, part, frozen.form).numpy()


def _told(frozen: FrozenModel, inputs: ProgramInputs, vectors: Tensor) -> Tensor:
    """All numbers of the first atom in one row: its energy, and whatever the model tells beside it."""
    outputs = atom_outputs(frozen.backbone, inputs, vectors)
    return torch.cat([values[0].reshape(-1) for values in outputs.values()])


def _inputs(frozen: FrozenModel, graph: Graph) -> tuple[ProgramInputs, Part]:
    part = whole(len(graph.structure), graph.edges, frozen.backbone.hops)
    return lay_out(graph, part, frozen.form, frozen.precision).usable(), part


def _exchanged_beyond(graph: Graph, distances: NDArray[np.int64], hops: int, species: tuple[str, ...]) -> Graph:
    """Other species and other edges wherever a part of so many hops does not look."""
    known = np.array([atomic_numbers[symbol] for symbol in species])
    following = np.zeros(len(atomic_numbers), np.int64)
    following[known] = np.roll(known, 1)
    numbers = graph.structure.numbers
    changed = np.where(distances > hops, following[numbers], numbers)
    scale = np.where(distances[graph.edges.receivers] >= hops, SHRINK, 1.0)
    structure = dataclasses.replace(graph.structure, numbers=changed)
    return dataclasses.replace(graph, structure=structure, vectors=graph.vectors * scale[:, None])


def _distances(graph: Graph) -> NDArray[np.int64]:
    """Hops from the first atom to each, walking from receivers to senders, (N,); -1 if there is no way."""
    distances = np.full(len(graph.structure), -1)
    distances[0], hop = 0, 0
    while (reached := graph.edges.senders[distances[graph.edges.receivers] == hop]).size:
        hop += 1
        distances[reached[distances[reached] < 0]] = hop
    return distances

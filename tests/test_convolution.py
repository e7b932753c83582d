"""Convolution over neighbours is what its sum says, and blocks know the rows and the opposites of their edges."""

import numpy as np
import pytest
import torch
from structures import random_structure

from halocline.aggregation import Form, RadialFunction
from halocline.aggregation.edges import opposite_edges, row_starts
from halocline.graph import JointGraph, NeighbourList, Radius, Structure
from halocline.partition import cut_part, whole
from halocline.program import Precision
from halocline.program.layout import lay_out

HOPS = 2
ATOMS = 15

#: Of sums of a few dozen numbers around 1, in float64.
AGREEMENT = 1e-12


def some_graph(seed=3):
    structure = Structure.from_atoms(random_structure(seed, atoms=ATOMS))
    return NeighbourList(Radius(4.0)).graph(structure)


def some_parts(graph):
    owned = np.arange(ATOMS) % 4 == 0
    return {"whole": whole(ATOMS, graph.edges, HOPS), "part": cut_part(owned, graph.edges, HOPS)}


def block_of(graph, part, form, level=0):
    inputs = lay_out(graph, part, form, Precision.FLOAT64)
    return inputs.block(level, inputs.vectors)


def weights(distances):
    return torch.stack([torch.cos(distances), distances.square(), 1.0 / distances], -1)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("which", ["whole", "part"])
@pytest.mark.parametrize("trailing", [(3,), (2, 3)], ids=str)
@pytest.mark.parametrize("angular", [False, True], ids=["plain", "angular"])
def test_convolution_is_the_sum_over_edges(form, which, trailing, angular):
    graph = some_graph()
    part = some_parts(graph)[which]
    block = block_of(graph, part, form)
    values = torch.randn((block.n_in, *trailing), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = block.convolve(values, weights, block.vectors if angular else None)

    vectors = torch.from_numpy(part.of_edges(graph.vectors))
    expected = torch.zeros((block.n_out, *([3] if angular else []), *trailing), dtype=torch.float64)
    for edge in range(part.edge_levels[0]):
        message = values[part.senders[edge]] * weights(vectors[edge].norm())
        outer = torch.tensordot(vectors[edge], message, 0)
        expected[part.receivers[edge]] += outer if angular else message
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=AGREEMENT, atol=AGREEMENT * float(expected.abs().max()))


class ByPair(RadialFunction):
    """Powers of the distance, one for each of the three unordered pairs of two kinds."""

    start, end, channels = 0.0, 4.0, 2

    def __init__(self):
        super().__init__()
        self.pairs = torch.tensor([[0, 1], [1, 2]])

    def forward(self, distances, numbers=None):
        power = distances ** (1.0 + numbers)
        return torch.stack([power, -power], -1)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("which", ["whole", "part"])
def test_radial_functions_may_differ_by_the_kinds_of_both_atoms(form, which):
    graph = some_graph()
    part = some_parts(graph)[which]
    block = block_of(graph, part, form)
    kinds = torch.arange(ATOMS)[torch.from_numpy(part.atoms)[: block.n_in]] % 2
    values = torch.randn((block.n_in, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = block.convolve(values, ByPair(), kinds=kinds)

    vectors = torch.from_numpy(part.of_edges(graph.vectors))
    expected = torch.zeros((block.n_out, 2), dtype=torch.float64)
    for edge in range(part.edge_levels[0]):
        sender, receiver = part.senders[edge], part.receivers[edge]
        power = vectors[edge].norm() ** (1.0 + float(kinds[sender] + kinds[receiver]))
        expected[receiver] += values[sender] * torch.stack([power, -power])
    torch.testing.assert_close(found, expected, rtol=AGREEMENT, atol=AGREEMENT * float(expected.abs().max()))


@pytest.mark.parametrize("form", Form)
def test_weights_may_be_given_on_edges(form):
    graph = some_graph()
    block = block_of(graph, whole(ATOMS, graph.edges, HOPS), form)
    values = torch.randn((block.n_in, 3), dtype=torch.float64)
    found = block.convolve(values, weights(block.lengths()))
    torch.testing.assert_close(found, block.convolve(values, weights), rtol=AGREEMENT, atol=AGREEMENT)


@pytest.mark.parametrize("which", ["whole", "part"])
@pytest.mark.parametrize("level", range(HOPS))
def test_blocks_know_rows_and_opposites(which, level):
    graph = some_graph()
    part = some_parts(graph)[which]
    block = block_of(graph, part, Form.EDGES, level)
    edges = len(block.receivers)
    ends = [*block.row_starts[1:].tolist(), edges]
    for receiver, (start, end) in enumerate(zip(block.row_starts.tolist(), ends, strict=True)):
        assert torch.equal(block.receivers[start:end], torch.full((end - start,), receiver))
    assert end == edges
    for edge, back in enumerate(block.opposite.tolist()):
        if back < edges:
            assert torch.equal(block.vectors[back], -block.vectors[edge])
            assert (block.senders[back], block.receivers[back]) == (block.receivers[edge], block.senders[edge])
        else:  # its sender receives nothing here
            assert block.senders[edge] >= block.n_out


@pytest.mark.parametrize("which", ["whole", "part"])
def test_rows_and_opposites_follow_from_the_other_indices(which):
    graph = some_graph()
    inputs = lay_out(graph, some_parts(graph)[which], Form.EDGES, Precision.FLOAT64)
    assert torch.equal(row_starts(inputs.receivers, inputs.levels[-2]), inputs.row_starts)
    assert torch.equal(opposite_edges(inputs.pairs, inputs.pair_of), inputs.opposite)


def test_joined_structures_keep_rows_and_opposites():
    graphs = [some_graph(seed) for seed in (1, 2, 3)]
    graph = JointGraph.of(graphs).graph
    joint = lay_out(graph, whole(3 * ATOMS, graph.edges, HOPS), Form.EDGES, Precision.FLOAT64)
    assert torch.equal(row_starts(joint.receivers, joint.levels[-2]), joint.row_starts)
    assert torch.equal(opposite_edges(joint.pairs, joint.pair_of), joint.opposite)

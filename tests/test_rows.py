"""Edges side by side are the same in both forms, come back, and differentiate to their transpose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from structures import random_structure

from halocline.aggregation import Form
from halocline.graph import Nearest, NeighbourList, Structure
from halocline.partition import whole
from halocline.program import Precision
from halocline.program.layout import lay_out

MOST = 4


def blocks(atoms):
    """The block of a structure in either form."""
    rule = Nearest(MOST, 3.2)
    graph = NeighbourList(rule).graph(Structure.from_atoms(atoms))
    part = whole(len(atoms), graph.edges, 1)
    for form in Form:
        inputs = lay_out(graph, part, form, Precision.FLOAT64)
        yield inputs.blocks(rule, (0,), inputs.vectors)[0]


def flat(block, values):
    """Values of edges, without padding."""
    return values if block.mask is None else values[block.mask > 0.0]


def structures():
    for seed, pbc in enumerate([(False, False, False), (True, True, True), (False, True, False)]):
        yield random_structure(seed, atoms=5 + seed, pbc=pbc, edge=(2.6, 6.0), outside=False)
    apart = random_structure(1, atoms=3, pbc=(False,) * 3, edge=(2.6, 6.0), outside=False)
    apart.positions *= 100.0  # no edges at all
    yield apart


@pytest.mark.parametrize("atoms", list(structures()), ids=["molecule", "crystal", "wire", "no edges"])
def test_rows_are_the_same_in_both_forms_and_come_back(atoms):
    found = []
    for block in blocks(atoms):
        values = torch.stack([block.lengths(), block.vectors[..., 0]], -1)
        rows = block.rows(values, MOST)
        assert torch.equal(flat(block, block.from_rows(rows)), flat(block, values))
        there = block.rows(torch.ones_like(block.lengths()), MOST)
        assert torch.equal(rows * (1.0 - there)[..., None], torch.zeros_like(rows))
        assert torch.allclose(rows.sum(1), block.sum(values), rtol=0.0, atol=1e-13)
        found.append([row[mask > 0.0] for row, mask in zip(rows, there, strict=True)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_both_ways_are_each_others_transpose():
    block, _ = blocks(next(structures()))
    edges = torch.randn(*block.lengths().shape, 2, dtype=torch.float64, requires_grad=True)
    rows = block.rows(edges, MOST)
    weights = torch.randn_like(rows)
    (pulled,) = torch.autograd.grad((rows * weights).sum(), edges)
    np.testing.assert_array_equal(pulled, block.from_rows(weights))


def test_derivatives_of_both_ways_are_reads():
    """Scatters one after another are what TorchInductor of torch 2.13 compiles wrongly."""
    block, _ = blocks(next(structures()))
    lengths = block.lengths().requires_grad_(True)
    there_and_back = block.from_rows(block.rows(lengths, MOST).cumsum(1))
    names, nodes = set(), [there_and_back.grad_fn]
    while nodes:
        node = nodes.pop()
        names.add(node.name())
        nodes += [following for following, _ in node.next_functions if following is not None]
    assert not [name for name in names if "Index" in name or "Scatter" in name]

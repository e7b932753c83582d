"""Interactions of SchNet that share weights between opposite edges are those that take edge by edge."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from ase.build import bulk
from test_convolution import block_of
from test_fused_convolution import AGREEMENT

from halocline.aggregation import Form
from halocline.graph import NeighbourList, Radius, Structure
from halocline.graph.joint import joint_graph
from halocline.model.build import build_backbone
from halocline.native import library
from halocline.partition import cut_part, whole
from halocline.plugins.fused import operators
from halocline.plugins.fused.interaction import Convolved, interact, interact_back, packed_interaction
from halocline.plugins.fused.rows import rows_of

#: So many channels that structures of some 250 atoms are worth several threads, and two of them share pairs.
CHANNELS, INTERVALS, CUTOFF = 160, 64, 5.0


def silicon(*times, rattle=0.1):
    atoms = bulk("Si").repeat(times)
    atoms.rattle(rattle, seed=1)
    return Structure.from_atoms(atoms)


def blocks():
    """By name: whole structures, and a part whose halo has all atoms, in an order that is its own.

    Of an atom, others have one image within the cutoff at most where all directions are wide.
    """
    rule = Radius(CUTOFF)
    alone = {"wide": (5, 5, 5), "thin": (60, 2, 1), "one": (1, 1, 1)}
    found = {name: NeighbourList(rule).graph(silicon(*times)) for name, times in alone.items()}
    found["several"] = joint_graph(rule, [silicon(4, 4, 4), silicon(5, 4, 4, rattle=0.2)])[0].graph
    wholes = {
        name: block_of(graph, whole(len(graph.structure), graph.edges, 1), Form.EDGES)
        for name, graph in found.items()
    }
    owned = np.arange(250) % 9 == 4
    return wholes | {"part": block_of(found["wide"], cut_part(owned, found["wide"].edges, 4), Form.EDGES, 2)}


BLOCKS = blocks()
ONE_IMAGE = ("wide",)


def computed(block, dtype, threads, *, shared=True, by_x=True):
    """What an interaction gives, and what it owes to features and vectors."""
    atoms = block.n_in
    assert block.n_out == atoms
    config = {"species": ["Si"], "features": CHANNELS, "gaussians": 9, "layers": 1, "cutoff": CUTOFF}
    stage = build_backbone("schnet", config).layers[0].to(dtype)
    random = torch.Generator().manual_seed(0)
    table, x, gradients = (
        torch.randn((rows, CHANNELS), generator=random, dtype=torch.float64).to(dtype)
        for rows in (4 * (INTERVALS + 2), atoms, atoms)
    )
    grid = torch.tensor([0.0, INTERVALS / CUTOFF], dtype=dtype)
    there, back = rows_of(block)
    if not shared:  # edges by sender that somebody has sorted
        back = back._replace(starts=back.starts.clone())
    weights = packed_interaction(stage.sender, stage.receiver, stage.out)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        over = Convolved(weights, table, grid, block.vectors.to(dtype), there, back)
        updated, kept = interact(x, over)
        by_vectors = torch.zeros_like(block.vectors, dtype=dtype)
        found = interact_back(gradients, kept, over, by_vectors, by_x=by_x)
    finally:
        torch.set_num_threads(before)
    return [updated, by_vectors] + ([] if found is None else [found])


@pytest.mark.parametrize("dtype", AGREEMENT, ids=str)
@pytest.mark.parametrize("by_x", [True, False])
@pytest.mark.parametrize("which", BLOCKS)
def test_shared_weights_are_those_of_each_edge(which, by_x, dtype):
    expected = computed(BLOCKS[which], dtype, 1, shared=False, by_x=by_x)
    found = computed(BLOCKS[which], dtype, 1, by_x=by_x)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= AGREEMENT[dtype] * other.abs().max()
        assert which not in ONE_IMAGE or torch.equal(one, other)


@pytest.mark.parametrize("dtype", AGREEMENT, ids=str)
@pytest.mark.parametrize("which", BLOCKS)
def test_sharing_between_threads_changes_no_bit(which, dtype):
    alone = computed(BLOCKS[which], dtype, 1)
    for threads in (2, 3, 16):
        assert all(map(torch.equal, alone, computed(BLOCKS[which], dtype, threads)))


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["-mno-avx512f", "-mno-avx2"], ids=["256 bits", "128 bits"])
def test_narrower_vectors_share_weights_as_well(monkeypatch, flag):
    caches = operators.compiled, operators.c_function
    monkeypatch.setattr(operators, "library", partial(library, flags=(flag,)))
    for cached in caches:
        cached.cache_clear()
    try:
        expected = computed(BLOCKS["wide"], torch.float32, 1, shared=False)
        for threads in (1, 3):
            assert all(map(torch.equal, computed(BLOCKS["wide"], torch.float32, threads), expected))
    finally:
        for cached in caches:
            cached.cache_clear()


def test_vectors_that_are_no_opposites_count_by_themselves():
    """As those of whoever differentiates by one edge and not by its opposite."""
    block = replace(BLOCKS["wide"], vectors=BLOCKS["wide"].vectors.clone())
    block.vectors[::5] *= 1.01
    expected = computed(block, torch.float64, 1, shared=False)
    found = computed(block, torch.float64, 1)
    assert all(map(torch.equal, found, expected))
    assert not torch.equal(found[0], computed(BLOCKS["wide"], torch.float64, 1)[0])

"""Packing: every structure once, within both limits; and packed structures do not see each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ipu_programs import BACKBONES, backbone, lowered
from structures import random_structure

from halocline.aggregation import Form
from halocline.backends.ipu.packing import efficiency, pack, pack_inputs
from halocline.backends.ipu.runner import Replay
from halocline.errors import UsageError
from halocline.graph import JointGraph, NeighbourList, Structure
from halocline.partition import whole
from halocline.program import Precision, ProgramOutputs
from halocline.program.capacity import Capacity, crop
from halocline.program.layout import gather_edges, lay_out

ROOM = (24, 20)  # atoms, and slots in each row


@given(
    sizes=st.lists(st.integers(1, 40), max_size=200),
    atoms=st.integers(40, 100),
    graphs=st.integers(1, 9),
)
def test_every_structure_is_packed_once_and_limits_are_kept(sizes, atoms, graphs):
    packs = pack(sizes, atoms, graphs)
    assert sorted(np.concatenate([*packs, []]).tolist()) == list(range(len(sizes)))
    for members in packs:
        assert 0 < len(members) <= graphs
        assert sum(sizes[each] for each in members) <= atoms


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=200))
def test_no_two_packs_would_fit_into_one(sizes):
    """True of every best-fit packing whose packs hold any number of structures, and wrong for most bugs."""
    packs = pack(sizes, 20, len(sizes))
    loads = sorted(sum(sizes[each] for each in members) for members in packs)
    assert len(loads) == 1 or loads[0] + loads[1] > 20


def test_the_fullest_packs_are_filled_up_first():
    sizes = [9, 9, 7, 7, 5, 5, 5, 3, 3]
    packs = [sorted(sizes[each] for each in members) for members in pack(sizes, 16, 4)]
    assert sorted(packs) == [[3, 3], [5, 5, 5], [7, 9], [7, 9]]
    assert efficiency(sizes, pack(sizes, 16, 4), 16) == sum(sizes) / 64


def test_sizes_like_those_of_small_molecules_fill_packs_well():
    sizes = np.random.default_rng(0).integers(3, 30, size=100_000)
    packs = pack(sizes, 128, 32)
    assert efficiency(sizes, packs, 128) > 0.99
    assert sum(map(len, packs)) == len(sizes)


@pytest.mark.parametrize(("sizes", "graphs"), [([3, 41], 4), ([0, 3], 4), ([3], 0)])
def test_what_fits_no_pack_is_refused(sizes, graphs):
    with pytest.raises(UsageError, match="make the packs larger"):
        pack(sizes, 40, graphs)


def test_nothing_makes_no_packs():
    assert pack([], 40, 4) == []
    assert efficiency([], [], 40) == 1.0


def graph_of(name, seed, atoms):
    model = backbone(name)
    structure = random_structure(seed, symbols=model.species, atoms=atoms, pbc=False, edge=(4.0, 6.0))
    return NeighbourList(model.neighbours).graph(Structure.from_atoms(structure))


def of_atoms_and_edges(outputs, name, graphs, capacity):
    """Energies of the atoms of all structures, and gradients of their edges, out of those of a pack."""
    joint = JointGraph.of(graphs).graph
    part = whole(len(joint.structure), joint.edges, backbone(name).hops)
    energies, gradients = crop(outputs, lay_out(joint, part, Form.TABLE, Precision.FLOAT32), capacity)
    return energies, gather_edges(gradients, part, Form.TABLE)


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def run(name):
    """Evaluate padded inputs with the program."""
    program = lowered(name, *ROOM)
    table = {
        "inputs": [dataclasses.asdict(each) for each in program.inputs],
        "operations": [dataclasses.asdict(each) for each in program.operations],
        "outputs": program.outputs,
        "parameters": {},
    }
    replay = Replay(json_like(table), dict(program.constants))

    def run(inputs):
        named = {field: getattr(inputs, field) for field in ("species", "vectors", "mask", "neighbours")}
        named |= {"transposed": inputs.transposed, "seeds": inputs.seeds}
        return ProgramOutputs(*replay(*(named[each["name"]] for each in replay.inputs)))

    return run


def json_like(value):
    """Tuples become lists, as in a file."""
    if isinstance(value, dict):
        return {key: json_like(part) for key, part in value.items()}
    return [json_like(part) for part in value] if isinstance(value, list | tuple) else value


def room(name):
    atoms, width = ROOM
    return Capacity((atoms,) * (backbone(name).hops + 1), width, width)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_packed_structures_give_what_they_give_alone(name, run, data):
    """To rounding: products of matrices may add in another order for other rows."""
    sizes = data.draw(
        st.lists(st.integers(1, 8), min_size=1, max_size=4).filter(lambda each: sum(each) <= ROOM[0])
    )
    graphs = [graph_of(name, data.draw(st.integers(0, 9)), size) for size in sizes]
    capacity = room(name)
    together = of_atoms_and_edges(run(pack_inputs(graphs, capacity)), name, graphs, capacity)
    alone = [of_atoms_and_edges(run(pack_inputs([each], capacity)), name, [each], capacity) for each in graphs]
    for found, *expected in zip(together, *alone, strict=True):
        for one, other in zip(found.split([len(each) for each in expected]), expected, strict=True):
            assert one.shape == other.shape
            if other.numel():
                # A few roundings of the largest value, which the pack's other structures must not set.
                allowed = 4 * torch.finfo(torch.float32).eps * max(1.0, other.abs().max())
                assert (one - other).abs().max() <= allowed


def test_garbage_in_padding_changes_nothing(name, run):
    """Not a bit: vectors, species and neighbours of slots and atoms that are not there."""
    graphs = [graph_of(name, 1, 5), graph_of(name, 2, 7)]
    capacity = room(name)
    joint = pack_inputs(graphs, capacity)
    random = torch.Generator().manual_seed(0)
    absent = joint.mask == 0.0
    known = torch.unique(joint.species)
    beyond = torch.arange(len(joint.species)) >= 12
    drawn = known[torch.randint(len(known), joint.species.shape, generator=random)]
    littered = dataclasses.replace(
        joint,
        species=joint.species.where(~beyond, drawn),
        neighbours=joint.neighbours.where(~absent, torch.randint(12, joint.neighbours.shape, generator=random)),
    )
    clean, dirty = (of_atoms_and_edges(run(each), name, graphs, capacity) for each in (joint, littered))
    assert torch.equal(clean[0], dirty[0])
    assert torch.equal(clean[1], dirty[1])


def test_structures_that_do_not_fit_together_are_refused(name):
    with pytest.raises(UsageError, match="32"):
        pack_inputs([graph_of(name, 1, 8)] * 4, room(name))

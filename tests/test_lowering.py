"""Lowered programs: what may stand in them, that sizes are free, and that they are the backbone."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pytest
import torch
from structures import random_structure
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from halocline.aggregation import Form
from halocline.errors import LoweringError, UsageError
from halocline.graph import NeighbourList, Radius, Structure
from halocline.lowering import Manifest, flatten, lower, lower_stage, lower_structure
from halocline.lowering.arguments import block_tensors
from halocline.lowering.rules import SCATTERS
from halocline.lowering.trace import replace_in_place
from halocline.model import Backbone, Stage, StageSpec, State
from halocline.model.build import build_backbone
from halocline.partition import cut_part, whole
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision, ProgramOutputs, energies_and_gradients
from halocline.program.capacity import Capacity, crop, pad
from halocline.program.layout import lay_out

#: Of the largest value: the same operations in the same order, but for decomposed derivatives.
SAME = {Precision.FLOAT64: 1e-13, Precision.FLOAT32: 1e-5}


def example(name):
    return build_backbone(name, registry().load("backbone", name).example_config(), seed=3)


def inputs_of(backbone, form, precision, seed, *, atoms=30, owned=1.0):
    """A random part of a random structure."""
    cutoff = backbone.neighbours.cutoff
    atoms = random_structure(seed, symbols=backbone.species, atoms=atoms, edge=(5.0, 6.0))
    atoms.set_cell(atoms.cell * cutoff / 3, scale_atoms=True)
    structure = Structure.from_atoms(atoms)
    graph = NeighbourList(backbone.neighbours).graph(structure)
    own = np.random.default_rng(seed).random(len(structure)) < owned
    hops = backbone.hops
    part = whole(len(structure), graph.edges, hops) if own.all() else cut_part(own, graph.edges, hops)
    return lay_out(graph, part, form, precision)


def require_same(found, expected, precision):
    for result, reference in zip(found, expected, strict=True):
        scale = max(1.0, float(reference.abs().max()))
        torch.testing.assert_close(result, reference, rtol=0, atol=SAME[precision] * scale)


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("name", ["schnet", "lennard-jones"])
def test_a_program_is_its_backbone_on_parts_of_any_size(name, form, precision):
    frozen = FrozenModel.freeze(example(name), precision, Capabilities.reference(form))
    program = lower(frozen)
    for seed, owned in enumerate((0.1, 0.5, 1.0)):
        inputs = inputs_of(frozen.backbone, form, precision, seed, owned=owned)
        require_same(program(*flatten(inputs)), energies_and_gradients(frozen.backbone, inputs), precision)


@pytest.mark.parametrize("name", ["schnet", "lennard-jones"])
def test_the_table_form_writes_nowhere(name):
    graph = lower(
        FrozenModel.freeze(example(name), Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    ).graph.graph
    called = {str(node.target).split(".")[1] for node in graph.nodes if str(node.target).startswith("aten")}
    assert len(called) > 10
    assert not called & SCATTERS


@pytest.mark.parametrize("precision", Precision)
def test_every_number_keeps_its_precision(precision):
    program = lower(FrozenModel.freeze(example("schnet"), precision, Capabilities.reference(Form.TABLE)))
    for node in program.graph.graph.nodes:
        for argument in node.args:
            if isinstance(argument, float):
                assert float(np.float32(argument)) == argument, node
    numbers = [b for b in program.graph.buffers() if b.ndim == 0]
    assert {b.dtype for b in numbers} == {precision.torch}
    expected = torch.tensor(math.pi / 3.0, dtype=precision.torch)  # the cutoff of the example is 3 Å
    assert any(bool(b == expected) for b in numbers)


def test_a_fixed_capacity_leaves_no_size_free():
    frozen = FrozenModel.freeze(example("schnet"), Precision.FLOAT64, Capabilities.reference(Form.TABLE))
    inputs = inputs_of(frozen.backbone, Form.TABLE, Precision.FLOAT64, 4, owned=0.2)
    capacity = Capacity.bucket(inputs)
    program = lower(frozen, capacity)
    assert not any("sym_size" in str(node.target) for node in program.graph.graph.nodes)
    assert all(isinstance(size, int) for value in program.manifest.inputs for size in value.shape)
    padded = pad(inputs, capacity)
    outputs = program(*flatten(padded)[: len(program.manifest.inputs)])
    found = crop(ProgramOutputs(*outputs), inputs, capacity)
    require_same(found, energies_and_gradients(frozen.backbone, inputs), Precision.FLOAT64)


def test_padding_is_invisible():
    """Garbage in padding slots changes not a bit, and padding atoms feel nothing."""
    backbone = FrozenModel.freeze(
        example("schnet"), Precision.FLOAT64, Capabilities.reference(Form.TABLE)
    ).backbone
    inputs = inputs_of(backbone, Form.TABLE, Precision.FLOAT64, 5, owned=0.3)
    exact = Capacity.of(inputs)
    assert len(set(exact.levels)) > 2, "all hop levels of one size would hide how they are padded"
    levels = tuple(n + 3 * (h + 1) for h, n in enumerate(exact.levels))
    room = Capacity(levels, exact.width + 4, exact.transposed + 5)
    padded = pad(inputs, room)
    outputs = energies_and_gradients(backbone, padded)
    require_same(crop(outputs, inputs, room), energies_and_gradients(backbone, inputs), Precision.FLOAT64)
    assert float(outputs.gradients[padded.mask == 0].abs().max()) == 0.0

    random = torch.randn(padded.vectors.shape, generator=torch.Generator().manual_seed(0)).double()
    garbage = torch.where(padded.mask[..., None] == 0, random, padded.vectors)
    again = energies_and_gradients(backbone, dataclasses.replace(padded, vectors=garbage))
    assert torch.equal(again.energies, outputs.energies)
    assert torch.equal(again.gradients, outputs.gradients)


def test_a_structure_that_does_not_fit_is_refused():
    backbone = FrozenModel.freeze(
        example("schnet"), Precision.FLOAT64, Capabilities.reference(Form.TABLE)
    ).backbone
    inputs = inputs_of(backbone, Form.TABLE, Precision.FLOAT64, 6)
    exact = Capacity.of(inputs)
    for tight in (
        Capacity(tuple(n - 1 for n in exact.levels), exact.width, exact.transposed),
        Capacity(exact.levels, exact.width - 1, exact.transposed),
        Capacity(exact.levels, exact.width, exact.transposed - 1),
    ):
        with pytest.raises(UsageError, match="needs room for"):
            pad(inputs, tight)


def test_buckets_are_few_and_near():
    """An eighth of padding at most, and eight sizes in each octave."""
    backbone = FrozenModel.freeze(
        example("lennard-jones"), Precision.FLOAT32, Capabilities.reference(Form.TABLE)
    ).backbone
    sizes = set()
    for atoms in range(16, 33):
        inputs = inputs_of(backbone, Form.TABLE, Precision.FLOAT32, 7, atoms=atoms)
        capacity = Capacity.bucket(inputs)
        assert capacity.holds(inputs)
        assert len(inputs.species) <= capacity.levels[-1] <= 1.125 * len(inputs.species)
        sizes.add(capacity.levels[-1])
    assert len(sizes) <= 9


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("name", ["schnet", "lennard-jones"])
def test_stages_one_after_another_are_the_program(name, form):
    """Values forward, cotangents backward: the energies and gradients of the whole."""
    frozen = FrozenModel.freeze(example(name), Precision.FLOAT64, Capabilities.reference(form))
    backbone = frozen.backbone
    inputs = inputs_of(backbone, form, Precision.FLOAT64, 8)
    expected = energies_and_gradients(backbone, inputs)
    one_hop = _one_hop_tensors(backbone, inputs)
    stages = {stage: lower_stage(frozen, stage) for stage, _ in backbone.stages()}

    state, tape = {"species": inputs.species}, []
    for programs in stages.values():
        arguments = [{**state, **one_hop}[value.name] for value in programs.value.manifest.inputs]
        outputs = programs.value(*arguments)
        tape.append((programs, arguments))
        state = {value.name: out for value, out in zip(programs.value.manifest.outputs, outputs, strict=True)}
    require_same([state["energies"]], [expected.energies], Precision.FLOAT64)

    cotangents = {"d_energies": inputs.seeds}
    gradients = torch.zeros_like(inputs.vectors)
    for programs, arguments in reversed(tape):
        manifest = programs.vjp.manifest
        seeds = [cotangents[value.name] for value in manifest.inputs[len(arguments) :]]
        products = dict(zip((v.name for v in manifest.outputs), programs.vjp(*arguments, *seeds), strict=True))
        gradients += products.pop("d_vectors", torch.zeros_like(gradients))
        cotangents = products
    require_same([gradients], [expected.gradients], Precision.FLOAT64)


def _one_hop_tensors(backbone, inputs):
    """The edges of a whole structure, as every stage of one hop reads them."""
    return {**block_tensors(inputs), "level_0": inputs.species.new_zeros(len(inputs.species))}


def test_a_structure_program_gives_what_the_potential_gives():
    backbone = example("schnet")
    potential = Potential(backbone, {"H": -1.5, "O": 2.25}, {})
    atoms = random_structure(9, atoms=14, pbc=True)
    expected = potential(atoms, dtype="float64")
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE))
    program = lower_structure(frozen, potential.reference_energies)
    energies, energy, forces, virial = program(*_structure_tensors(backbone, atoms))
    np.testing.assert_allclose(energies.numpy(), expected.energies, rtol=0, atol=1e-12)
    assert float(energy) == pytest.approx(expected.energy, abs=1e-11)
    np.testing.assert_allclose(forces.numpy(), expected.forces, rtol=0, atol=1e-12)
    np.testing.assert_allclose(virial.numpy(), expected.virial, rtol=0, atol=1e-11)

    atoms.numbers[3] = 9  # fluorine, which the model does not know
    assert torch.isnan(program(*_structure_tensors(backbone, atoms))[1])


def _structure_tensors(backbone, atoms):
    structure = Structure.from_atoms(atoms)
    graph = NeighbourList(backbone.neighbours).graph(structure)
    part = whole(len(structure), graph.edges, backbone.hops)
    inputs = lay_out(graph, part, Form.TABLE, Precision.FLOAT64)
    shifts = torch.zeros(*inputs.mask.shape, 3, dtype=torch.float64)
    shifts[inputs.mask == 1] = torch.from_numpy(graph.edges.shifts).double()
    return (
        torch.from_numpy(structure.positions),
        torch.from_numpy(structure.cell),
        inputs.species,
        inputs.neighbours,
        shifts,
        inputs.mask,
        inputs.transposed,
    )


def test_a_manifest_survives_json():
    manifest = lower(
        FrozenModel.freeze(example("schnet"), Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    ).manifest
    text = json.dumps(manifest.to_json())
    assert Manifest.from_json(json.loads(text)) == manifest
    with pytest.raises(LoweringError, match="version 0"):
        Manifest.from_json({**json.loads(text), "versions": {"program": "0"}})
    damaged = json.loads(text)
    del damaged["inputs"]
    with pytest.raises(LoweringError, match="damaged"):
        Manifest.from_json(damaged)


class Faulty(Backbone):
    """Springs whose one layer does something that no program can."""

    name = "faulty"

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.config, self.species = {"fault": fault}, ("H", "O")
        self.embed, self.layers = Ones(), nn.ModuleList([FAULTS[fault]()])
        self.readout = Same()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(config["fault"])

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        return {"fault": "branch"}

    @property
    def readouts(self):
        return {1: self.readout}

    def pruned_config(self, layers):
        return self.config


class Ones(Stage):
    spec = StageSpec(hops=0)

    def forward(self, state, *blocks):
        return State({"x": torch.ones_like(state.atoms["species"], dtype=torch.float64)[:, None]}, {})


class Same(Stage):
    spec = StageSpec(hops=0)

    def forward(self, state, *blocks):
        return State({"energies": state.atoms["x"].squeeze(1)}, {})


class Layer(Stage):
    spec = StageSpec(hops=1, neighbours=Radius(3.0))

    def messages(self, block):
        return block.at_senders(block.lengths().new_ones(block.n_in, 1)) * block.lengths()[..., None] ** 2


class Branch(Layer):
    """Looks at a value."""

    def forward(self, state, *blocks):
        total = blocks[0].sum(self.messages(blocks[0]))
        return State({"x": total if float(total.sum()) > 0 else -total}, {})


class Frozen(Layer):
    """Keeps the size that it was traced with."""

    def forward(self, state, *blocks):
        return State({"x": blocks[0].sum(self.messages(blocks[0])) / len(state.atoms["x"])}, {})


class Sliced(Layer):
    """Cuts rows and columns with slices and single indices, which is no fault."""

    def forward(self, state, *blocks):
        total = blocks[0].sum(self.messages(blocks[0]))
        wide = torch.cat([torch.cat([total, 2 * total], 1)] * 2)
        cut = (wide * wide)[: blocks[0].n_out]
        return State({"x": cut[:, 1][:, None] + cut[:, None, :1].squeeze(1) * cut[:, -1:]}, {})


class Strided(Layer):
    """Takes every other row, whose derivative has to write with a stride."""

    def forward(self, state, *blocks):
        return State({"x": torch.cat([blocks[0].sum(self.messages(blocks[0])) ** 2] * 2)[::2]}, {})


class Wide(Layer):
    """Computes in float64 in a program of float32."""

    def forward(self, state, *blocks):
        return State({"x": blocks[0].sum(self.messages(blocks[0]).double()).to(blocks[0].vectors.dtype)}, {})


class Overwriting(Layer):
    """Writes into a part of a tensor that others have read."""

    def forward(self, state, *blocks):
        total = blocks[0].sum(self.messages(blocks[0]))
        squared = total * total
        more = squared + 1.0
        squared[:, :1].mul_(2.0)
        return State({"x": squared + more}, {})


def _in_place(x):
    return (x * 2.0).add_(1.0)


def _in_place_of_an_input(x):
    return x.add_(1.0)


def _in_place_of_a_view(x):
    return (x * 2.0)[:1].mul_(3.0)


def _in_place_between_readers(x):
    y = x * 2.0
    before = y + 1.0
    y.mul_(3.0)
    return before * y


def _in_place_behind_a_view(x):
    y = x * 2.0
    view = y[:1]
    y.mul_(3.0)
    return view + y


def _copied(x):
    y = x * 2.0
    before = y + 1.0
    y.copy_(before * x)
    return before - y


def _copied_in_another_shape(x):
    y = x * 2.0
    y.copy_(x[:1])
    return y + 1.0


@pytest.mark.parametrize(
    ("function", "stays"),
    [
        (_in_place, False),
        (_in_place_between_readers, False),
        (_copied, False),
        (_in_place_of_an_input, True),
        (_in_place_of_a_view, True),
        (_in_place_behind_a_view, True),
        (_copied_in_another_shape, True),
    ],
)
def test_writing_in_place_goes_only_where_nothing_sees_it(function, stays):
    graph = make_fx(function)(torch.ones(3))
    replace_in_place(graph)
    written = [n for n in graph.graph.nodes if n.op == "call_function" and n.target._schema.is_mutable]
    assert bool(written) == stays
    assert torch.equal(graph(torch.ones(3)), function(torch.ones(3)))


class Inexact(Layer):
    """Hands a number to an operation as a keyword, where no tensor fits."""

    def forward(self, state, *blocks):
        total = blocks[0].sum(self.messages(blocks[0]))
        return State({"x": torch.add(total, total * total, alpha=0.1)}, {})


FAULTS = {
    "overwriting": Overwriting,
    "inexact": Inexact,
    "branch": Branch,
    "frozen": Frozen,
    "sliced": Sliced,
    "strided": Strided,
    "wide": Wide,
}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("branch", "cannot be lowered"),
        ("overwriting", "writes into a tensor"),
        ("inexact", "the number 0.1, which compilers would round"),
        ("frozen", "differs|does not run"),
        ("strided", "slice_scatter"),
        ("wide", "float64"),
    ],
)
def test_what_cannot_be_a_program_is_refused_by_name(fault, message):
    frozen = FrozenModel.freeze(Faulty(fault), Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    with pytest.raises(LoweringError, match=message):
        lower(frozen)


@pytest.mark.parametrize("form", Form)
def test_slices_are_no_fault(form):
    lower(FrozenModel.freeze(Faulty("sliced"), Precision.FLOAT64, Capabilities.reference(form)))

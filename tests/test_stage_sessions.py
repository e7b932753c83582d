"""Stages that executors prepare one by one: the definition's numbers, and the whole when parts exchange state."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from structures import random_structure
from test_partitioned import RandomOwners, backbone, require_equal, structures

from halocline.aggregation import Form
from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
from halocline.executor import Executor, StageSession
from halocline.graph import NeighbourList, Structure
from halocline.model import Stage, State
from halocline.partition import Division, cut_part
from halocline.plugin import registry
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.capacity import Capacity
from halocline.program.layout import lay_out
from halocline.program.stage_example import stage_inputs
from halocline.testing import check_executor

#: Of the largest value of a tensor: the same operations on the same numbers, with sums in another order.
EXACT = {"float64": 1e-12, "float32": 1e-5}

#: Central differences in float64: truncation is h² f'''/6 and rounding ε/h, both below 1e-9 here.
STEP, DIFFERENCE = 1e-5, 1e-8

#: Lowering each stage of a network takes several seconds.
MODELS = [("lennard-jones", 1), pytest.param("schnet", 2, marks=pytest.mark.slow)]
EVERY_MODEL = pytest.mark.parametrize(("name", "depth"), MODELS)
EVERY_EXECUTOR = pytest.mark.parametrize("backend", ["torch", "onnx"])


def executor(backend):
    kind = registry().load("executor", backend)
    if not kind.diagnose().usable:
        pytest.skip(kind.diagnose().reason)
    return kind(device="cpu", **({"threads": 1} if backend == "onnx" else {}))


def frozen(name, depth, form, precision="float64"):
    return FrozenModel.freeze(backbone(name, depth), Precision(precision), Capabilities.reference(form))


@cache
def sessions(backend, name, depth, precision="float64"):
    """Prepared once for all tests: lowering takes long."""
    ready = executor(backend)
    return ready.prepare_stages(frozen(name, depth, ready.capabilities.form, precision))


def cases(backend, name, depth, precision="float64"):
    """Every stage with a session, the state it reads, and its edges, which a stage without hops does not get."""
    model = frozen(name, depth, executor(backend).capabilities.form, precision)
    for stage_name, stage in model.backbone.stages():
        session = sessions(backend, name, depth, precision)[stage_name]
        for state, inputs in stage_inputs(model, stage_name):
            yield session, stage, state.atoms, inputs if stage.spec.hops else None


def run(stage, state, inputs, vectors=None):
    """The definition."""
    if inputs is None:
        return stage(State(state, {})).atoms
    vectors = inputs.vectors if vectors is None else vectors
    levels = range(stage.spec.hops - 1, -1, -1)
    return stage(State(state, {}), *inputs.blocks(stage.spec.neighbours, levels, vectors)).atoms


def random_like(tensors, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(x.shape, dtype=x.dtype, generator=generator)
        for name, x in tensors.items()
        if x.is_floating_point()
    }


def product(stage, state, inputs, cotangents):
    """The definition's vector-Jacobian product, by autograd."""
    read = {name: x.clone().requires_grad_(True) for name, x in state.items() if x.is_floating_point()}
    vectors = {} if inputs is None else {"vectors": inputs.vectors.clone().requires_grad_(True)}
    leaves = read | vectors
    if not leaves:
        return {}
    written = run(stage, {**state, **read}, inputs, vectors.get("vectors"))
    total = sum((written[name] * pull).sum() for name, pull in cotangents.items())
    gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True))


def require_tensors(found, expected, precision="float64"):
    assert set(found) == set(expected)
    for name, reference in expected.items():
        assert found[name].dtype == reference.dtype
        tolerance = EXACT[precision] * float(reference.abs().max()) if reference.numel() else 0.0
        np.testing.assert_allclose(found[name], reference, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("precision", Precision)
@EVERY_EXECUTOR
@EVERY_MODEL
def test_stages_are_their_definition(name, depth, backend, precision):
    trimmed = 0
    for session, stage, state, inputs in cases(backend, name, depth, precision.value):
        expected = run(stage, state, inputs)
        require_tensors(session.value(state, inputs), expected, precision.value)
        pulls = random_like(expected)
        require_tensors(
            session.product(state, inputs, pulls), product(stage, state, inputs, pulls), precision.value
        )
        trimmed += inputs is not None and inputs.levels[0] < inputs.levels[-1]
    assert trimmed


@EVERY_EXECUTOR
def test_cotangents_that_are_missing_are_zero(backend):
    for session, stage, state, inputs in cases(backend, "lennard-jones", 1):
        read = session.product(state, inputs, {})
        require_tensors(read, {name: torch.zeros_like(x) for name, x in read.items()})
        written = random_like(run(stage, state, inputs))
        for name in written:
            pulls = {name: written[name]}
            zeros = {other: torch.zeros_like(x) for other, x in written.items()}
            require_tensors(session.product(state, inputs, pulls), session.product(state, inputs, zeros | pulls))


@EVERY_EXECUTOR
@EVERY_MODEL
def test_products_are_derivatives(name, depth, backend):
    """Of values that the same session computes, along random changes of everything that is read."""
    for session, _, state, inputs in cases(backend, name, depth):
        if not random_like(state):
            continue
        pulls = random_like(session.value(state, inputs), seed=1)
        direction = random_like(state | ({} if inputs is None else {"vectors": inputs.vectors}), seed=2)
        if inputs is not None and inputs.mask is not None:
            direction["vectors"] *= inputs.mask[..., None]

        def total(step, session=session, state=state, inputs=inputs, pulls=pulls, direction=direction):
            moved = {key: x + step * direction[key] if key in direction else x for key, x in state.items()}
            if inputs is not None:
                inputs = dataclasses.replace(inputs, vectors=inputs.vectors + step * direction["vectors"])
            written = session.value(moved, inputs)
            return float(sum((written[key] * pull).sum() for key, pull in pulls.items()))

        slope = (total(STEP) - total(-STEP)) / (2 * STEP)
        read = session.product(state, inputs, pulls)
        expected = float(sum((read[key] * along).sum() for key, along in direction.items()))
        assert slope == pytest.approx(expected, abs=DIFFERENCE * max(1.0, abs(expected)))


@EVERY_EXECUTOR
def test_a_stage_of_no_atoms(backend):
    """Not even where it is given edges."""
    model = frozen("lennard-jones", 1, executor(backend).capabilities.form)
    atoms = next(structures(model.backbone))
    graph = NeighbourList(model.backbone.neighbours).graph(Structure.from_atoms(atoms))
    for session, stage, state, _ in cases(backend, "lennard-jones", 1):
        part = cut_part(np.zeros(len(atoms), bool), graph.edges, stage.spec.hops)
        inputs = lay_out(graph, part, model.form, model.precision) if stage.spec.hops else None
        nobody = {name: values[:0] for name, values in state.items()}
        written, pulls = run(stage, nobody, inputs), random_like(run(stage, nobody, inputs))
        for name, values in session.value(nobody, inputs).items():
            assert values.shape == written[name].shape
        expected = product(stage, nobody, inputs, pulls)
        assert {k: v.shape for k, v in session.product(nobody, inputs, pulls).items()} == {
            k: v.shape for k, v in expected.items()
        }


@EVERY_EXECUTOR
@EVERY_MODEL
def test_padding_changes_nothing(name, depth, backend):
    """Parts that lie between two buckets of sizes, on every hop level and along the rows of the table."""
    model = frozen(name, depth, executor(backend).capabilities.form)
    length = model.backbone.neighbours.cutoff / 3.0
    atoms = random_structure(7, symbols=model.backbone.species, atoms=75, pbc=True, edge=(8.0, 9.0), outside=False)
    atoms.set_cell(atoms.cell * length, scale_atoms=True)
    graph = NeighbourList(model.backbone.neighbours).graph(Structure.from_atoms(atoms))
    part = cut_part(np.arange(75) < 35, graph.edges, 1)
    inputs = lay_out(graph, part, model.form, model.precision)
    tables = lay_out(graph, part, Form.TABLE, model.precision)
    exact, bucket = Capacity.of(tables), Capacity.bucket(tables)
    assert all(n < c for n, c in zip(exact.levels, bucket.levels, strict=True))
    assert exact.width < bucket.width

    state = {"species": inputs.species}
    for stage_name, stage in list(model.backbone.stages())[:2]:
        session, edges = sessions(backend, name, depth)[stage_name], inputs if stage.spec.hops else None
        written = run(stage, state, edges)
        require_tensors(session.value(state, edges), written)
        pulls = random_like(written)
        require_tensors(session.product(state, edges, pulls), product(stage, state, edges, pulls))
        state = written


class Carrying(Stage):
    """Hands the species on, beside what another stage writes."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.spec = inner, inner.spec

    def forward(self, state, *blocks):
        species = state.atoms["species"]
        for block in blocks:
            species = block.targets(species[:, None]).squeeze(1)
        return State({**self.inner(state, *blocks).atoms, "species": species}, {})


@EVERY_EXECUTOR
def test_whole_numbers_are_handed_on(backend):
    ready = executor(backend)
    carrying = frozen("lennard-jones", 1, ready.capabilities.form)
    carrying.backbone.embed = Carrying(carrying.backbone.embed)
    carrying.backbone.layers[0] = Carrying(carrying.backbone.layers[0])
    prepared = ready.prepare_stages(copy.deepcopy(carrying))
    for name, session in prepared.items():
        for state, inputs in stage_inputs(carrying, name):
            stage = dict(carrying.backbone.stages())[name]
            written = session.value(state.atoms, inputs if stage.spec.hops else None)
            assert written["species"].dtype == torch.int64
            assert written["species"].equal(state.atoms["species"][: inputs.levels[0]])
            read = session.product(state.atoms, inputs if stage.spec.hops else None, {})
            assert "species" not in read


@EVERY_EXECUTOR
@EVERY_MODEL
def test_parts_that_exchange_state_are_the_whole(name, depth, backend):
    model = backbone(name, depth)
    whole = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64)
    division = Division("random", RandomOwners(), 3)
    divided = LocalEvaluator(model, executor(backend), Precision.FLOAT64, division, exchange=True)
    for atoms in structures(model):
        structure = Structure.from_atoms(atoms)
        require_equal(divided.evaluate(structure), whole.evaluate(structure))


class Broken(Executor):
    """Runs stages as the torch executor does, and then does something to what comes out."""

    capabilities = TorchExecutor.capabilities
    device = "cpu"

    def __init__(self, value=lambda written: written, product=lambda read: read):
        self.change = value, product

    @classmethod
    def diagnose(cls):
        return TorchExecutor.diagnose()

    def prepare(self, frozen):
        return TorchExecutor("cpu").prepare(frozen)

    def prepare_stages(self, frozen):
        prepared = TorchExecutor("cpu").prepare_stages(frozen)
        return {name: BrokenStage(session, *self.change) for name, session in prepared.items()}


class BrokenStage(StageSession):
    def __init__(self, session, value, product):
        self.session, self.change_value, self.change_product = session, value, product

    def value(self, state, inputs):
        return self.change_value(self.session.value(state, inputs))

    def product(self, state, inputs, cotangents):
        return self.change_product(self.session.product(state, inputs, cotangents))


FAULTS = {
    "nothing": ({}, None),
    "a little too large": ({"value": lambda x: {k: v * (1 + 1e-9) for k, v in x.items()}}, "Values"),
    "in single precision": ({"value": lambda x: {k: v.half() for k, v in x.items()}}, "float16"),
    "one row too many": ({"value": lambda x: {k: torch.cat([v, v[:1]]) for k, v in x.items()}}, "shape"),
    "no force on halo atoms": (
        {"product": lambda x: {k: torch.cat([v[:3], 0 * v[3:]]) for k, v in x.items()}},
        "Values",
    ),
    "edges are forgotten": (
        {"product": lambda x: {k: v for k, v in x.items() if k != "vectors"}},
        "instead of",
    ),
    "noise without cotangents": ({"product": lambda x: {k: v + 1e-9 for k, v in x.items()}}, "Values"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_finds(fault):
    changes, message = FAULTS[fault]
    (result,) = check_executor(Broken(**changes), backbone("lennard-jones", 1), checks=["stages"]).results
    assert result.status == ("passed" if message is None else "failed")
    assert message is None or message in result.message


def test_the_suite_skips_who_runs_whole_programs_only():
    whole = TorchExecutor("cpu", compile="inductor")
    (result,) = check_executor(whole, backbone("lennard-jones", 1), checks=["stages"]).results
    assert result.status == "skipped"
    assert "halo=recompute" in result.message

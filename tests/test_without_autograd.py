"""Steps without autograd give what autograd gives: any stages, any parts, any number of threads and of callers."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from structures import random_structure
from test_partitioned import backbone
from told_model import told
from torch.utils._python_dispatch import TorchDispatchMode

from halocline.aggregation import Form, prefix
from halocline.backends.torch.executor import EagerSession, TorchExecutor
from halocline.context import evaluation_context
from halocline.errors import KernelError
from halocline.graph import NeighbourList, Structure
from halocline.model import State
from halocline.model.build import build_backbone
from halocline.partition import cut_part, whole
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.analytic import AnalyticStage, is_analytic, outputs_without_autograd
from halocline.program.layout import lay_out
from halocline.program.stage_check import require_same_stage
from halocline.program.stage_example import stage_inputs

#: Of the largest value, in float64: the same operations in another order.
EXACT = 1e-12

#: Central differences in float64, in Å and eV/Å: third derivatives of a sum over all edges, times h².
STEP, DIFFERENCE = 1e-4, 1e-5


class ByName(AnalyticStage):
    """Any stage as one that knows its derivative, which it asks autograd for by itself.

    Args:
        plain: the stage.
        declines: whether it takes no blocks.
    """

    def __init__(self, plain, declines=False):
        super().__init__()
        self.spec, self.plain, self.declines = plain.spec, plain, declines

    def forward(self, state, *blocks):
        return self.plain(state, *blocks)

    def linearized(self, state, *blocks):
        assert not torch.is_grad_enabled()
        if self.declines:
            return None
        with torch.enable_grad():
            read = {name: x.detach() for name, x in state.named().items()}
            leaves = {name: x.requires_grad_(True) for name, x in read.items() if x.is_floating_point()}
            vectors = [blocks[0].vectors.detach().requires_grad_(True)] if blocks else []
            moved = [dataclasses.replace(each, vectors=prefix(vectors[0], len(each.vectors))) for each in blocks]
            written = self.plain(State.of({**read, **leaves}), *moved)

        def pull(cotangents, by_vectors, *, by_state):
            named = written.named()
            names = [name for name in cotangents if named[name].requires_grad]
            if not names:
                return {}
            found = torch.autograd.grad(
                [named[name] for name in names],
                [*leaves.values(), *vectors],
                [cotangents[name] for name in names],
                allow_unused=True,
            )
            if vectors and found[-1] is not None:
                by_vectors[: len(found[-1])] += found[-1]
            pairs = zip(leaves, found, strict=False)
            return {name: values for name, values in pairs if values is not None} if by_state else {}

        return State.of({name: values.detach() for name, values in written.named().items()}), pull


def by_name(model, **options):
    """A frozen model in which all stages but the first know their derivatives."""
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES)).backbone
    for _, stage in list(frozen.stages())[1:]:
        path = next(path for path, module in frozen.named_modules() if module is stage)
        frozen.set_submodule(path, ByName(stage, **options))
    return frozen


def laid_out(model, seed=0, conditions=None, precision=Precision.FLOAT64):
    """A structure as a whole, and a part that owns some of its atoms."""
    scale = model.neighbours.cutoff / 3.0
    atoms = random_structure(seed, symbols=model.species, atoms=14, edge=(2.5, 9.0))
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    structure = Structure.from_atoms(atoms)
    if conditions is not None:
        structure = structure.under(conditions(len(atoms)))
    graph = NeighbourList(model.neighbours).graph(structure)
    parts = whole(14, graph.edges, model.hops), cut_part(np.arange(14) % 3 == 0, graph.edges, model.hops)
    return [lay_out(graph, part, Form.EDGES, precision) for part in parts]


def require_same_outputs(found, expected, tolerance=EXACT):
    assert len(found) == len(expected)
    for ours, reference in zip(found, expected, strict=True):
        assert not ours.requires_grad
        scale = max(1.0, float(reference.abs().max())) if reference.numel() else 1.0
        torch.testing.assert_close(ours, reference, rtol=0.0, atol=tolerance * scale)


@pytest.mark.parametrize(("name", "depth"), [("lennard-jones", 1), ("schnet", 3), ("m3gnet", 2), ("mace", 2)])
def test_stages_walked_back_are_what_autograd_gives(name, depth):
    model = backbone(name, depth)
    plain = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES)).backbone
    walked = by_name(model)
    assert is_analytic(walked)
    for inputs in laid_out(model):
        require_same_outputs(outputs_without_autograd(walked, inputs), energies_and_gradients(plain, inputs))


def test_further_outputs_and_energies_of_pooled_vectors():
    model = told(told=[], says=["pooled", "charges"]).backbone

    def weights(atoms):
        return {"pooled_weights": np.random.default_rng(1).normal(size=(atoms, 4))}

    plain = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES)).backbone
    walked = by_name(model)
    for inputs in laid_out(model, conditions=weights):
        require_same_outputs(outputs_without_autograd(walked, inputs), energies_and_gradients(plain, inputs))


def test_who_declines_leaves_all_to_autograd():
    model = backbone("schnet", 2)
    walked, (inputs, _) = by_name(model, declines=True), laid_out(model)
    plain = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES)).backbone
    require_same_outputs(outputs_without_autograd(walked, inputs), energies_and_gradients(plain, inputs))


def test_models_that_know_a_part_of_their_derivatives_are_left_to_autograd():
    model = by_name(backbone("schnet", 2))
    assert is_analytic(model)
    model.layers[1] = model.layers[1].plain
    assert not is_analytic(model)
    assert not is_analytic(by_name(told(told=[], says=["forces"]).backbone))


def test_a_derivative_that_is_wrong_is_refused():
    model = backbone("schnet", 2)
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES))

    class Wrong(ByName):
        def linearized(self, state, *blocks):
            written, pull = super().linearized(state, *blocks)
            return written, lambda cotangents, by_vectors, by_state: pull(
                cotangents, 1.01 * by_vectors, by_state=by_state
            )

    stage, cases = frozen.backbone.layers[1], stage_inputs(frozen, "layers.1")
    assert require_same_stage(stage, ByName(stage), cases, EXACT) <= EXACT
    with pytest.raises(KernelError, match="products by vectors"):
        require_same_stage(stage, Wrong(stage), cases, EXACT)


# ---- SchNet, compiled -------------------------------------------------------------------------------------------


def schnet(features, layers=3):
    config = {"species": ["H", "O"], "features": features, "gaussians": 9, "layers": layers, "cutoff": 3.0}
    return build_backbone("schnet", config)


def compiled(features, precision=Precision.FLOAT64):
    model = schnet(features)
    frozen = FrozenModel.freeze(model, precision, TorchExecutor("cpu").capabilities, compress=True)
    assert is_analytic(frozen.backbone)
    return frozen.backbone


@pytest.mark.parametrize("features", [32, 48, 128])
def test_compiled_stages_are_what_autograd_gives(features):
    model = compiled(features)
    for inputs in laid_out(model):
        require_same_outputs(outputs_without_autograd(model, inputs), energies_and_gradients(model, inputs))


def test_in_float32_too():
    model, exact = compiled(48, Precision.FLOAT32), compiled(48)
    for narrow, wide in zip(laid_out(model, precision=Precision.FLOAT32), laid_out(exact), strict=True):
        found = outputs_without_autograd(model, narrow)
        assert {each.dtype for each in found} == {torch.float32}
        require_same_outputs([each.double() for each in found], energies_and_gradients(exact, wide), 2e-6)


def test_gradients_are_those_of_differences():
    model = compiled(48)
    inputs, _ = laid_out(model)
    gradients = outputs_without_autograd(model, inputs).gradients

    def energy(displacements):
        return float(outputs_without_autograd(model, inputs.moved(inputs.vectors + displacements)).energies.sum())

    for seed in range(5):
        direction = torch.randn(inputs.vectors.shape, generator=torch.Generator().manual_seed(seed)).double()
        slope = (energy(STEP * direction) - energy(-STEP * direction)) / (2.0 * STEP)
        assert slope == pytest.approx(float((gradients * direction).sum()), abs=DIFFERENCE)


def test_no_operator_of_autograd_runs(monkeypatch):
    model = compiled(48)

    def refuse(*arguments, **named):
        raise AssertionError("autograd was asked")

    monkeypatch.setattr("halocline.program.analytic.energies_and_gradients", refuse)
    inputs, _ = laid_out(model)
    EagerSession(model)(inputs)


def test_any_number_of_threads_gives_the_same_bits():
    model, before, found = compiled(48, Precision.FLOAT32), torch.get_num_threads(), []
    inputs = laid_out(model, precision=Precision.FLOAT32)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([each for part in inputs for each in outputs_without_autograd(model, part)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_callers_at_the_same_time_get_what_each_gets_alone():
    model = compiled(48)
    inputs = [each for seed in range(4) for each in laid_out(model, seed=seed)] * 5
    alone = [outputs_without_autograd(model, each) for each in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: outputs_without_autograd(model, each), inputs))
    for found, expected in zip(together, alone, strict=True):
        assert all(map(torch.equal, found, expected))


def test_who_watches_sees_operators():
    class Seen(TorchDispatchMode):
        names = ()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names = {*self.names, func._opname}
            return func(*args, **(kwargs or {}))

    model = compiled(48)
    inputs, _ = laid_out(model)
    expected = EagerSession(model)(inputs)
    with evaluation_context(), Seen() as seen:
        found = EagerSession(model)(inputs)
    assert {"convolve_table", "pull_table", "shifted_softplus", "pull_shifted_softplus"} <= seen.names
    require_same_outputs(found, expected)

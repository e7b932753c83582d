"""Training on the program gives what autograd and an optimiser of PyTorch give on the model itself."""

from __future__ import annotations

import copy
import sys
from functools import cache

import numpy as np
import pytest
import torch
from ipu_programs import backbone, capacity
from structures import random_structure

from halocline.aggregation import Form
from halocline.backends.ipu.check import require_conformance
from halocline.backends.ipu.interpreter import Interpreter
from halocline.backends.ipu.process import RunnerProcess
from halocline.backends.ipu.training import Labelled, step_arrays
from halocline.backends.ipu.translate import from_lowered
from halocline.errors import UsageError
from halocline.graph import NeighbourList, Structure
from halocline.lowering import lower
from halocline.partition import whole
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.geometry import forces_from_gradients
from halocline.program.layout import gather_edges, lay_out

STEPS = 3
ENERGY, FORCE = 0.3, 2.0

#: Float32 against float64 after a few steps: part of the largest change of any parameter.
CLOSE = 1e-3


@cache
def model():
    """SchNet as if trained before.

    With the zero biases of a new one, activations of lone atoms are exactly zero, where the parts of softplus have
    a kink. For PyTorch SchNet names the derivative by hand; a program has only the formula.
    """
    shaken = copy.deepcopy(backbone("schnet"))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in shaken.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
    return shaken


def sample(seed, atoms):
    """A structure with random labels: its graph, and what the program needs."""
    rule, species = model().neighbours, model().species
    structure = random_structure(seed, symbols=species, atoms=atoms, pbc=False, edge=(4.0, 6.0))
    graph = NeighbourList(rule).graph(Structure.from_atoms(structure))
    random = np.random.default_rng(seed)
    return graph, Labelled(graph, float(random.normal()), random.normal(size=(len(structure), 3)))


def expected_parameters(samples, optimiser, rate):
    """Train the backbone itself, in float64 and one structure at a time."""
    trained = FrozenModel.freeze(
        model(), Precision.FLOAT64, Capabilities.reference(Form.EDGES)
    ).backbone.requires_grad_(True)
    steps = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimiser](trained.parameters(), lr=rate)
    atoms = sum(len(labelled.forces) for _, labelled in samples)
    losses = []
    for _ in range(STEPS):
        steps.zero_grad()
        loss = torch.zeros((), dtype=torch.float64)
        for graph, labelled in samples:
            size = len(labelled.forces)
            part = whole(size, graph.edges, trained.hops)
            inputs = lay_out(graph, part, Form.EDGES, Precision.FLOAT64)
            energies, gradients = energies_and_gradients(trained, inputs, differentiable=True)
            receivers, senders = map(torch.from_numpy, (graph.edges.receivers, graph.edges.senders))
            forces = forces_from_gradients(gather_edges(gradients, part, Form.EDGES), receivers, senders, size)
            loss = loss + ENERGY * (energies.sum() - labelled.energy) ** 2 / len(samples)
            loss = loss + FORCE * ((forces - torch.from_numpy(labelled.forces)) ** 2).sum() / (3 * atoms)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    return losses, {name: value.detach().numpy() for name, value in trained.named_parameters()}


@pytest.fixture(scope="module")
def samples():
    return [sample(1, 5), sample(2, 7), sample(3, 1)]


@pytest.fixture(scope="module")
def compiled():
    frozen = FrozenModel.freeze(model(), Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    named = dict(frozen.backbone.named_parameters())
    program = from_lowered(lower(frozen, capacity=capacity(3)), named)
    require_conformance(program, training=True)
    return program


@pytest.mark.parametrize(("optimiser", "rate"), [("sgd", 1e-3), ("adam", 1e-2)])
def test_steps_are_those_of_the_model_itself(samples, compiled, optimiser, rate, tmp_path):
    path = tmp_path / "program.ipu.zip"
    compiled.write(path)
    settings = {"optimiser": optimiser, "rate": rate, "energy": ENERGY, "force": FORCE}
    runner = RunnerProcess(path, "cpu", sys.executable, training=settings)
    arrays = step_arrays([labelled for _, labelled in samples], capacity(3), structures=5)
    losses = [float(runner.call(arrays)[0]) for _ in range(STEPS)]
    found = {compiled.parameters[name]: value for name, value in runner.parameters().items()}
    runner.close()
    expected_losses, expected = expected_parameters(samples, optimiser, rate)
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    assert sorted(found) == sorted(expected)
    before = dict(model().named_parameters())
    changes = {name: expected[name] - before[name].detach().numpy() for name in expected}
    largest = max(float(np.abs(change).max()) for change in changes.values())
    assert largest > 0.0
    for name, change in changes.items():
        moved = found[name] - before[name].detach().numpy()
        assert np.abs(moved - change).max() <= CLOSE * largest, name


@pytest.mark.ipu
@pytest.mark.parametrize("target", ["ipu-model", "ipu"])
def test_steps_on_the_target_are_those_on_the_cpu(samples, compiled, target, tmp_path):
    interpreter = Interpreter.find()
    if problem := interpreter.problem(target):
        pytest.skip(problem)
    path = tmp_path / "program.ipu.zip"
    compiled.write(path)
    settings = {"optimiser": "sgd", "rate": 1e-3, "energy": ENERGY, "force": FORCE}
    arrays = step_arrays([labelled for _, labelled in samples], capacity(3), structures=5)
    trained = []
    for each in (target, "cpu"):
        runner = RunnerProcess(path, each, interpreter.path, training=settings)
        losses = [float(np.mean(runner.call(arrays)[0])) for _ in range(STEPS)]
        trained.append((losses, runner.parameters()))
    (losses, found), (expected_losses, expected) = trained
    assert losses == pytest.approx(expected_losses, rel=1e-3)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_too_many_structures_are_refused(samples):
    with pytest.raises(UsageError, match="places for 2"):
        step_arrays([labelled for _, labelled in samples], capacity(3), structures=2)

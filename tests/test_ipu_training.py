"""Training on the program gives what autograd and an optimiser of PyTorch give on the model itself."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from ipu_programs import backbone, capacity
from structures import random_structure
from test_ipu_runner import FAKE_TRAINING

from halocline.aggregation import Form
from halocline.backends.ipu.check import require_conformance
from halocline.backends.ipu.interpreter import Interpreter
from halocline.backends.ipu.packing import pack
from halocline.backends.ipu.process import RunnerError, RunnerProcess
from halocline.backends.ipu.training.arrays import StepArrays
from halocline.backends.ipu.training.room import Room
from halocline.backends.ipu.translate import energies_only, from_lowered
from halocline.data.labels import Labels
from halocline.errors import UsageError
from halocline.graph import NeighbourList, Structure
from halocline.lowering import lower
from halocline.partition import whole
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.geometry import forces_from_gradients
from halocline.program.layout import gather_edges, lay_out
from halocline.training.samples import LabelCounts, Sample

STEPS = 3

#: Of the program, in its order.
INPUTS = ("species", "vectors", "mask", "neighbours", "transposed", "seeds")

#: Weights of the two parts of the loss.
ENERGY, FORCES = 30.0, 2.0

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


def sample(seed, atoms, *, energy=True, forces=True):
    """A structure with random labels."""
    rule, species = model().neighbours, model().species
    structure = random_structure(seed, symbols=species, atoms=atoms, pbc=False, edge=(4.0, 6.0))
    graph = NeighbourList(rule).graph(Structure.from_atoms(structure))
    random = np.random.default_rng(seed)
    labels = float(random.normal()), random.normal(size=(len(structure), 3))
    return Sample(
        graph,
        Labels(*(each if there else None for each, there in zip(labels, (energy, forces), strict=True))),
        0.5,
    )


def expected_parameters(samples, rate, decay, clip):
    """Train the backbone itself, in float64 and one structure at a time."""
    trained = FrozenModel.freeze(
        model(), Precision.FLOAT64, Capabilities.reference(Form.EDGES)
    ).backbone.requires_grad_(True)
    adam = torch.optim.Adam(trained.parameters(), lr=rate)
    averages = {name: value.detach().clone() for name, value in trained.named_parameters()}
    counts, losses = LabelCounts.of(samples), []
    for _ in range(STEPS):
        adam.zero_grad()
        loss = torch.zeros((), dtype=torch.float64)
        for each in samples:
            part = whole(each.atoms, each.graph.edges, trained.hops)
            inputs = lay_out(each.graph, part, Form.EDGES, Precision.FLOAT64)
            energies, gradients = energies_and_gradients(trained, inputs, differentiable=True)
            receivers, senders = map(torch.from_numpy, (each.graph.edges.receivers, each.graph.edges.senders))
            gathered = gather_edges(gradients, part, Form.EDGES)
            forces = forces_from_gradients(gathered, receivers, senders, each.atoms)
            if each.labels.energy is not None:
                error = (energies.sum() - (each.labels.energy - each.reference)) / each.atoms
                loss = loss + ENERGY * error**2 / counts.energies
            if each.labels.forces is not None:
                errors = forces - torch.from_numpy(each.labels.forces)
                loss = loss + FORCES * (errors**2).sum() / (3 * counts.forces)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), clip)
        adam.step()
        for name, value in trained.named_parameters():
            averages[name].lerp_(value.detach(), 1.0 - decay)
        losses.append(loss.item())
    return losses, dict(trained.named_parameters()), averages


@pytest.fixture(scope="module")
def samples():
    """Five structures of several sizes, some of which lack a label."""
    return [
        sample(1, 5),
        sample(2, 7),
        sample(3, 1),
        sample(4, 6, forces=False),
        sample(5, 4, energy=False),
    ]


@pytest.fixture(scope="module")
def room(samples):
    """Packs of 12 atoms: two hold all five structures, and a third is empty."""
    return Room(atoms=12, structures=4, packs=3, capacity=capacity(3, atoms=12, width=12))


@pytest.fixture(scope="module")
def compiled(room):
    frozen = FrozenModel.freeze(model(), Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    program = from_lowered(lower(frozen, capacity=room.capacity), dict(frozen.backbone.named_parameters()))
    require_conformance(program, training=True)
    assert tuple(each.name for each in program.inputs) == INPUTS
    return program


def start(program, tmp_path, target="cpu", python=sys.executable, clip=10.0, packs=3):
    path = tmp_path / "program.ipu.zip"
    program.write(path)
    return RunnerProcess(path, target, python, training={"packs": packs, "clip": clip})


def arrays_of(samples, room, inputs=INPUTS, energy=ENERGY, forces=FORCES):
    return StepArrays(room, INPUTS, inputs, "transposed" in inputs).of(samples, energy, forces)


@pytest.mark.parametrize("clip", [10.0, 0.05], ids=["", "clipped"])
def test_steps_are_those_of_the_model_itself(samples, room, compiled, clip, tmp_path):
    rate, decay = 1e-2, 0.7
    runner = start(compiled, tmp_path, clip=clip)
    arrays = arrays_of(samples, room)
    losses = [float(runner.step(arrays, rate, decay)[0]) for _ in range(STEPS)]
    state = runner.state()
    runner.close()
    expected_losses, *expected = expected_parameters(samples, rate, decay, clip)
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    before = dict(model().named_parameters())
    for kind, values in zip(("model", "average"), expected, strict=True):
        found = {home: state[f"{kind}.{name}"] for name, home in compiled.parameters.items()}
        assert found.keys() == values.keys()
        largest = max(float((value - before[name]).detach().abs().max()) for name, value in values.items())
        assert largest > rate / 2
        for name, value in values.items():
            assert np.abs(found[name] - value.detach().numpy()).max() <= CLOSE * largest, name


def test_energies_alone_need_less(samples, room, compiled, tmp_path):
    """A program that is trained on energies has neither the derivative nor what only that reads."""
    program = energies_only(compiled)
    require_conformance(program, training=True)
    assert len(program.operations) < 0.6 * len(compiled.operations)
    inputs = tuple(each.name for each in program.inputs)
    assert "transposed" not in inputs
    assert set(program.parameters) == set(compiled.parameters)
    alike = []
    for each, names in ((program, inputs), (compiled, INPUTS)):
        runner = start(each, tmp_path)
        arrays = arrays_of(samples, room, names, forces=0.0)
        alike.append([float(runner.step(arrays, 1e-3, 0.0)[0]) for _ in range(STEPS)])
    assert alike[0] == pytest.approx(alike[1], rel=1e-6)


def test_a_state_goes_on_in_every_bit(samples, room, compiled, tmp_path):
    arrays = arrays_of(samples, room)
    straight, broken, resumed = (start(compiled, tmp_path) for _ in range(3))
    for _ in range(STEPS):
        straight.step(arrays, 1e-2, 0.9)
    broken.step(arrays, 1e-2, 0.9)
    resumed.load(broken.state())
    for _ in range(STEPS - 1):
        resumed.step(arrays, 1e-2, 0.9)
    left, right = straight.state(), resumed.state()
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert np.array_equal(value, right[name]), name


def test_a_gradient_that_is_not_finite_changes_nothing(samples, room, compiled, tmp_path):
    runner = start(compiled, tmp_path)
    before = runner.state()
    arrays = arrays_of(samples, room)
    arrays[len(INPUTS) + 1][0] = np.nan  # an energy
    assert not np.isfinite(runner.step(arrays, 1e-2, 0.9)[1])
    after = runner.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


class TestFakePopTorch:
    """How steps and states reach PopTorch, seen by a fake that has what its documentation says; no test of it."""

    @pytest.fixture(autouse=True)
    def _fake(self, tmp_path, monkeypatch):
        (tmp_path / "poptorch.py").write_text(FAKE_TRAINING)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def test_steps_are_those_on_the_cpu(self, samples, room, compiled, tmp_path):
        arrays, found = arrays_of(samples, room), []
        for target in ("ipu", "cpu"):
            runner = start(compiled, tmp_path, target, clip=0.05)
            losses = [float(runner.step(arrays, rate, 0.0)[0]) for rate in (1e-2, 1e-3)]
            found.append((losses, runner.state()))
        assert found[0][0] == found[1][0]
        for name in compiled.parameters:
            assert np.array_equal(found[0][1][f"model.{name}"], found[1][1][f"model.{name}"])

    def test_a_state_goes_on(self, samples, room, compiled, tmp_path):
        arrays = arrays_of(samples, room)
        straight, broken, resumed = (start(compiled, tmp_path, "ipu-model") for _ in range(3))
        assert {name.partition(".")[0] for name in straight.state()} == {"model"}
        for _ in range(STEPS):
            straight.step(arrays, 1e-2, 0.0)
        broken.step(arrays, 1e-2, 0.0)
        state = broken.state()
        assert {name.partition(".")[0] for name in state} == {"model", "poptorch"}
        resumed.load(state)
        for _ in range(STEPS - 1):
            resumed.step(arrays, 1e-2, 0.0)
        left, right = straight.state(), resumed.state()
        assert left.keys() == right.keys()
        assert all(np.array_equal(left[name], right[name]) for name in left)

    def test_no_average_is_promised(self, samples, room, compiled, tmp_path):
        with pytest.raises(RunnerError, match="nothing averages them"):
            start(compiled, tmp_path, "ipu").step(arrays_of(samples, room), 1e-2, 0.9)


@pytest.mark.ipu
@pytest.mark.parametrize("target", ["ipu-model", "ipu"])
def test_steps_on_the_target_are_those_on_the_cpu(samples, room, compiled, target, tmp_path):
    interpreter = Interpreter.find()
    if problem := interpreter.problem(target):
        pytest.skip(problem)
    arrays, trained = arrays_of(samples, room), []
    for each in (target, "cpu"):
        runner = start(compiled, tmp_path, each, interpreter.path)
        losses = [float(runner.step(arrays, 1e-3, 0.0)[0]) for _ in range(STEPS)]
        trained.append((losses, runner.state()))
    (losses, found), (expected_losses, expected) = trained
    assert losses == pytest.approx(expected_losses, rel=1e-3)
    for name in compiled.parameters:
        np.testing.assert_allclose(found[f"model.{name}"], expected[f"model.{name}"], rtol=1e-4, atol=1e-5)


def test_too_many_structures_are_refused(samples, room, compiled):
    with pytest.raises(UsageError, match="takes 2 packs, and has 1"):
        arrays_of(samples, replace(room, packs=1))


class TestRoom:
    """Sizes are found from the frames and the steps of the fit."""

    @staticmethod
    def samples(sizes):
        return [sample(seed, size) for seed, size in enumerate(sizes)]

    def test_every_step_has_room(self):
        samples = self.samples([3, 9, 6, 3, 9, 6, 12, 3])
        order = np.random.default_rng(0).permutation(8)
        epochs = [[order[:4], order[4:]], [order[::2], order[1::2]]]
        room = Room.find(samples, epochs.__getitem__, len(epochs), 3)
        sizes = np.array([each.atoms for each in samples])
        for steps in epochs:
            for step in steps:
                assert len(pack(sizes[step], room.atoms, room.structures)) <= room.packs
                arrays_of([samples[i] for i in step], room)
        assert room.places <= 4 * 12

    def test_a_step_of_one_frame_is_a_pack_of_the_largest(self):
        room = Room.find(self.samples([3, 7, 5]), lambda epoch: [np.array([i]) for i in range(3)], 2, 3)
        assert (room.atoms, room.packs) == (7, 1)

    def test_equal_places_make_large_packs(self):
        room = Room.find(self.samples([6] * 4), lambda epoch: [np.arange(4)], 2, 3)
        assert (room.atoms, room.structures, room.packs) == (24, 4, 1)

    def test_what_is_given_is_taken(self):
        room = Room.find(self.samples([6] * 4), lambda epoch: [np.arange(4)], 2, 3, 13, 11)
        assert (room.atoms, room.structures, room.packs) == (13, 2, 2)
        assert (room.capacity.width, room.capacity.transposed) == (12, 11)

"""A divided structure gives what the whole gives, whatever the cell, the owners and the backend."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from structures import random_structure

from halocline.backends.torch.executor import TorchExecutor
from halocline.errors import PluginError, UsageError
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.model.build import build_backbone
from halocline.partition import Cutter, Division, Partitioner
from halocline.plugin import Component, Plugin, Registry, registry
from halocline.potential.potential import Potential
from halocline.program import Precision

#: Of Σ|E_i|, of max(1 eV/Å, max|F|) and of max(1 eV, max|W|), in float64: parts only change the order of sums.
EXACT = 1e-12

DEPTHS = {"lennard-jones": [1], "schnet": [1, 2, 3, 4], "m3gnet": [1, 2], "mace": [2]}
MODELS = [(name, depth) for name, depths in DEPTHS.items() for depth in depths]


class RandomOwners(Partitioner):
    """Owners without any sense of space: the hardest halos."""

    def __init__(self, seed=0):
        self.seed = seed

    def owners(self, graph, parts):
        return np.random.default_rng(self.seed).integers(0, parts, len(graph.structure))


def backbone(name, depth):
    config = registry().load("backbone", name).example_config()
    return build_backbone(name, config | ({"layers": depth} if "layers" in config else {}), seed=depth)


def evaluator(model, division=None, exchange=False):
    return LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64, division, exchange=exchange)


def structures(model):
    """Random cells of every periodicity, thinner than the cutoff too; molecules; atoms far apart; one atom."""
    scale = model.neighbours.cutoff / 3.0
    cases = [random_structure(seed, symbols=model.species, atoms=14, edge=(2.5, 9.0)) for seed in range(4)]
    cases.append(random_structure(4, symbols=model.species, atoms=4, pbc=False, edge=(40.0, 50.0)))
    cases.append(Atoms(model.species[0]))
    for atoms in cases:
        yield Atoms(atoms.numbers, atoms.positions * scale, cell=atoms.cell * scale, pbc=atoms.pbc)


def require_equal(found, expected):
    scale = np.abs(expected.energies).sum()
    np.testing.assert_allclose(found.energies, expected.energies, rtol=0, atol=EXACT * scale)
    for name in ("forces", "virial"):
        reference = getattr(expected, name)
        tolerance = EXACT * max(1.0, np.abs(reference).max())
        np.testing.assert_allclose(getattr(found, name), reference, rtol=0, atol=tolerance)


@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
@pytest.mark.parametrize(("name", "depth"), MODELS)
def test_parts_with_random_owners_are_the_whole(name, depth, exchange):
    model = backbone(name, depth)
    for seed, atoms in enumerate(structures(model)):
        structure = Structure.from_atoms(atoms)
        expected = evaluator(model).evaluate(structure)
        for parts in (2, 3, 40):  # the last is more than there are atoms
            division = Division("random", RandomOwners(seed), parts)
            require_equal(evaluator(model, division, exchange).evaluate(structure), expected)


@pytest.mark.parametrize("partitioner", sorted(registry().names("partitioner")))
@pytest.mark.parametrize(("name", "depth"), [("schnet", 2), ("lennard-jones", 1)])
def test_every_partitioner_gives_the_whole(name, depth, partitioner):
    model = backbone(name, depth)
    for atoms in structures(model):
        structure = Structure.from_atoms(atoms)
        division = Division.parse(f"{partitioner}:3")
        require_equal(evaluator(model, division).evaluate(structure), evaluator(model).evaluate(structure))


def test_parts_run_on_every_backend_that_pads():
    model = backbone("schnet", 2)
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
    if not registry().load("executor", "onnx").diagnose().usable:
        pytest.skip(registry().load("executor", "onnx").diagnose().reason)
    whole = potential.evaluator("torch", "float64", "cpu", "none", "auto")
    spec = registry().load("executor", "onnx")
    divided = LocalEvaluator(
        model, spec(device="cpu", threads=1), Precision.FLOAT64, Division("random", RandomOwners(), 3)
    )
    for atoms in structures(model):
        structure = Structure.from_atoms(atoms)
        require_equal(divided.evaluate(structure), whole.evaluate(structure))


def test_one_hop_too_few_is_wrong(monkeypatch):
    """The negative control, in a cell of more than twice the receptive field, where short halos show."""
    model = backbone("schnet", 2)
    atoms = random_structure(5, atoms=60, pbc=True, edge=(13.0, 14.0), outside=False)
    structure = Structure.from_atoms(atoms)
    expected = evaluator(model).evaluate(structure)
    halves = Division("halves", Halves(), 2)
    require_equal(evaluator(model, halves).evaluate(structure), expected)

    def short(cutter, owned, hops):
        part = right(cutter, owned, hops)
        near = part.receivers < part.levels[hops - 2]  # edges into the outermost halo are forgotten
        return type(part)(
            atoms=part.atoms,
            levels=part.levels,
            edges=part.edges[near],
            senders=part.senders[near],
            receivers=part.receivers[near],
            edge_levels=tuple(int(e) for e in np.searchsorted(part.receivers[near], part.levels[:-1])),
        )

    right = Cutter.cut
    monkeypatch.setattr(Cutter, "cut", short)
    wrong = evaluator(model, halves).evaluate(structure)
    assert np.abs(wrong.forces - expected.forces).max() > 1e-4


class Halves(Partitioner):
    """Below and above the middle of the first direction."""

    def owners(self, graph, parts):
        x = graph.structure.positions[:, 0]
        return (x > np.median(x)).astype(np.int64)


def test_dynamics_do_not_see_the_parts():
    model = backbone("schnet", 2)
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
    ends = []
    for partition in ("none", f"{_real_partitioner()}:4"):
        atoms = random_structure(6, atoms=16, pbc=True)
        atoms.set_momenta(np.random.default_rng(0).normal(size=(16, 3)))
        atoms.calc = potential.calculator(dtype="float64", partition=partition)
        VelocityVerlet(atoms, 0.5 * units.fs).run(20)
        ends.append((atoms.positions, atoms.get_stress()))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=0, atol=1e-10)


def _real_partitioner():
    return max(set(registry().names("partitioner")) - {"none"}, default="none")


class Nonsense(Partitioner):
    def __init__(self, owners):
        self.wrong = owners

    def owners(self, graph, parts):
        return self.wrong


@pytest.mark.parametrize(
    "owners", [np.array([0, 2]), np.array([0, -1]), np.array([0]), np.array([0.0, 1.0])], ids=str
)
def test_nonsense_owners_are_refused(owners):
    model = backbone("lennard-jones", 1)
    division = Division("nonsense", Nonsense(owners), 2)
    structure = Structure.from_atoms(Atoms("ArKr", positions=[[0, 0, 0], [0, 0, 4]]))
    with pytest.raises(PluginError, match="'nonsense' must give an owner from 0 to 1"):
        evaluator(model, division).evaluate(structure)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nnone", "did you mean 'none'"),
        ("none:0", "name and a number of parts"),
        ("none:two", "name and a number of parts"),
        ("none:", "name and a number of parts"),
        ("none:-1", "name and a number of parts"),
        ("rcb:4,axis=2", "option of 'rcb' named 'axis'"),
        ("rcb:axis=2", "option of 'rcb' named 'axis'"),
        ("rcb:4,4", "name:key=value"),
        ("halocline/nnone:2", "There is no partitioner named"),
        (None, "not None"),
        (4, "not 4"),
    ],
)
def test_malformed_partitions_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        Division.parse(text)


def test_full_names_select_backend_and_partitioner():
    model, atoms = backbone("lennard-jones", 1), random_structure(3, atoms=12)
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
    atoms.symbols[:] = model.species[0]
    plain = potential(atoms, backend="torch", partition="rcb:2", dtype="float64")
    full = potential(atoms, backend="halocline/torch", partition="halocline/rcb:2", dtype="float64")
    assert full.energy == plain.energy
    with pytest.raises(UsageError, match="no backend named 'somebody/torch'"):
        potential(atoms, backend="somebody/torch")


def test_stranger_cannot_take_the_place_of_a_backend_of_the_box():
    """Executors and evaluators are selected in the same way, so they share their names."""
    stranger = Component("torch", "nowhere:Nothing", kind="evaluator", distribution="a-plugin")
    known = Registry((*registry().plugins, Plugin("mine", "a-plugin", "1", components=(stranger,))))
    assert known.find_among(("executor", "evaluator"), "torch", "backend").distribution == "halocline"
    assert known.find_among(("executor", "evaluator"), "a-plugin/torch", "backend") is stranger

"""A stress that is fitted is the derivative of the energy by strain, per volume."""

import copy

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from halocline.data.labels import Labels
from halocline.errors import TrainingError
from halocline.graph import NeighbourList, Structure
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.training.device import make_fabric
from halocline.training.fit.objective import Objective, predict
from halocline.training.problem import prepare
from halocline.training.recipe import TrainingSettings, Weights, read_recipe
from halocline.training.result import finish
from halocline.training.run import TrainingRun
from halocline.training.samples import Batch, LabelCounts, Sample

CPU = torch.device("cpu")
#: Strains, and changes of weights, of central differences.
STEP = 1e-4
#: Relative to the largest component: truncation of the differences by STEP², rounding in float64 by 1e-16 / STEP.
DIFFERENCES = 1e-6
#: Sums over the same numbers in another order, in float64.
ROUNDING = 1e-12

#: An energy has one component, whose norm is its absolute value.
TERMS = [
    (term, kind)
    for term in ("energy", "forces", "stress")
    for kind in ("squares", "absolute", "huber", "norms")
    if (term, kind) != ("energy", "norms")
]


def example(name):
    return build_backbone(name, registry().load("backbone", name).example_config() | {"species": ["Ar", "Ne"]})


def batch_of(backbone, *structures, labels=()):
    """A batch of structures, and the counts of its labels."""
    neighbours = NeighbourList(backbone.neighbours, skin=0.0)
    graphs = [neighbours.graph(Structure.from_atoms(atoms)) for atoms in structures]
    known = labels or [Labels(None, None)] * len(structures)
    samples = [Sample(graph, each, 0.0) for graph, each in zip(graphs, known, strict=True)]
    return Batch(samples, backbone.hops, Precision.FLOAT64, CPU), LabelCounts.of(samples)


def mixture(seed):
    atoms = bulk("Ar", "fcc", 3.8, cubic=True)
    atoms.symbols[0] = "Ne"
    atoms.rattle(0.2, seed=seed)
    return atoms


def strained(atoms, strain):
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return moved


def strain_derivative(energy, volume):
    """Symmetric (3, 3) by central differences of an energy that is a function of a strain, per volume."""
    stress = np.zeros((3, 3))
    for i, j in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.5
        strain[j, i] += 0.5
        stress[i, j] = (energy(STEP * strain) - energy(-STEP * strain)) / (2.0 * STEP * volume)
    return stress


@pytest.mark.parametrize("name", ["schnet", "m3gnet", "mace"])
def test_the_stress_is_the_derivative_by_strain(name):
    """Of each structure of a batch by itself, and what the evaluation of the model says."""
    backbone = example(name)
    structures = [mixture(0), Atoms("ArNe", [[0, 0, 0], [0, 0, 2.5]]), mixture(1)]
    stresses = predict(backbone, batch_of(backbone, *structures)[0], stress=True).stresses.numpy()
    potential = Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})
    for i in (0, 2):
        atoms = structures[i]

        def energy(strain, atoms=atoms):
            return float(predict(backbone, batch_of(backbone, strained(atoms, strain))[0], forces=False).energies)

        expected = strain_derivative(energy, atoms.get_volume())
        scale = np.abs(expected).max()
        assert scale > 1e-6
        assert np.abs(stresses[i] - expected).max() < DIFFERENCES * scale
        evaluated = potential(atoms, dtype="float64", device="cpu").stress
        assert np.abs(stresses[i] - evaluated).max() < 1e3 * ROUNDING * scale


@pytest.mark.parametrize(("term", "kind"), TERMS)
def test_gradients_of_each_loss_are_its_derivatives(term, kind):
    """By a weight of the first stage, through one derivative by the edges or none."""
    backbone = example("schnet")
    rng = np.random.default_rng(0)
    labels = [Labels(rng.normal(), rng.normal(size=(4, 3)), rng.normal(size=(3, 3))) for _ in range(2)]
    batch, counts = batch_of(backbone, mixture(0), mixture(1), labels=labels)
    settings = TrainingSettings(epochs=1, **{f"{term}_loss": kind, f"{term}_huber": 0.5})
    objective = Objective(backbone, settings)
    weights = Weights(**({"energy": 0.0, "forces": 0.0} | {term: 2.0}))
    objective(batch, counts, weights).backward()
    name, parameter = max(
        ((name, each) for name, each in backbone.named_parameters() if each.grad is not None),
        key=lambda pair: float(pair[1].grad.abs().max()),
    )
    place = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape)
    values = []
    with torch.no_grad():
        for step in (STEP, -2.0 * STEP):
            parameter[place] += step
            values.append(float(objective(batch, counts, weights)))
    expected = (values[0] - values[1]) / (2.0 * STEP)
    assert float(parameter.grad[place]) == pytest.approx(expected, rel=100.0 * DIFFERENCES), name


def test_costs_are_what_they_are_called():
    """Of errors that are known: those of a model against labels that are off by so much."""
    backbone = example("schnet")
    atoms = mixture(0)
    batch, _ = batch_of(backbone, atoms)
    energies, forces, stresses = predict(backbone, batch, stress=True)
    pulls, tension = forces.numpy() + np.array([3.0, 0.0, 4.0]), stresses[0].numpy() + 0.5 * np.eye(3)
    off = Labels(float(energies) + 8.0, pulls, tension)
    batch, counts = batch_of(backbone, atoms, labels=[off])
    expected = {  # eV/atom, eV/Å, eV/Å³
        ("energy", "squares"): 4.0,
        ("energy", "absolute"): 2.0,
        ("energy", "huber"): 0.01 * (2.0 - 0.005),
        ("forces", "squares"): 25.0 / 3.0,
        ("forces", "absolute"): 7.0 / 3.0,
        ("forces", "huber"): 0.01 * (3.0 - 0.005 + 4.0 - 0.005) / 3.0,
        ("forces", "norms"): np.hypot(5.0, 0.01) - 0.01,
        ("stress", "squares"): 0.25 / 3.0,
        ("stress", "absolute"): 0.5 / 3.0,
        ("stress", "huber"): 1e-4 * (0.5 - 5e-5) / 3.0,
        ("stress", "norms"): np.hypot(0.5 * np.sqrt(3.0), 1e-4) - 1e-4,
    }
    for (term, kind), value in expected.items():
        objective = Objective(backbone, TrainingSettings(epochs=1, **{f"{term}_loss": kind}))
        weights = Weights(**({"energy": 0.0, "forces": 0.0} | {term: 3.0}))
        loss = float(objective(batch, counts, weights).detach())
        assert loss == pytest.approx(3.0 * value, rel=1e4 * ROUNDING), (term, kind)


@pytest.fixture
def stressed(folder, argon, edit_recipe):
    """Frames of argon at several densities, labelled with energy, forces and stress."""
    from ase.calculators.lj import LennardJones
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(0)
    frames = []
    for atoms in argon:
        moved = strained(atoms, 0.04 * rng.uniform(-1.0, 1.0, (3, 3)))
        moved.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, smooth=True)
        results = {
            "energy": moved.get_potential_energy(),
            "forces": moved.get_forces(),
            "stress": moved.get_stress(),
        }
        moved.calc = SinglePointCalculator(moved, **results)
        frames.append(moved)
    ase.io.write(folder / "argon.extxyz", frames)
    edit_recipe("warmup_steps = 3", "warmup_steps = 3\nstress_weight = 1e4")
    return frames


def run_of(folder, output="run"):
    recipe = read_recipe(folder / "recipe.toml")
    run = TrainingRun(prepare(recipe, folder), folder / output, make_fabric("cpu", "float32"), resume=False)
    run.train(lambda record: None)
    return run


@pytest.mark.slow
def test_a_stress_is_learnt(folder, stressed, edit_recipe):
    edit_recipe("epochs = 4", "epochs = 40")
    edit_recipe("batch_size = 3", "batch_size = 2")
    run = run_of(folder)
    assert run.history[-1].stress_mae < run.history[0].stress_mae / 2.0
    potential, errors = finish(run, "cpu")
    frames = run.problem.split.test
    stresses = [potential(stressed[i], device="cpu").stress for i in frames]
    labels = [stressed[i].get_stress(voigt=False) for i in frames]
    assert errors.stress_mae == pytest.approx(1e3 * np.abs(np.subtract(stresses, labels)).mean(), rel=1e-5)
    assert potential.card["errors"]["stress_component_mae_meV_per_A3"] == errors.stress_mae


def test_without_weight_a_stress_is_not_looked_at(folder, stressed, edit_recipe):
    edit_recipe("stress_weight = 1e4", "stress_weight = 0")
    assert {count.label for count in prepare(read_recipe(folder / "recipe.toml"), folder).counts} == {
        "energy",
        "forces",
    }


def test_a_stress_of_a_molecule_is_not_used_and_told(folder, stressed, caplog):
    frames = copy.deepcopy(stressed)
    frames[3].pbc = (True, True, False)
    ase.io.write(folder / "argon.extxyz", frames)
    problem = prepare(read_recipe(folder / "recipe.toml"), folder)
    samples = {i: Sample(graph, problem.labels[i], 0.0) for i, graph in problem.graphs.items()}
    assert [i for i, each in samples.items() if not each.has_stress] == [3]
    assert samples[3].counts.stresses == np.abs(samples[3].stress).max() == 0.0
    assert "1 frames, the first of them frame 3 of argon.extxyz, are not periodic" in caplog.text


def test_a_stress_that_no_frame_carries_is_missed(folder, edit_recipe):
    edit_recipe("warmup_steps = 3", "warmup_steps = 3\nstress_weight = 1.0")
    with pytest.raises(TrainingError, match="None of the 14 frames carries stress"):
        prepare(read_recipe(folder / "recipe.toml"), folder)

"""Models with direct forces, or with an energy told by a head of the whole, are fitted like others."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from oracles.orb.seeded import tensors
from rattled_argon import MODEL
from thread_ranks import run_together

from halocline.backends.ipu.training.limits import refuse_what_is_told
from halocline.data.labels import Labels
from halocline.errors import TrainingError, UsageError
from halocline.graph import NeighbourList, Structure
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.training.device import make_fabric
from halocline.training.fit.objective import Objective, predict
from halocline.training.problem import prepare
from halocline.training.recipe import TrainingSettings, Weights, read_recipe
from halocline.training.result import finish
from halocline.training.run import TrainingRun
from halocline.training.samples import Batch, LabelCounts, Sample
from halocline.training.state import load_state
from halocline.zoo.conversion import read

#: Changes of weights, of central differences.
STEP = 1e-5
#: Sums of the same numbers in another order, in float64.
ROUNDING = 1e-11
#: Relative, of central differences by STEP.
DIFFERENCES = 1e-5

#: Configurations that have, in turn: direct forces alone; those with a head that balances them and says a stress;
#: virials of atoms besides; an energy of the mean with forces that follow from it.
KINDS = {
    "escaip": ("escaip", {"forces": "direct"}),
    "orb-2": ("orb", {"forces": "direct", "stress": True, "repulsion": False, "version": 2}),
    "orb-3": ("orb", {"forces": "direct", "stress": True}),
    "orb-mean": ("orb", {}),
}

ORB = """[model]
backbone = "orb"
[model.config]
forces = "direct"
features = 4
hidden = 6
head_hidden = 4
layers = 2
neighbours = 12
cutoff = 5.0
"""


def train(folder, output, *, ranks=1, resume=False, stop_after=None):
    """Run the recipe in this process; ``stop_after`` interrupts it when so many epochs are reported."""
    recipe = read_recipe(folder / "recipe.toml")
    problem = prepare(recipe, folder)

    def report(record):
        if record.epoch == stop_after:
            raise KeyboardInterrupt

    def work(team):
        fabric = make_fabric("cpu", recipe.training.precision)
        run = TrainingRun(problem, folder / output, fabric, resume=resume, team=team)
        if stop_after is None:
            run.train(report)
        else:
            with pytest.raises(KeyboardInterrupt):
                run.train(report)
        return run

    return run_together(work, ranks)[0]


def batch_of(backbone, *structures, labels=()):
    """A batch of structures, and the counts of its labels."""
    neighbours = NeighbourList(backbone.neighbours, skin=0.0)
    graphs = [neighbours.graph(Structure.from_atoms(atoms)) for atoms in structures]
    known = labels or [Labels(None, None)] * len(structures)
    samples = [Sample(graph, each, 0.0) for graph, each in zip(graphs, known, strict=True)]
    return Batch(samples, backbone.hops, Precision.FLOAT64, torch.device("cpu")), LabelCounts.of(samples)


def mixture(seed):
    atoms = bulk("ArNe", "zincblende", 4.6)  # of fewer nearest neighbours than models of ranks take
    atoms.rattle(0.1, seed=seed)
    return atoms


def example(kind):
    name, changes = KINDS[kind]
    config = registry().load("backbone", name).example_config() | {"species": ["Ar", "Ne"]} | changes
    return build_backbone(name, config, seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fitted_is_what_the_model_says(kind):
    """Of each structure of a batch, molecules among them, as evaluators have it."""
    backbone = example(kind)
    structures = [mixture(0), Atoms("ArNeAr", [[0, 0, 0], [0, 0.5, 2.2], [1.9, 0, 0.3]]), mixture(1)]
    found = predict(backbone, batch_of(backbone, *structures)[0], stress=True)
    alone = predict(backbone, batch_of(backbone, *structures)[0], forces=False)
    assert torch.equal(found.energies, alone.energies)
    potential, first = Potential(backbone, dict.fromkeys(backbone.species, 0.0), {}), 0
    for i, atoms in enumerate(structures):
        result = potential(atoms, dtype="float64", device="cpu")
        assert float(found.energies[i]) == pytest.approx(result.energy, rel=ROUNDING)
        forces = found.forces[first : first + len(atoms)].numpy()
        assert np.abs(forces - result.forces).max() < ROUNDING * max(1.0, np.abs(result.forces).max())
        assert np.abs(forces).max() > 1e-4
        first += len(atoms)
        if result.stress is not None:
            stress = found.stresses[i].numpy()
            assert np.abs(stress - result.stress).max() < ROUNDING * max(1.0, np.abs(result.stress).max())
    assert (found.stresses is None) == (kind == "escaip")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_loss_are_its_derivatives(kind):
    backbone, rng = example(kind), np.random.default_rng(0)
    labels = [Labels(rng.normal(), rng.normal(size=(2, 3)), rng.normal(size=(3, 3))) for _ in range(2)]
    batch, counts = batch_of(backbone, mixture(0), mixture(1), labels=labels)
    objective = Objective(backbone, TrainingSettings(epochs=1))
    weights = Weights(1.0, 1.0, 0.0 if kind == "escaip" else 1.0)
    objective(batch, counts, weights).backward()
    moving = [each for each in backbone.parameters() if each.grad is not None]
    direction = [torch.from_numpy(rng.normal(size=tuple(each.shape))) for each in moving]
    expected = sum(float((each.grad * along).sum()) for each, along in zip(moving, direction, strict=True))
    values = []
    for step in (STEP, -2.0 * STEP):
        with torch.no_grad():
            for each, along in zip(moving, direction, strict=True):
                each.add_(along, alpha=step)
        values.append(float(objective(batch, counts, weights).detach()))
    assert (values[0] - values[1]) / (2.0 * STEP) == pytest.approx(expected, rel=DIFFERENCES)


@pytest.fixture
def direct(folder, edit_recipe):
    """The recipe for a small ORB with direct forces."""
    edit_recipe(MODEL, ORB)
    edit_recipe("train = 8", "train = 5")
    edit_recipe("warmup_steps = 3", 'warmup_steps = 3\nprecision = "float64"')
    return folder


@pytest.mark.slow
def test_direct_forces_are_fitted_and_resumed_to_the_bit(direct):
    straight = train(direct, "straight")
    losses = [record.loss for record in straight.history]
    assert losses[-1] < 0.9 * losses[0], losses
    train(direct, "broken", stop_after=2)
    left, right = (load_state(run.state_file) for run in (straight, train(direct, "broken", resume=True)))
    assert left.tensors.keys() == right.tensors.keys()
    assert all(torch.equal(tensor, right.tensors[name]) for name, tensor in left.tensors.items())
    potential, errors = finish(straight, "cpu")
    assert errors.forces_mae == pytest.approx(straight.history[-1].forces_mae, rel=1.0)
    told = potential.card["direct_forces"]
    assert told["measured_on"] == "4 test frames"
    assert told["asymmetry"] > 0.0


@pytest.mark.slow
def test_two_ranks_take_the_steps_of_one(direct):
    one, two = (load_state(train(direct, f"{ranks}", ranks=ranks).state_file) for ranks in (1, 2))
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(tensor, two.tensors[name], rtol=ROUNDING, atol=ROUNDING, msg=name)


@pytest.mark.slow
def test_an_imported_direct_model_is_pruned_and_fine_tuned(tmp_path, argon):
    answers = json.loads((Path(__file__).parents[1] / "oracles/orb/answers.json").read_text(encoding="utf-8"))
    source = tmp_path / "renamed.ckpt"
    torch.save(tensors(answers["models"]["v2"]["layout"]), source)
    foreign = read("orb", source)
    start = build_potential(registry().load("converter", "orb")(foreign.config, foreign.tensors))
    start.save(tmp_path / "start.safetensors")
    ase.io.write(tmp_path / "argon.extxyz", argon)
    (tmp_path / "recipe.toml").write_text(
        '[data]\nfiles = ["argon.extxyz"]\n[data.split]\nseed = 1\ntrain = 8\nvalidation = 2\ntest = 4\n'
        '[model]\nfrom = "start.safetensors"\nprune = 1\n'
        "[training]\nepochs = 4\nbatch_size = 2\nlearning_rate = 1e-2\nwarmup_steps = 2\n"
    )
    run = train(tmp_path, "run")
    assert run.history[-1].loss < 0.9 * run.history[0].loss, run.history
    potential, _ = finish(run, "cpu")
    assert not potential.backbone.derives_forces
    assert len(potential.backbone.layers) == 1
    assert potential.card["parent"]["pruned"] == 1
    assert potential.card["direct_forces"]["asymmetry"] > 0.0


def test_a_stress_that_no_head_says_is_refused(direct, edit_recipe):
    edit_recipe("learning_rate = 1e-2", "learning_rate = 1e-2\nstress_weight = 1.0")
    frames = ase.io.read(direct / "argon.extxyz", ":")
    for atoms in frames:
        atoms.calc.results["stress"] = np.zeros(6)
    ase.io.write(direct / "argon.extxyz", frames)
    with pytest.raises(TrainingError, match=r"forces of this 'orb' are direct, .*stress_weight to 0"):
        prepare(read_recipe(direct / "recipe.toml"), direct)


def test_another_backend_refuses_what_it_would_not_fit():
    with pytest.raises(UsageError, match="also returns forces, virials, pooled; train with torch"):
        refuse_what_is_told(example("orb-3"))

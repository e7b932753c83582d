"""A batch is its structures, side by side."""

import numpy as np
import pytest
import torch
from ase import Atoms

from halocline.data.labels import Labels
from halocline.graph import NeighbourList, Structure
from halocline.model.build import build_backbone
from halocline.program import Precision
from halocline.training.fit.losses import SMALL_FORCE
from halocline.training.fit.objective import Objective, predict
from halocline.training.recipe import TrainingSettings, Weights
from halocline.training.samples import Batch, Batches, LabelCounts, Sample
from halocline.training.steps import StepSize

# Sums over the same numbers in another order, in float64.
ROUNDING = 1e-12

CPU = torch.device("cpu")
HOPS = 2


def objective(backbone, **settings):
    return Objective(backbone, TrainingSettings(epochs=1, **settings))


def batch_of(*samples):
    return Batch(samples, HOPS, Precision.FLOAT64, CPU)


@pytest.fixture
def backbone():
    config = {"species": ["Ar"], "features": 8, "gaussians": 8, "layers": HOPS, "cutoff": 5.0}
    return build_backbone("schnet", config)


@pytest.fixture
def make_sample(backbone):
    neighbours = NeighbourList(backbone.neighbours, skin=0.0)

    def make(atoms, labels):
        graph = neighbours.graph(Structure.from_atoms(atoms))
        return Sample(graph, labels, 0.0)

    return make


@pytest.fixture
def samples(make_sample, argon):
    """Structures of different sizes, one of them a single atom without neighbours."""
    structures = [argon[0], argon[1] * (2, 1, 1), Atoms("Ar"), argon[2][:3]]
    rng = np.random.default_rng(0)
    return [make_sample(atoms, Labels(rng.normal(), rng.normal(size=(len(atoms), 3)))) for atoms in structures]


def test_a_batch_gives_what_its_structures_give(backbone, samples):
    energies, forces, _ = predict(backbone, batch_of(*samples))
    alone = [predict(backbone, batch_of(sample)) for sample in samples]
    torch.testing.assert_close(
        energies, torch.cat([each.energies for each in alone]), rtol=ROUNDING, atol=ROUNDING
    )
    torch.testing.assert_close(forces, torch.cat([each.forces for each in alone]), rtol=ROUNDING, atol=ROUNDING)
    assert forces.abs().max() > 1e-3  # not a comparison of nothing with nothing


def test_opposite_edges_stay_known_in_a_batch(samples):
    inputs = batch_of(*samples).inputs
    first = inputs.pairs[inputs.pair_of]
    here = torch.arange(len(inputs.senders))
    ends = torch.stack([inputs.senders, inputs.receivers])
    opposite = (ends[:, first] == ends.flip(0)).all(0) & (inputs.vectors[first] == -inputs.vectors).all(1)
    assert bool(((first == here) | opposite).all())
    assert int((first == here).sum()) * 2 == len(here)


def test_the_loss_is_the_weighted_mean_of_squares(backbone, samples):
    batch = batch_of(*samples)
    energies, forces, _ = predict(backbone, batch)
    energy_loss = (((energies - batch.targets.energies) / batch.sizes) ** 2).mean()
    forces_loss = ((forces - batch.targets.forces) ** 2).mean()
    loss = objective(backbone)(batch, LabelCounts.of(samples), Weights(3.0, 2.0))
    assert float(loss.detach()) == pytest.approx(float(3.0 * energy_loss + 2.0 * forces_loss), rel=ROUNDING)


def test_the_lengths_of_errors_can_be_fitted_instead(backbone, samples):
    batch = batch_of(*samples)
    forces = predict(backbone, batch).forces
    errors = (forces - batch.targets.forces).detach().numpy()
    expected = np.mean(np.sqrt((errors**2).sum(1) + SMALL_FORCE**2) - SMALL_FORCE)
    objectives = [objective(backbone, forces_loss=kind) for kind in ("norms", "squares")]
    counts = LabelCounts.of(samples)
    norms, squares = (float(each(batch, counts, Weights(0.0, 2.0)).detach()) for each in objectives)
    assert norms == pytest.approx(2.0 * expected, rel=ROUNDING)
    assert norms != pytest.approx(squares, rel=0.01)


def test_the_length_of_no_error_has_a_gradient(backbone, make_sample, argon):
    """Where the error is zero, the bare norm has no derivative."""
    unlabelled = make_sample(argon[0], Labels(None, None))
    labels = predict(backbone, batch_of(unlabelled)).forces.numpy()
    sample = make_sample(argon[0], Labels(None, labels))
    loss = objective(backbone, forces_loss="norms")(batch_of(sample), sample.counts, Weights(0.0, 1.0))
    loss.backward()
    assert float(loss.detach()) == 0.0
    for name, weights in backbone.named_parameters():
        assert weights.grad is None or bool(weights.grad.isfinite().all()), name


def test_a_missing_label_weighs_nothing(backbone, make_sample, argon):
    both = make_sample(argon[0], Labels(1.0, np.ones((4, 3))))
    energy = make_sample(argon[1], Labels(-1.0, None))
    forces = make_sample(argon[2], Labels(None, np.ones((4, 3))))
    energy_part, forces_part = Weights(1.0, 0.0), Weights(0.0, 1.0)

    def loss(weights, *samples):
        return float(objective(backbone)(batch_of(*samples), LabelCounts.of(samples), weights).detach())

    assert loss(energy_part, both, energy, forces) == pytest.approx(loss(energy_part, both, energy))
    assert loss(forces_part, both, energy, forces) == pytest.approx(loss(forces_part, both, forces))


def test_batches_of_one_frame_are_made_once(samples):
    one, several = (Batches(StepSize(n, "frames"), HOPS, Precision.FLOAT64, CPU) for n in (1, 2))
    assert one.of(samples[:1]) is one.of(samples[:1])
    assert one.of(samples[:1]) is not one.of(samples[1:2])
    assert several.of(samples[:2]) is not several.of(samples[:2])

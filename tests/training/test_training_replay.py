"""Frames that the parent was fitted to are seen again: in turns, in every run alike, and so not forgotten."""

import copy

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from rattled_argon import MODEL

import halocline
from halocline.errors import HaloclineError, TrainingError, UsageError
from halocline.model.build import build_backbone
from halocline.training.device import make_fabric
from halocline.training.parent import Replay
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.result import finish, make_card
from halocline.training.run import TrainingRun
from halocline.training.samples import Sample, Targets
from halocline.training.steps import Plan

REPLAY = """[data.replay]
files = ["before.extxyz"]
frames = 2
"""


@pytest.fixture
def parent(folder):
    """A model with new weights, whose own energies and forces label the frames that it knows."""
    config = {"species": ["Ar"], "features": 8, "gaussians": 8, "layers": 1, "cutoff": 5.0}
    potential = halocline.Potential(build_backbone("schnet", config, seed=3).eval(), {"Ar": -2.0}, {})
    potential.save(folder / "parent.safetensors")
    return potential


@pytest.fixture
def known(folder, parent, argon):
    """Five frames of the parent's, some larger than those to be fitted."""
    frames = []
    for seed in range(5):
        atoms = argon[0].copy() * ((2, 1, 1) if seed % 2 else (1, 1, 1))
        atoms.set_cell(0.8 * atoms.cell, scale_atoms=True)  # far from what is fitted
        atoms.rattle(0.1, seed=100 + seed)
        found = parent(atoms, dtype="float64", device="cpu")
        atoms.calc = SinglePointCalculator(atoms, energy=found.energy, forces=found.forces)
        frames.append(atoms)
    ase.io.write(folder / "before.extxyz", frames)
    return frames


@pytest.fixture
def recipe(folder, known, edit_recipe):
    """A fit from the parent that replays two of its frames in every epoch."""
    edit_recipe(MODEL, '[model]\nfrom = "parent.safetensors"\n')
    return edit_recipe("[model]", f"{REPLAY}[model]")


def train(path, output="run", *, resume=False, stop_after=None):
    recipe = read_recipe(path)
    problem = prepare(recipe, path.parent)
    fabric = make_fabric("cpu", recipe.training.precision)
    run = TrainingRun(problem, path.parent / output, fabric, resume=resume)

    def report(record):
        if record.epoch == stop_after:
            raise KeyboardInterrupt

    if stop_after is None:
        run.train(report)
    else:
        with pytest.raises(KeyboardInterrupt):
            run.train(report)
    return run


@pytest.mark.parametrize(("frames", "available"), [(1, 1), (2, 5), (3, 5), (5, 5), (1, 7)])
def test_all_frames_are_seen_equally_often_and_follow_from_seed_and_epoch(frames, available):
    replay = Replay(frames, available)
    seen = np.zeros(available, int)
    for epoch in range(3 * available):
        drawn = replay.of_epoch(7, epoch)
        assert len(drawn) == frames
        assert (drawn == Replay(frames, available).of_epoch(7, epoch)).all()
        np.add.at(seen, drawn, 1)
        assert seen.max() - seen.min() <= 1
    assert (seen == 3 * frames).all()


def test_another_seed_is_another_order():
    orders = {
        tuple(np.concatenate([Replay(2, 50).of_epoch(seed, epoch) for epoch in range(5)])) for seed in range(5)
    }
    assert len(orders) == 5
    assert not len(Replay().of_epoch(0, 0))


def test_an_epoch_has_the_frames_to_fit_and_some_to_replay(recipe, known):
    problem = prepare(read_recipe(recipe), recipe.parent)
    assert len(problem.split.train) == 8
    assert problem.split.replay == tuple(range(14, 19))
    samples = [Sample(problem.graphs[i], problem.labels[i], problem.reference(i)) for i in problem.split.seen]
    plan = Plan(samples, problem.recipe.training, problem.replay)
    seen = [np.concatenate(plan.steps(epoch)).tolist() for epoch in range(4)]
    assert all(set(each) >= set(range(8)) and len(each) == 10 for each in seen)
    assert set().union(*seen) == set(range(13))
    assert plan.total == train(recipe).trainer.steps_before(4) == 16  # ten frames, three to a step
    card = make_card(problem, None)["recipe"]
    assert card["frames"]["replay"] == list(range(14, 19))
    assert card["data"]["replay"] == {
        "files": ["before.extxyz"],
        "frames": 2,
        "energy_key": None,
        "forces_key": None,
        "stress_key": None,
    }
    assert "before.extxyz" in card["files_sha256"]


def test_what_is_replayed_counts_by_the_parents_reference_energies(recipe, known):
    """So that what its network gave for them stays right, whatever becomes of the others."""
    problem = prepare(read_recipe(recipe), recipe.parent)
    problem.reference_energies["Ar"] = 5.0
    for frame, atoms in zip(problem.split.replay, known, strict=True):
        assert problem.reference(frame) == -2.0 * len(atoms)
    assert problem.reference(0) == 5.0 * 4


def test_replay_keeps_what_the_parent_knew(recipe, known, parent):
    """The labels to fit are not what the parent gives; to its own frames it stays nearer where they are seen."""
    replay = REPLAY.replace("frames = 2", "frames = 5")
    text = recipe.read_text().replace("epochs = 4", "epochs = 30").replace(REPLAY, replay)
    errors = []
    for number, whole in enumerate((text, text.replace(replay, ""))):
        recipe.write_text(whole)
        fitted, _ = finish(train(recipe, f"run{number}"), "cpu")
        found = [fitted(atoms, device="cpu").forces - atoms.get_forces() for atoms in known]
        errors.append(np.mean([np.abs(each).mean() for each in found]))
    assert errors[0] < 0.2 * errors[1]  # 0.03 and 0.9 eV/Å were measured


def test_an_interrupted_run_with_replay_goes_on_exactly(recipe):
    straight = train(recipe, "straight")
    train(recipe, "broken", stop_after=2)
    resumed = train(recipe, "broken", resume=True)
    for name, tensor in straight.trainer.tensors().items():
        assert torch.equal(tensor, resumed.trainer.tensors()[name]), name


def test_other_frames_to_replay_are_other_data(recipe, folder, known):
    train(recipe, stop_after=1)
    known[0].calc.results["energy"] += 1e-3
    ase.io.write(folder / "before.extxyz", known)
    with pytest.raises(TrainingError, match="other structures or labels"):
        train(recipe, resume=True)


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ("frames = 2", "frames = 6", TrainingError, r"data\.replay\.frames is 6, but data\.replay\.files hold 5"),
        ("frames = 2", "frames = 0", UsageError, r"data\.replay\.frames must be at least 1"),
        ("frames = 2", "frame = 2", UsageError, r"did you mean 'frames'"),
        ('["before.extxyz"]', "[]", UsageError, r"data\.replay\.files must be a list of one file or more"),
        ('["before.extxyz"]', '["absent.extxyz"]', TrainingError, r"data\.replay\.files\[0\]: .*absent"),
        ("frames = 2", 'frames = 2\nenergy_key = "nrg"', TrainingError, r"energy under nrg.*in \[data\.replay\]"),
    ],
)
def test_what_cannot_be_replayed_is_refused_by_key(recipe, old, new, kind, message):
    recipe.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(kind, match=message):
        prepare(read_recipe(recipe), recipe.parent)


def test_without_a_parent_there_is_nothing_to_replay(folder, edit_recipe):
    with pytest.raises(UsageError, match=r"data\.replay is of the data of a model to start from"):
        read_recipe(edit_recipe("[model]\n", f"{REPLAY}[model]\n"))


def test_elements_that_the_parent_does_not_know_are_none_of_its_data(recipe, folder, known):
    known[1].numbers[0] = 10
    ase.io.write(folder / "before.extxyz", known)
    with pytest.raises(TrainingError, match=r"frame 1 of before\.extxyz contains Ne, which the parent does not"):
        prepare(read_recipe(recipe), recipe.parent)


def test_a_frame_may_be_fitted_and_replayed_but_not_replayed_and_tested(recipe, folder, known, argon):
    problem = prepare(read_recipe(recipe), recipe.parent)
    twin = copy.deepcopy(argon[problem.split.train[0]])
    ase.io.write(folder / "before.extxyz", [*known[1:], twin])
    prepare(read_recipe(recipe), recipe.parent)
    twin = copy.deepcopy(argon[problem.split.test[0]])
    ase.io.write(folder / "before.extxyz", [*known[1:], twin])
    with pytest.raises(HaloclineError, match=r"serves two purposes: .*\(test\) and .*\(replay\)"):
        prepare(read_recipe(recipe), recipe.parent)


def without(known, *labels, frames=slice(None)):
    for atoms in known[frames]:
        for label in labels:
            atoms.calc.results.pop(label, None)
    return known


def test_frames_to_replay_count_for_the_labels_that_they_carry(recipe, folder, known, caplog):
    """As those to fit do: here none has forces, and one has no energy either."""
    ase.io.write(folder / "before.extxyz", without(without(known, "forces"), "energy", frames=slice(1)))
    problem = prepare(read_recipe(recipe), recipe.parent)
    assert "None of the 5 frames to replay carries forces" in caplog.text
    samples = [Sample(problem.graphs[i], problem.labels[i], problem.reference(i)) for i in problem.split.replay]
    assert [each.counts.energies for each in samples] == [0, 1, 1, 1, 1]
    assert all(each.counts.forces == 0 for each in samples)
    one, *others = train(recipe).history
    assert all(np.isfinite(each.loss) for each in (one, *others))
    targets = Targets.of(samples, torch.device("cpu"))
    assert not targets.has_forces.any()


def test_a_stress_that_was_not_known_then_is_fitted_all_the_same(recipe, folder, argon, known, caplog):
    for atoms in argon:
        atoms.calc.results["stress"] = np.full(6, 1e-3)
    ase.io.write(folder / "argon.extxyz", argon)
    recipe.write_text(recipe.read_text().replace("epochs = 4", "epochs = 1\nstress_weight = 10.0"))
    problem = prepare(read_recipe(recipe), recipe.parent)
    assert "None of the 5 frames to replay carries stress" in caplog.text
    assert problem.labels[0].stress is not None
    assert all(problem.labels[i].stress is None for i in problem.split.replay)


def test_frames_without_anything_to_replay_are_refused(recipe, folder, known):
    ase.io.write(folder / "before.extxyz", without(known, "energy", "forces"))
    with pytest.raises(
        TrainingError, match=r"None of the 5 frames of data\.replay\.files carries energy or forces"
    ):
        prepare(read_recipe(recipe), recipe.parent)

"""Steps of so many frames, atoms or edges: each frame once in an epoch, and the same result for any ranks."""

import itertools
import types

import ase.io
import numpy as np
import pytest
import torch

from halocline.errors import TrainingError, UsageError
from halocline.training.device import make_fabric
from halocline.training.problem import prepare
from halocline.training.recipe import TrainingSettings, read_recipe
from halocline.training.run import TrainingRun
from halocline.training.steps import Plan, StepSize


def frame(atoms, edges):
    """What a plan looks at of a sample."""
    return types.SimpleNamespace(atoms=atoms, graph=types.SimpleNamespace(edges=range(edges)))


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(3)
    return [frame(int(atoms), int(atoms * rng.integers(1, 12))) for atoms in rng.integers(1, 30, 57)]


BOUNDS = {"batch_size": 4, "batch_atoms": 60, "batch_edges": 500}


@pytest.mark.parametrize("key", BOUNDS)
def test_an_epoch_sees_every_frame_once_in_full_steps(frames, key):
    settings = TrainingSettings(epochs=3, seed=5, **{key: BOUNDS[key]})
    plan, size = Plan(frames, settings), StepSize.of(settings)
    takes = size.measure(frames)
    for epoch in range(3):
        steps = plan.steps(epoch)
        assert sorted(i for step in steps for i in step) == list(range(len(frames)))
        assert all(takes[step].sum() <= BOUNDS[key] for step in steps)
        for step, following in itertools.pairwise(steps):
            assert takes[step].sum() + takes[following[0]] > BOUNDS[key]  # there was no room for it
        assert plan.before(epoch + 1) - plan.before(epoch) == len(steps)
    assert plan.total == plan.before(3)


@pytest.mark.parametrize("key", BOUNDS)
def test_the_order_follows_from_seed_and_epoch(frames, key):
    def order(seed, epoch):
        settings = TrainingSettings(epochs=3, seed=seed, **{key: BOUNDS[key]})
        return [i for step in Plan(frames, settings).steps(epoch) for i in step]

    assert order(0, 1) == order(0, 1)
    assert order(0, 0) != order(0, 1) != order(1, 1)


def test_steps_of_frames_are_those_of_the_order(frames):
    (*full, last) = Plan(frames, TrainingSettings(epochs=1, batch_size=4)).steps(0)
    assert {len(step) for step in full} == {4}
    assert len(last) == len(frames) % 4
    expected = np.random.default_rng((0, 0)).permutation(len(frames))
    assert np.array_equal(np.concatenate([*full, last]), expected)


def test_a_frame_that_no_step_could_hold_is_refused(frames):
    largest = max(each.atoms for each in frames)
    with pytest.raises(TrainingError, match=rf"has {largest} atoms, and training.batch_atoms = 5 .* raise it"):
        Plan(frames, TrainingSettings(epochs=1, batch_atoms=5))


def test_one_key_says_how_much_a_step_holds():
    assert TrainingSettings(epochs=1).batch_size == 1
    assert TrainingSettings(epochs=1, batch_edges=7).batch_size is None
    with pytest.raises(UsageError, match=r"training.batch_size and training.batch_edges say the same"):
        TrainingSettings(epochs=1, batch_size=2, batch_edges=7)
    with pytest.raises(UsageError, match=r"training.batch_atoms must be at least 1, not 0"):
        TrainingSettings(epochs=1, batch_atoms=0)


#: As torch says it: the allocator of the CPU, asked for more than there is, and CUDA.
def _more_than_there_is(*_, **__):
    torch.empty(2**60, dtype=torch.uint8)


def _of_cuda(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("running_out", [_more_than_there_is, _of_cuda])
@pytest.mark.parametrize(
    ("batch", "advice"),
    [
        (
            "batch_size = 3",
            r"3 frames with 12 atoms and (\d+) edges .* training.batch_edges = \d+ or less .*batch_size",
        ),
        ("batch_atoms = 8", r"2 frames with 8 atoms .* training.batch_edges = \d+ or less .*batch_atoms"),
        ("batch_edges = 150", r".*\(training.batch_edges = 150\)\. Set training.batch_edges to \d+ or less"),
        ("batch_size = 1", r"1 frame with 4 atoms .* leave out frames as large as this one"),
    ],
)
def test_what_helps_is_said_when_memory_runs_out(edit_recipe, monkeypatch, running_out, batch, advice):
    path = edit_recipe("batch_size = 3", batch)
    recipe = read_recipe(path)
    run = TrainingRun(
        prepare(recipe, path.parent), path.parent / "run", make_fabric("cpu", "float32"), resume=False
    )
    monkeypatch.setattr("halocline.training.fit.objective.energies_and_gradients", running_out)
    with pytest.raises(TrainingError, match=rf"^Memory ran out in step 0, of {advice}"):
        run.train(lambda record: None)


def test_other_errors_are_not_about_memory(edit_recipe, monkeypatch):
    path = edit_recipe("batch_size = 3", "batch_size = 2")
    run = TrainingRun(
        prepare(read_recipe(path), path.parent), path.parent / "run", make_fabric("cpu", "float32"), resume=False
    )

    def failing(*_, **__):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("halocline.training.fit.objective.energies_and_gradients", failing)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run.train(lambda record: None)


def test_frames_of_any_size_are_validated(folder, argon, edit_recipe):
    """Without gradients of weights a large frame takes less, so that it is no reason to refuse the data."""
    ase.io.write(folder / "argon.extxyz", [each * (2, 2, 1) if i % 3 else each for i, each in enumerate(argon)])
    recipe = read_recipe(edit_recipe("batch_size = 3", "batch_atoms = 16"))
    run = TrainingRun(prepare(recipe, folder), folder / "run", make_fabric("cpu", "float32"), resume=False)
    run.train(lambda record: None)
    assert len(run.history) == 4

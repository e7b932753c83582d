"""``halocline train --backend ipu:target=cpu``: packs of structures in a program of fixed shape, beside torch."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import halocline
from halocline.backends.ipu.process import RunnerError
from halocline.backends.ipu.training.limits import refuse_unheeded
from halocline.cli.main import main
from halocline.errors import TrainingError, UsageError
from halocline.training.device import make_fabric
from halocline.training.fit.fitter import find_fitter, refuse_foreign
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.run import TrainingRun
from halocline.training.state import STATE_FILE, load_state

BACKEND = "ipu:target=cpu"

#: Float32 in both: losses and weights after three steps, relative to a loss and in absolute numbers.
CLOSE = 1e-5

RECIPE = """
[data]
files = ["clusters.extxyz"]
[data.split]
seed = 1
train = 12
validation = 2
test = 2

[model]
backbone = "schnet"
[model.config]
features = 8
gaussians = 8
layers = 2
cutoff = 4.0

[training]
epochs = 1
batch_size = 4
learning_rate = 1e-3
warmup_steps = 0
forces_weight = 0.0

[card]
name = "clusters"
"""


def labelled_clusters(count):
    """Clusters of three to twelve atoms, whose labels are smooth functions of where atoms are."""
    frames = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        size = 3 * int(random.integers(1, 5))
        grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:size]
        atoms = Atoms("OHH" * (size // 3), 1.6 * grid + random.normal(scale=0.15, size=(size, 3)))
        labels = {"energy": float(np.sin(atoms.positions).sum()), "forces": -np.cos(atoms.positions)}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


@pytest.fixture
def folder(tmp_path):
    ase.io.write(tmp_path / "clusters.extxyz", labelled_clusters(20))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def train(folder, output, *more):
    """Run the command line; returns the state at the end."""
    words = ["train", folder / "recipe.toml", "-o", folder / output, *more]
    assert main(list(map(str, words))) == 0
    return load_state(folder / output / STATE_FILE)


def assert_close(one, other):
    """Losses, weights and averages agree; moments within their own size."""
    assert one.tensors.keys() == other.tensors.keys()
    for record, expected in zip(one.history, other.history, strict=True):
        assert record["loss"] == pytest.approx(expected["loss"], rel=CLOSE)
    for name, tensor in one.tensors.items():
        if name.startswith(("model.", "average.")):
            assert (tensor - other.tensors[name]).abs().max() <= CLOSE, name


@pytest.mark.parametrize("forces_weight", [0.0, 1.0], ids=["energies", "forces too"])
def test_three_steps_are_those_of_torch(folder, edit_recipe, forces_weight):
    edit_recipe("forces_weight = 0.0", f"forces_weight = {forces_weight}")
    plain, packed = train(folder, "torch"), train(folder, "ipu", "--backend", BACKEND)
    assert_close(packed, plain)
    moved = max(float((t - plain.tensors["model." + n]).abs().max()) for n, t in initial(folder).items())
    assert moved > 50 * CLOSE


def initial(folder):
    """The weights before the first step."""
    return prepare(read_recipe(folder / "recipe.toml"), folder).backbone.state_dict()


def test_schedule_reweighting_and_best_epoch_are_those_of_torch(folder, edit_recipe):
    """What is decided between epochs, from validation by torch, and steps of so many atoms."""
    edit_recipe("epochs = 1\nbatch_size = 4", "epochs = 3\nbatch_atoms = 30")
    more = """
[training.schedule]
kind = "steps"
epochs = [2]
[training.stopping]
keep = "best"
[[training.reweighting]]
epoch = 3
energy_weight = 10.0
[card]"""
    edit_recipe("\n[card]", more)
    plain, packed = train(folder, "torch"), train(folder, "ipu", "--backend", BACKEND)
    assert_close(packed, plain)
    assert any(name.startswith("best.") for name in packed.tensors)
    models = [halocline.load(folder / output / "model.safetensors") for output in ("torch", "ipu")]
    assert models[0].card.keys() == models[1].card.keys()
    assert models[0].card["recipe"] == models[1].card["recipe"]
    (frame,) = labelled_clusters(1)
    energies = [model(frame, dtype="float64").energy for model in models]
    assert energies[0] == pytest.approx(energies[1], rel=CLOSE)


def run_here(folder, output, *, resume=False, at_epoch=None):
    """Train in this process; ``at_epoch`` is given the run when its first epoch is kept."""
    recipe = read_recipe(folder / "recipe.toml")
    run = TrainingRun(
        prepare(recipe, folder),
        folder / output,
        make_fabric("cpu", recipe.training.precision),
        resume=resume,
        make_fitter=find_fitter(BACKEND),
    )
    run.train(lambda record: at_epoch(run) if at_epoch and record.epoch == 1 else None)
    return load_state(run.state_file)


def test_a_runner_that_was_killed_costs_an_epoch_and_no_bit(folder, edit_recipe):
    edit_recipe("epochs = 1", "epochs = 3")
    straight = run_here(folder, "straight")
    with pytest.raises(RunnerError, match="SIGKILL"):
        run_here(folder, "broken", at_epoch=lambda run: os.kill(run.trainer.runner.pid, signal.SIGKILL))
    resumed = run_here(folder, "broken", resume=True)
    assert straight.tensors.keys() == resumed.tensors.keys()
    for name, tensor in straight.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name
    assert [record["loss"] for record in straight.history] == [record["loss"] for record in resumed.history]


def test_a_run_goes_on_with_torch(folder, edit_recipe):
    edit_recipe("epochs = 1", "epochs = 2")
    straight = train(folder, "straight")

    def stop(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_here(folder, "broken", at_epoch=stop)
    assert_close(train(folder, "broken", "--resume"), straight)


def test_moments_of_another_optimiser_are_not_left_out():
    with pytest.raises(TrainingError, match="holds poptorch, of an optimiser that is not the one here"):
        refuse_foreign(["model.x", "poptorch.ipu_state.x"], ("model", "average", "adam"))


def refused(folder, capsys, *more):
    """The message with which the command ends before it trains."""
    words = ["train", folder / "recipe.toml", "-o", folder / "out", *more]
    assert main(list(map(str, words))) == 2
    assert not (folder / "out" / STATE_FILE).exists()
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("forces_weight = 0.0", 'energy_loss = "huber"', "training.energy_loss = 'huber'"),
        ("forces_weight = 0.0", 'precision = "float64"', "training.precision = 'float64'"),
        ("forces_weight = 0.0", 'optimizer = "adamw"\nweight_decay = 0.1', "training.optimizer = 'adamw'"),
        ("forces_weight = 0.0", 'freeze = ["embed"]', "training.freeze = ('embed',)"),
        ("forces_weight = 0.0", 'clip_by = "value"', "training.clip_by = 'value'"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(folder, edit_recipe, capsys, old, new, words):
    edit_recipe(old, new)
    assert words in refused(folder, capsys, "--backend", BACKEND)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--backend", "onnx"], "'onnx' is no backend that trains; those are torch, ipu"),
        (["--backend", "torch:threads=2"], "takes no options"),
        (["--backend", BACKEND, "--ranks", "2"], "fits in one process"),
        (["--backend", BACKEND, "--device", "cuda"], "for torch"),
        (["--backend", "ipu:target=gpu"], "target of the ipu backend"),
        (["--backend", "ipu:target=cpu,atoms=8"], "neighbours"),
        (["--backend", "ipu:target=cpu,atoms=8,neighbours=8"], "make the packs larger"),
        (["--backend", "ipu:target=cpu,atoms=12,neighbours=3"], "Compile it for more"),
    ],
)
def test_options_that_make_no_sense_are_refused(folder, capsys, more, words):
    assert words in refused(folder, capsys, *more)


def test_there_is_no_average_on_the_device(folder):
    recipe = read_recipe(folder / "recipe.toml")
    refuse_unheeded(recipe, "cpu")
    with pytest.raises(UsageError, match=r"training.ema_decay = 0.999 cannot be done by ipu:target=ipu"):
        refuse_unheeded(recipe, "ipu")
    refuse_unheeded(replace(recipe, training=replace(recipe.training, ema_decay=0.0)), "ipu")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[distillation]\nteacher = "lennard-jones-argon"\n', "distillation cannot be done"),
        ("[model.adapters]\nrank = 2\n", "model.adapters cannot be done"),
    ],
)
def test_tables_that_it_cannot_do_are_refused(folder, edit_recipe, table, words):
    edit_recipe("[card]", f"{table}\n[card]")
    with pytest.raises(UsageError, match=words):
        refuse_unheeded(read_recipe(folder / "recipe.toml"), "cpu")

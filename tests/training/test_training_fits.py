"""Training learns, and the errors it reports are those its users will see."""

import json

import ase.io
import numpy as np
import pytest
import safetensors
import torch

import halocline
from halocline.cli.main import main
from halocline.errors import TrainingError, UsageError
from halocline.training.device import make_fabric
from halocline.training.fit.schedule import learning_rate
from halocline.training.problem import prepare
from halocline.training.recipe import TrainingSettings, read_recipe
from halocline.training.result import finish
from halocline.training.run import TrainingRun

# What is measured twice is summed in another order: float32 sums over a few tens of neighbours.
SINGLE = 1e-5


def train(path, output="run"):
    recipe = read_recipe(path)
    run = TrainingRun(
        prepare(recipe, path.parent), path.parent / output, make_fabric("cpu", "float32"), resume=False
    )
    run.train(lambda record: None)
    return run


@pytest.mark.slow
def test_the_loss_falls_and_forces_are_learnt(edit_recipe):
    """After 30 epochs the force error is a third of the mean force component, 150 meV/Å."""
    edit_recipe("features = 8\ngaussians = 8", "features = 16\ngaussians = 16")
    edit_recipe("warmup_steps = 3", "energy_weight = 1.0")
    edit_recipe("batch_size = 3", "batch_size = 1")
    history = train(edit_recipe("epochs = 4", "epochs = 30")).history
    assert history[-1].loss < history[0].loss / 20.0
    assert history[-1].forces_mae < 50.0


def test_reported_test_errors_are_what_the_saved_model_gives(folder, argon, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["train", "recipe.toml", "-o", "run"]) == 0
    shown = capsys.readouterr()
    potential = halocline.load("run/model.safetensors")
    errors, frames = potential.card["errors"], potential.card["recipe"]["frames"]["test"]
    results = [potential(argon[i], device="cpu") for i in frames]
    energy = [(r.energy - argon[i].get_potential_energy()) / 4 for r, i in zip(results, frames, strict=True)]
    forces = np.array([r.forces - argon[i].get_forces() for r, i in zip(results, frames, strict=True)])
    expected = {
        "energy_mae_meV_per_atom": np.abs(energy).mean(),
        "energy_rmse_meV_per_atom": np.sqrt(np.square(energy).mean()),
        "force_component_mae_meV_per_A": np.abs(forces).mean(),
        "force_component_rmse_meV_per_A": np.sqrt(np.square(forces).mean()),
    }
    labels = np.array([argon[i].get_forces() for i in frames])
    expected["force_component_labels_std_meV_per_A"] = labels.std()
    expected["force_component_labels_mean_magnitude_meV_per_A"] = np.abs(labels).mean()
    for name, value in expected.items():
        assert errors[name] == pytest.approx(1e3 * value, rel=SINGLE), name
    assert f"{errors['force_component_mae_meV_per_A']:.2f}" in shown.out
    assert "energy   from key 'energy': 14 of 14 frames" in shown.err
    assert "epoch 4/4" in shown.err


def test_the_model_is_the_average_and_knows_its_recipe(folder):
    run = train(folder / "recipe.toml")
    potential, errors = finish(run, "cpu")
    kept = run.trainer.average.state_dict()
    for name, weights in potential.backbone.state_dict().items():
        assert torch.equal(weights.float(), kept[name]), name
    assert errors.frames == 4
    card = potential.card
    assert card["name"] == "argon"
    assert card["recipe"]["training"]["epochs"] == 4
    assert len(card["recipe"]["files_sha256"]["argon.extxyz"]) == 64
    assert "units" in card
    assert "notes" not in card  # one element: its reference energy is determined


def test_validation_errors_are_those_of_the_average(folder, argon):
    run = train(folder / "recipe.toml")
    potential, _ = finish(run, "cpu")
    forces = [
        potential(argon[i], device="cpu").forces - argon[i].get_forces() for i in run.problem.split.validation
    ]
    assert run.history[-1].forces_mae == pytest.approx(1e3 * np.abs(forces).mean(), rel=SINGLE)


def test_metrics_have_one_line_for_each_epoch(folder):
    run = train(folder / "recipe.toml")
    lines = (folder / "run" / "metrics.csv").read_text().splitlines()
    assert lines[0] == (
        "epoch,loss,validation_loss,energy_mae,energy_rmse,forces_mae,forces_rmse,stress_mae,stress_rmse,"
        "learning_rate,seconds,validation_frames"
    )
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert float(lines[-1].split(",")[1]) == run.history[-1].loss


def test_json_is_all_that_goes_to_standard_output(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["train", "recipe.toml", "-o", "run", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["epochs"] == 4
    assert result["test"]["frames"] == 4
    with safetensors.safe_open(result["model"], framework="np") as file:
        assert "readout.out.weight" in file.keys()  # noqa: SIM118


def test_training_on_forces_alone(folder, argon, edit_recipe):
    recipe = read_recipe(edit_recipe("warmup_steps = 3", "warmup_steps = 3\nenergy_weight = 0.0"))
    train_frames = prepare(recipe, folder).split.train
    for i in train_frames:
        del argon[i].calc.results["energy"]
    ase.io.write(folder / "argon.extxyz", argon)
    run = train(folder / "recipe.toml")
    assert run.problem.reference_energies == {"Ar": 0.0}
    assert run.history[-1].forces_mae is not None
    edit_recipe("energy_weight = 0.0", "energy_weight = 1.0")
    with pytest.raises(TrainingError, match="None of the 8 training frames carries energy"):
        prepare(read_recipe(folder / "recipe.toml"), folder)


def test_files_by_purpose(folder, argon, edit_recipe):
    ase.io.write(folder / "fit.extxyz", argon[:10])
    ase.io.write(folder / "watch.extxyz", argon[10:])
    split = "[data.split]\nseed = 1\ntrain = 8\nvalidation = 2\ntest = 4\n"
    path = edit_recipe(split, "")
    path = edit_recipe(
        'files = ["argon.extxyz"]', 'train_files = ["fit.extxyz"]\nvalidation_files = ["watch.extxyz"]'
    )
    problem = prepare(read_recipe(path), folder)
    assert problem.split.purposes() == {
        "train": tuple(range(10)),
        "validation": tuple(range(10, 14)),
        "test": (),
    }


def test_a_fit_that_diverges_stops_with_the_way_out(edit_recipe):
    edit_recipe("learning_rate = 1e-2", "learning_rate = 1e30")
    with pytest.raises(TrainingError, match=r"diverged at step \d+.*Lower training.learning_rate"):
        train(edit_recipe("warmup_steps = 3", "warmup_steps = 0"))


def test_a_backbone_without_weights_is_refused(edit_recipe):
    edit_recipe('"schnet"', '"lennard-jones"')
    path = edit_recipe("features = 8\ngaussians = 8\nlayers = 1", "epsilon = [0.01]\nsigma = [3.4]")
    with pytest.raises(UsageError, match="'lennard-jones' has no weights"):
        train(path)


def test_the_learning_rate_rises_and_falls():
    settings = TrainingSettings(epochs=1, learning_rate=1.0, warmup_steps=10, final_fraction=0.01)
    rates = [learning_rate(step, 100, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.505)  # half of the way down
    assert rates[100] == pytest.approx(0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)

"""Which weights move and how fast, which epoch is the last, and which one becomes the model."""

import copy

import pytest
import torch

from halocline.cli.main import main
from halocline.errors import TrainingError, UsageError
from halocline.training.device import make_fabric
from halocline.training.fit.optimizer import FACTOR, make_optimizer
from halocline.training.problem import prepare
from halocline.training.recipe import TrainingSettings, read_recipe
from halocline.training.result import finish
from halocline.training.run import TrainingRun
from halocline.training.state import load_state

#: A fit whose rate falls on plateaus, whose weights change, and which ends early: by a metric that rises soon.
STEERED = """warmup_steps = 3
precision = "float64"
optimizer = "adamw"
weight_decay = 0.1
clip_by = "value"
gradient_clip = 0.5
forces_loss = "huber"
freeze = ["embed"]
rates = { readout = 0.5 }
validate = "{validate}"
[[training.reweighting]]
epoch = 2
over = 2
energy_weight = 1.0
[training.schedule]
kind = "plateau"
patience = 0
metric = "energy_rmse"
[training.stopping]
metric = "energy_mae"
patience = 3
keep = "{keep}"
"""


@pytest.fixture
def steer(edit_recipe):
    """The recipe with settings like those above."""

    def edit(epochs=12, validate="average", keep="best"):
        edit_recipe("epochs = 4", f"epochs = {epochs}")
        edit_recipe("learning_rate = 1e-2", "learning_rate = 5e-2")
        text = STEERED.replace("{validate}", validate).replace("{keep}", keep)
        return edit_recipe("warmup_steps = 3\n", text)

    return edit


def train(path, output="run", *, resume=False, until=None):
    """Run a recipe, if asked for only up to an epoch."""
    recipe = read_recipe(path)
    fabric = make_fabric("cpu", recipe.training.precision)
    run = TrainingRun(prepare(recipe, path.parent), path.parent / output, fabric, resume=resume)

    def report(record):
        if record.epoch == until:
            raise KeyboardInterrupt

    if until is None:
        run.train(report)
    else:
        with pytest.raises(KeyboardInterrupt):
            run.train(report)
    return run


def history(run):
    return [(each.loss, each.validation_loss, each.energy_rmse, each.learning_rate) for each in run.history]


def assert_same(one, other):
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    assert one.keys() == other.keys()


def test_a_steered_fit_ends_early_and_keeps_its_best(steer):
    run = train(steer())
    metrics = [record.energy_mae for record in run.history]
    best = run.best_epoch
    assert metrics[best - 1] == min(metrics)
    assert len(metrics) == best + 3 < 12
    assert len({record.learning_rate for record in run.history[1:]}) > 1
    average = run.trainer.average.state_dict()
    assert any(not torch.equal(run.model_weights()[name], average[name]) for name in average)
    potential, _ = finish(run, "cpu")
    assert potential.card["recipe"]["epochs"] == {"done": len(metrics), "of_the_model": best}
    for name, weights in potential.backbone.state_dict().items():
        assert torch.equal(weights, run.model_weights()[name].to(weights.dtype)), name


def test_what_a_fit_leaves_alone_loses_no_digits(steer, edit_recipe):
    """In single precision: frozen weights and constants are those of before, the others are not."""
    steer(epochs=2)
    run = train(edit_recipe('precision = "float64"', 'precision = "float32"'))
    before, after = run.problem.backbone.state_dict(), finish(run, "cpu")[0].backbone.state_dict()
    assert any(name.startswith("embed") for name in before)
    for name, weights in before.items():
        if name.startswith("embed"):
            assert not torch.equal(weights, weights.float().double())
            assert torch.equal(after[name], weights), name
    assert any(not torch.equal(after[name], weights) for name, weights in before.items())


def test_the_best_is_the_average_of_that_epoch(steer):
    path = steer()
    run = train(path)
    again = train(path, "again", until=run.best_epoch)
    assert_same(run.model_weights(), again.trainer.average.state_dict())


@pytest.mark.parametrize(("validate", "keep"), [("average", "best"), ("latest", "last")])
def test_resuming_a_steered_fit_is_exact(steer, validate, keep):
    """Wherever it is interrupted, also after its end: rates, weights of the loss, the best and the last epoch."""
    path = steer(validate=validate, keep=keep)
    straight = train(path, "straight")
    epochs = len(straight.history)
    for until in sorted({1, 2, straight.best_epoch, epochs - 1, epochs}):
        train(path, f"broken{until}", until=until)
        resumed = train(path, f"broken{until}", resume=True)
        assert history(resumed) == history(straight), until
        assert_same(resumed.model_weights(), straight.model_weights())
        assert_same(*(load_state(each.state_file).tensors for each in (resumed, straight)))


def test_validation_measures_the_weights_it_is_told_to(steer, edit_recipe):
    path = steer(epochs=2, keep="last")
    average = train(path, "average")
    edit_recipe('validate = "average"', 'validate = "latest"')
    latest = train(path, "latest")
    for run, measured in ((average, average.trainer.average), (latest, latest.trainer.model)):
        errors, loss = run._validation.measure(measured)
        assert (errors.energy_mae, loss) == (run.history[-1].energy_mae, run.history[-1].validation_loss)
    assert average.history[-1].energy_mae != latest.history[-1].energy_mae
    assert_same(average.model_weights(), latest.model_weights())  # which is the average, whatever is measured


def test_frozen_weights_stay_and_others_move(steer):
    run = train(steer(epochs=2))
    before = run.problem.backbone.state_dict()
    for weights in (run.trainer.model.state_dict(), run.trainer.average.state_dict()):
        for name, tensor in weights.items():
            frozen = name.startswith("embed.") or not tensor.is_floating_point()
            assert torch.equal(tensor, before[name]) == (frozen or name not in dict(_parameters(run))), name
    assert not any(name.startswith("adam.embed.") for name in run.trainer.tensors())


def _parameters(run):
    return run.trainer.model.named_parameters()


@pytest.fixture
def model(folder):
    return prepare(read_recipe(folder / "recipe.toml"), folder).backbone


def step(model, **keys):
    """What one step changes, by name, with a gradient of ones; at a rate of 1e-2."""
    moved = copy.deepcopy(model)
    optimizer, names = make_optimizer(moved, TrainingSettings(epochs=1, learning_rate=1e-2, **keys))
    for group in optimizer.param_groups:
        group["lr"] = 1e-2 * group[FACTOR]
    for weights in moved.parameters():
        weights.grad = torch.ones_like(weights) if weights.requires_grad else None
    optimizer.step()
    assert sorted(names) == sorted(name for name, each in moved.named_parameters() if each.requires_grad)
    return {
        name: weights.detach() - model.get_parameter(name).detach() for name, weights in moved.named_parameters()
    }


def test_rates_are_those_of_the_longest_name_that_fits(model):
    """The first step of Adam is as long as its rate."""
    changes = step(model, rates={"layers": 0.1, "layers.0": 0.5, "readout.out.weight": 0.25})
    for name, change in changes.items():
        factor = 0.5 if name.startswith("layers.0.") else 0.25 if name == "readout.out.weight" else 1.0
        torch.testing.assert_close(change, torch.full_like(change, -1e-2 * factor), rtol=1e-6, atol=0.0)


def test_weights_decay_beside_the_gradient_but_vectors_do_not(model):
    plain, decayed = step(model, optimizer="adamw"), step(model, optimizer="adamw", weight_decay=0.5)
    for name, change in decayed.items():
        weights = model.get_parameter(name).detach()
        expected = plain[name] - (1e-2 * 0.5 * weights if weights.ndim > 1 else 0.0)
        torch.testing.assert_close(change, expected, rtol=1e-6, atol=1e-12)


def test_adam_decays_by_the_gradient(model):
    """With a decay that outweighs the gradient of ones, its first step goes the other way for negative weights."""
    changes = step(model, weight_decay=1e6)
    for name, change in changes.items():
        weights = model.get_parameter(name).detach()
        sign = torch.sign(1.0 + 1e6 * weights) if weights.ndim > 1 else torch.ones_like(weights)
        torch.testing.assert_close(change, -1e-2 * sign, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"freeze": ("embedd",)}, r"training.freeze\[0\]: There is no weight or stage named 'embedd'.*'embed'"),
        ({"freeze": ("layer",)}, "'layers'"),
        ({"rates": {"readout.outt": 0.1}}, "training.rates: .*'readout.out'"),
        ({"freeze": ("embed", "layers", "readout")}, "All weights of 'schnet' are frozen"),
    ],
)
def test_names_of_no_weight_are_refused(model, keys, message):
    with pytest.raises(UsageError, match=message):
        step(model, **keys)


@pytest.mark.parametrize(("clip_by", "limit"), [("norm", 1e-3), ("value", 1e-4)])
def test_gradients_are_clipped_by_norm_or_value(folder, edit_recipe, clip_by, limit):
    path = edit_recipe("warmup_steps = 3", f'warmup_steps = 3\nclip_by = "{clip_by}"\ngradient_clip = {limit}')
    run = train(path, until=1)
    gradients = torch.cat([w.grad.flatten() for w in run.trainer.model.parameters() if w.grad is not None])
    size = float(gradients.norm() if clip_by == "norm" else gradients.abs().max())
    assert size == pytest.approx(limit, rel=1e-4)


def test_clipping_by_value_does_not_hide_a_fit_that_diverged(edit_recipe):
    edit_recipe("learning_rate = 1e-2", 'learning_rate = 1e30\nclip_by = "value"')
    with pytest.raises(TrainingError, match=r"diverged at step \d+"):
        train(edit_recipe("warmup_steps = 3", "warmup_steps = 0"))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("stress_mae", "'stress_mae', but none of the 0 validation frames carries stress"),
        (
            "energy_rmse",
            "training.stopping.metric is 'energy_rmse', but none of the 0 validation frames carries energy",
        ),
        ("validation_loss", "'validation_loss', but none of the 0 validation frames is there"),
    ],
)
def test_a_metric_that_no_epoch_will_have_is_refused(folder, edit_recipe, metric, message):
    edit_recipe("validation = 2", "validation = 0")
    path = edit_recipe(
        "warmup_steps = 3", f'warmup_steps = 3\n[training.stopping]\npatience = 1\nmetric = "{metric}"'
    )
    with pytest.raises(TrainingError, match=message):
        prepare(read_recipe(path), folder)


def test_the_command_says_which_epoch_it_is(steer, monkeypatch, capsys):
    path = steer()
    monkeypatch.chdir(path.parent)
    assert main(["train", "recipe.toml", "-o", "run"]) == 0
    said = capsys.readouterr().err
    assert "Stopped after epoch" in said
    assert "The model is that of epoch" in said
    assert main(["train", "recipe.toml", "-o", "run", "--resume"]) == 0
    assert "Stopped after epoch" in capsys.readouterr().err

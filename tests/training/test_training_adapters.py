"""Adapters from a recipe: few numbers move, and what is written is a plain model."""

import pytest
import torch

import halocline
from halocline.cli.main import main
from halocline.errors import UsageError
from halocline.model.adapters import Adapted, adapters, merged, weights_below
from halocline.training.device import make_fabric
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.run import TrainingRun

# Products of float32 that are added up in another order.
SINGLE = 1e-6


@pytest.fixture
def with_adapters(folder, edit_recipe):
    """Write the table ``[model.adapters]`` of the recipe."""

    def write(table, of="model.config"):
        return edit_recipe(f"[{of}]", f"[model.adapters]\n{table}\n[{of}]")

    return write


def begin(path, output="run", *, resume=False):
    recipe = read_recipe(path)
    fabric = make_fabric("cpu", recipe.training.precision)
    return TrainingRun(prepare(recipe, path.parent), path.parent / output, fabric, resume=resume)


def test_adapters_change_nothing_before_the_first_step(with_adapters):
    run = begin(with_adapters("rank = 2"))
    for name, weights in merged(run.trainer.model).state_dict().items():
        assert torch.equal(weights, run.problem.backbone.state_dict()[name].float()), name
    assert run.trainer.average.state_dict().keys() == run.problem.backbone.state_dict().keys()


def test_only_adapters_move(with_adapters):
    run = begin(with_adapters("rank = 2"))
    before = {name: weights.clone() for name, weights in run.trainer.model.named_parameters()}
    run.train(lambda record: None)
    moving = {id(each) for adapter in adapters(run.trainer.model) for each in (adapter.up, adapter.down)}
    assert moving
    for name, weights in run.trainer.model.named_parameters():
        assert torch.equal(weights, before[name]) == (id(weights) not in moving), name
    dense = {name for name, weights in run.problem.backbone.named_parameters() if weights.ndim == 2}
    for name, weights in run.model_weights().items():
        kept = run.problem.backbone.state_dict()[name].float()
        assert name in dense or torch.equal(weights, kept), name


def test_what_is_named_is_fitted_in_full(with_adapters):
    run = begin(with_adapters('rank = 2\nfull = ["readout"]'))
    trained = {name for name, weights in run.trainer.model.named_parameters() if weights.requires_grad}
    readout = {name for name, _ in run.problem.backbone.named_parameters() if name.startswith("readout.")}
    assert readout
    assert readout < trained  # under their own names: they have no adapters
    assert all(name in readout or name.rpartition(".")[2] in ("up", "down") for name in trained)


def test_without_an_average_the_model_is_the_merged_one(with_adapters, edit_recipe):
    with_adapters("rank = 2\nalpha = 4.0")
    run = begin(edit_recipe("warmup_steps = 3", "warmup_steps = 3\nema_decay = 0.0"))
    run.train(lambda record: None)
    for name, weights in merged(run.trainer.model).state_dict().items():
        torch.testing.assert_close(run.model_weights()[name], weights, rtol=SINGLE, atol=SINGLE)


def test_a_resumed_run_ends_with_the_same_adapters(with_adapters, folder):
    path = with_adapters("rank = 2")
    straight, broken = begin(path, "straight"), begin(path, "broken")
    straight.train(lambda record: None)

    def stop(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.train(stop)
    resumed = begin(path, "broken", resume=True)
    resumed.train(lambda record: None)
    expected = straight.trainer.tensors()
    for name, tensor in resumed.trainer.tensors().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_model_is_fine_tuned_by_adapters_and_written_as_it_was(with_adapters, folder, edit_recipe, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["train", "recipe.toml", "-o", "parent"]) == 0
    edit_recipe('backbone = "schnet"', 'from = "parent/model.safetensors"\nadapters = {rank = 2}')
    edit_recipe("[model.config]\nfeatures = 8\ngaussians = 8\nlayers = 1\ncutoff = 5.0\n", "")
    assert main(["train", "recipe.toml", "-o", "child"]) == 0
    parent, child = (halocline.load(f"{name}/model.safetensors").backbone for name in ("parent", "child"))
    assert parent.config == child.config
    moved = {
        name for name, weights in parent.state_dict().items() if not torch.equal(weights, child.state_dict()[name])
    }
    assert moved
    assert all(parent.state_dict()[name].ndim == 2 for name in moved)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("rank = 0", "model.adapters.rank must be at least 1"),
        ("rank = 2\nalpha = -1.0", "model.adapters.alpha must be positive"),
        ("rnk = 2", "did you mean 'rank'"),
        ('rank = 2\nfull = [""]', r"model.adapters.full\[0\] must be the name"),
        ('rank = 2\nfull = ["readot"]', "model.adapters: .* did you mean 'readout'"),
        ("rank = 1000", "model.adapters: No dense layer of 'schnet' has more than 1000"),
    ],
)
def test_nonsense_is_refused_by_key(with_adapters, table, message):
    with pytest.raises(UsageError, match=message):
        begin(with_adapters(table))


def test_names_are_those_of_the_plain_model(with_adapters, edit_recipe):
    """To freeze, or to go slower, whatever stands beside a weight goes by the weight's own name."""
    path = with_adapters('rank = 2\nfull = ["readout"]')
    plain = begin(path, "plain")
    named = [
        name
        for name, weights in plain.problem.backbone.named_parameters()
        if weights.ndim == 2 and not name.startswith("readout.") and min(weights.shape) > 2
    ]
    still, slow = next(each for each in named if each.startswith("layers.")), named[-1]
    assert still != slow
    more = f'warmup_steps = 3\nfreeze = ["{still}"]\nrates = {{ "{slow}" = 0.5 }}'
    run = begin(edit_recipe("warmup_steps = 3", more))
    model = run.trainer.model
    before = merged(model).state_dict()
    run.train(lambda record: None)
    after = merged(model).state_dict()
    assert torch.equal(before[still], after[still])
    assert not torch.equal(before[slow], after[slow])
    assert set(weights_below(slow, model)) == {
        f"{slow.removesuffix('.weight')}.{each}" for each in ("layer.weight", "down", "up")
    }


@pytest.mark.parametrize(
    "key", ['freeze = ["layers.0.NAME.layer.weight"]', 'rates = { "layers.0.NAME.layer" = 0.5 }']
)
def test_names_of_adapters_are_none_of_the_models(with_adapters, edit_recipe, key):
    run = begin(with_adapters("rank = 2"), "plain")
    path = next(name for name, each in run.trainer.model.layers[0].named_modules() if isinstance(each, Adapted))
    with pytest.raises(UsageError, match=rf"did you mean '{'layers.0.' + path}"):
        begin(edit_recipe("warmup_steps = 3", f"warmup_steps = 3\n{key.replace('NAME', path)}"))

"""What changes in the course of a fit: the learning rate and the weights of the loss."""

import math

import numpy as np
import pytest
import torch

from halocline.errors import UsageError
from halocline.training.fit.progress import best_epoch, is_over, reductions
from halocline.training.fit.schedule import ema_decay, learning_rate
from halocline.training.recipe import TrainingSettings, Weights

#: Of products of a few numbers in float64.
ROUNDING = 1e-14

EPOCHS, STEPS_PER_EPOCH, WARMUP = 10, 20, 10
STEPS = EPOCHS * STEPS_PER_EPOCH


def settings(**keys):
    return TrainingSettings(**{"epochs": EPOCHS, "learning_rate": 0.5, "warmup_steps": WARMUP} | keys)


def rates(**keys):
    chosen = settings(**keys)
    return [
        learning_rate(step, STEPS, chosen, epoch=step // STEPS_PER_EPOCH + 1, reductions=step // (STEPS // 2))
        for step in range(STEPS)
    ]


#: Kind → other keys, and the fraction of the full rate from the step and from how many steps the warm-up leaves.
COURSES = {
    "constant": ({}, {}, lambda step, rest: 1.0),
    "cosine": ({}, {"final_fraction": 0.1}, lambda step, rest: 0.1 + 0.45 * (1.0 + math.cos(math.pi * rest))),
    "exponential": ({}, {"final_fraction": 0.1}, lambda step, rest: math.exp(rest * math.log(0.1))),
    "steps": (
        {"epochs": [3, 8], "factor": 0.25},
        {},
        lambda step, rest: 0.25 ** ((step >= 2 * STEPS_PER_EPOCH) + (step >= 7 * STEPS_PER_EPOCH)),
    ),
    "plateau": ({"factor": 0.3}, {}, lambda step, rest: 0.3 ** (step >= STEPS // 2)),
}


@pytest.mark.parametrize("kind", COURSES)
def test_the_rate_follows_its_formula_after_the_warm_up(kind):
    schedule, keys, fraction = COURSES[kind]
    found = rates(schedule={"kind": kind} | schedule, **keys)
    expected = [
        0.5 * min(1.0, (step + 1) / WARMUP) * fraction(step, max(0, step - WARMUP) / (STEPS - WARMUP))
        for step in range(STEPS)
    ]
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)


def test_a_plateau_does_not_bring_the_rate_below_its_fraction():
    chosen = settings(schedule={"kind": "plateau", "factor": 0.1}, final_fraction=0.05)
    assert learning_rate(STEPS - 1, STEPS, chosen, reductions=9) == 0.5 * 0.05


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("patience", [0, 1, 4])
def test_plateaus_are_those_of_torch(seed, patience):
    """An independent implementation, on a fall with noise that hides it more and more."""
    rng = np.random.default_rng(seed)
    metrics = (np.exp(-0.1 * np.arange(60)) + 0.05 * rng.normal(size=60) + 0.3).tolist()
    chosen = settings(epochs=60, schedule={"kind": "plateau", "factor": 0.5, "patience": patience})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, eps=0.0)
    for done in range(1, 61):
        theirs.step(metrics[done - 1])
        assert 0.5 ** reductions(metrics[:done], chosen) == optimizer.param_groups[0]["lr"], done
    assert reductions(metrics, chosen) > 0


def test_metrics_that_are_no_numbers_are_never_the_best():
    nan = float("nan")
    chosen = settings(stopping={"patience": 2})
    assert best_epoch([nan, nan]) is None
    assert best_epoch([nan, 2.0, 1.0, nan, 1.0]) == 3
    assert reductions([nan] * 6, settings(schedule={"kind": "plateau", "patience": 5})) == 1
    assert [is_over([3.0, 1.0, 2.0, 2.0][:done], chosen) for done in range(5)] == [False] * 4 + [True]
    assert is_over([nan, nan], chosen)


def test_without_patience_a_fit_is_not_stopped():
    assert not is_over([1.0, *[2.0] * 100], settings(stopping={"keep": "best"}))


def test_the_average_is_young_at_first():
    chosen = settings(ema_decay=0.9)
    assert ema_decay(0, chosen) == 0.1
    assert ema_decay(1000, chosen) == 0.9
    assert ema_decay(5, settings(ema_decay=0.0)) == 0.0


def test_weights_change_by_equal_steps_and_stay():
    chosen = settings(
        energy_weight=1.0,
        forces_weight=100.0,
        reweighting=[
            {"epoch": 3, "over": 4, "energy_weight": 9.0},
            {"epoch": 8, "forces_weight": 0.0, "stress_weight": 5.0},
        ],
    )
    assert [chosen.weights(epoch).energy for epoch in range(1, 11)] == [1, 1, 3, 5, 7, 9, 9, 9, 9, 9]
    assert [chosen.weights(epoch).forces for epoch in range(1, 11)] == [100.0] * 7 + [0.0] * 3
    assert [chosen.weights(epoch).stress for epoch in range(1, 11)] == [0.0] * 7 + [5.0] * 3
    assert chosen.fitted == Weights(9.0, 100.0, 5.0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schedule": {"kind": "cosin"}}, "training.schedule.kind must be 'cosine' or"),
        ({"schedule": {"kin": "cosine"}}, "did you mean 'kind'"),
        ({"schedule": {"kind": "steps"}}, "training.schedule.epochs must be ascending"),
        ({"schedule": {"kind": "steps", "epochs": [5, 5]}}, "training.schedule.epochs must be ascending"),
        ({"schedule": {"kind": "steps", "epochs": [1]}}, "training.schedule.epochs must be ascending"),
        (
            {"schedule": {"kind": "steps", "epochs": [11]}},
            "training.schedule.epochs must be at most training.epochs",
        ),
        ({"schedule": {"epochs": [5]}}, "training.schedule.epochs says something about 'steps' only"),
        ({"schedule": {"patience": 3}}, "training.schedule.patience says something about 'plateau' only"),
        (
            {"schedule": {"kind": "constant", "factor": 0.1}},
            "factor says something about 'steps' and 'plateau' only",
        ),
        ({"schedule": {"kind": "plateau", "factor": 1.0}}, "training.schedule.factor must be above 0 and below 1"),
        ({"schedule": {"kind": "plateau", "metric": "mae"}}, "training.schedule.metric must be"),
        ({"schedule": {"kind": "exponential"}, "final_fraction": 0.0}, "final_fraction must be positive"),
        ({"stopping": {"patience": -1}}, "training.stopping.patience must be at least 0"),
        ({"stopping": {"keep": "first"}}, "training.stopping.keep must be 'last' or 'best'"),
        ({"stopping": {"keep": "best"}, "validate": "latest"}, "training.validate must be 'average'"),
        ({"reweighting": [{"epoch": 0}]}, "training.reweighting.epoch must be at least 1"),
        ({"reweighting": [{"epoch": 11}]}, "training.reweighting must be of epochs up to"),
        ({"reweighting": [{"epoch": 3, "over": 4}, {"epoch": 5}]}, "each after the one before is over"),
        ({"reweighting": [{"epoch": 3, "energy_weigt": 4.0}]}, "did you mean 'energy_weight'"),
        ({"reweighting": [{"epoch": 3, "energy_weight": -1.0}]}, "reweighting.energy_weight must be at least 0"),
        ({"optimizer": "sgd"}, "training.optimizer must be 'adam' or 'adamw'"),
        ({"weight_decay": -1e-3}, "training.weight_decay must be at least 0"),
        ({"clip_by": "size"}, "training.clip_by must be 'norm' or 'value'"),
        ({"energy_loss": "norms"}, "training.energy_loss must be"),
        ({"forces_huber": 0.0}, "training.forces_huber must be positive"),
        ({"rates": {"embed": 0.0}}, "training.rates.embed must be above 0"),
        ({"rates": {"layers": {"0": 0.1}}}, "training.rates.layers must be above 0 .* quotation marks"),
        ({"freeze": [""]}, "training.freeze.0. must be the name"),
    ],
)
def test_what_means_nothing_is_refused_by_key(keys, message):
    with pytest.raises(UsageError, match=message):
        settings(**keys)


def test_a_loss_that_becomes_nothing_is_refused():
    with pytest.raises(UsageError, match="energy_weight must be positive"):
        settings(reweighting=[{"epoch": 3, "energy_weight": 0.0, "forces_weight": 0.0}]).require_weight()

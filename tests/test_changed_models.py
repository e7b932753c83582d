"""Whoever changes a model is told the numbers of the model as it is, never those of before."""

import copy
import gc
import pickle
import weakref
from typing import ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms
from structures import random_structure

from halocline.evaluator import Evaluator, FollowingEvaluator
from halocline.evaluator.following import BackboneState
from halocline.evaluator.result import Result
from halocline.graph.compiled import WORTHWHILE, Steps, steps
from halocline.model.build import build_backbone
from halocline.potential import potential as potentials
from halocline.potential.potential import Potential

CONFIG = {"species": ["H", "O"], "features": 8, "gaussians": 8, "layers": 2, "cutoff": 3.5}


def network(seed=1):
    return Potential(build_backbone("schnet", CONFIG, seed=seed), {"H": -13.6, "O": -2041.8}, {"name": "test"})


def step(backbone):
    """One step of training."""
    optimiser = torch.optim.SGD(backbone.parameters(), lr=0.1)
    sum(each.square().sum() for each in backbone.parameters()).backward()
    optimiser.step()


def through_numpy(backbone):
    for each in backbone.parameters():
        each.detach().numpy()[...] *= 1.5


def through_data(backbone):
    """Of which torch's own counters of changes know nothing."""
    weight = next(backbone.layers.parameters())
    before = weight._version
    weight.data.copy_(weight * 1.5)
    assert weight._version == before


def one_bit(backbone):
    weight = max(backbone.parameters(), key=torch.numel)
    with torch.no_grad():
        weight.view(-1)[-1] = np.nextafter(float(weight.view(-1)[-1]), np.inf)


def transposed(backbone):
    """The same bytes in the same place, read otherwise."""
    weight = next(each for each in backbone.parameters() if each.ndim == 2 and each.shape[0] == each.shape[1])
    weight.data = weight.data.t()


def rows_exchanged(backbone):
    weight = max(backbone.parameters(), key=torch.numel)
    weight.data.copy_(weight.data.flip(0))


def signs(backbone):
    for each in backbone.parameters():
        each.data.neg_()


def other_module(backbone):
    backbone.layers[1] = build_backbone("schnet", CONFIG, seed=7).layers[1]


def cut_in_place(backbone):
    del backbone.layers[1:]


def hook(backbone):
    backbone.layers[0].register_forward_pre_hook(lambda *_: None)


CHANGES = {
    "step": step,
    "state dict": lambda backbone: backbone.load_state_dict(network(seed=7).backbone.state_dict()),
    "NumPy": through_numpy,
    "data": through_data,
    "one bit": one_bit,
    "more to compute with": lambda backbone: backbone.layers[0].register_buffer("more", torch.ones(1)),
    "attribute": lambda backbone: setattr(backbone.layers[0], "more", 1.0),
    "layers cut off": cut_in_place,
    "transposed": transposed,
    "rows exchanged": rows_exchanged,
    "signs": signs,
    "other module": other_module,
    "float": lambda backbone: backbone.float(),
    "hook": hook,
    "config": lambda backbone: backbone.config.update(cutoff=4.0),
}


@pytest.fixture
def atoms():
    return random_structure(0, pbc=True)


@pytest.fixture(params=["plain", "compiled"])
def looked_at(request, monkeypatch):
    """Models are looked at by Python, or by compiled code."""
    own = Steps()
    if request.param == "compiled":
        for _ in range(WORTHWHILE):
            own.of_pass()
        if own.under_lock is None:
            pytest.skip("no C++ compiler")
    monkeypatch.setattr(steps, "under_lock", own.under_lock)


@pytest.mark.usefixtures("looked_at")
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change):
    """Whatever is changed, however, by one bit."""
    backbone = network().backbone
    state = BackboneState.of(backbone)
    assert state.is_of(backbone)
    CHANGES[change](backbone)
    assert not state.is_of(backbone)
    assert BackboneState.of(backbone).is_of(backbone)


@pytest.mark.usefixtures("looked_at")
def test_modes_of_training_are_no_change():
    backbone = network().backbone.eval()
    state = BackboneState.of(backbone)
    backbone.train().requires_grad_(False)
    assert state.is_of(backbone)
    assert not state.is_of(copy.deepcopy(backbone))


@pytest.mark.parametrize("change", ["step", "state dict", "NumPy", "data", "other module"])
@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float64"}, {"partition": "rcb:2"}, {"halo": "exchange"}], ids=str
)
def test_calls_follow(atoms, change, options):
    potential = network()
    before = potential(atoms, **options)
    CHANGES[change](potential.backbone)
    after = potential(atoms, **options)
    expected = Potential(copy.deepcopy(potential.backbone), potential.reference_energies, {})(atoms, **options)
    assert np.array_equal(after.forces, expected.forces)
    assert np.array_equal(after.energies, expected.energies)
    assert not np.array_equal(after.forces, before.forces)


def test_a_cut_in_place_is_followed(atoms):
    """The receptive field shrinks, too."""
    potential, whole = network(), network()
    potential(atoms, partition="rcb:2")
    for backbone in (potential.backbone, whole.backbone):
        cut_in_place(backbone)
    assert potential.backbone.hops == 1
    assert np.array_equal(potential(atoms, partition="rcb:2").forces, whole(atoms, partition="rcb:2").forces)


@pytest.mark.parametrize(
    "copied", [lambda calculator: calculator, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
@pytest.mark.parametrize("change", ["step", "data"])
def test_calculators_follow(atoms, change, copied):
    """Also where ASE would give the results again that it has for these atoms."""
    atoms.calc = network().calculator(dtype="float64")
    before = atoms.get_potential_energy()
    atoms.calc = calculator = copied(atoms.calc)
    CHANGES[change](calculator.potential.backbone)
    expected = calculator.potential(atoms, dtype="float64")
    assert atoms.get_potential_energy() == expected.energy != before
    assert np.array_equal(atoms.get_forces(), expected.forces)


def test_calculators_follow_reference_energies(atoms):
    potential = network()
    atoms.calc = potential.calculator()
    before = atoms.get_potential_energy()
    potential.reference_energies["H"] += 1.0
    gained = np.count_nonzero(atoms.numbers == 1)
    assert atoms.get_potential_energy() == pytest.approx(before + gained)
    assert potential(atoms).energy == pytest.approx(before + gained)


def test_a_copy_of_a_calculator_takes_no_old_results_along(atoms):
    atoms.calc = network().calculator()
    atoms.get_potential_energy()
    step(atoms.calc.potential.backbone)
    assert pickle.loads(pickle.dumps(atoms.calc)).results == {}


def test_results_that_are_known_are_not_computed_again(atoms, monkeypatch):
    atoms.calc = network().calculator()
    energy = atoms.get_potential_energy()
    monkeypatch.setattr(FollowingEvaluator, "evaluate", None)
    assert atoms.get_potential_energy() == energy
    assert pickle.loads(pickle.dumps(atoms.calc)).get_potential_energy(atoms) == energy


class Ranks(Evaluator):
    """Stands in for an evaluator with processes."""

    living: ClassVar[list["Ranks"]] = []

    def __init__(self):
        self.living.append(self)

    def evaluate(self, structure):
        assert self in self.living
        return Result(*(np.zeros(s) for s in [(len(structure),), (len(structure), 3), (3, 3)]), volume=None)

    def close(self):
        if self in self.living:
            self.living.remove(self)


@pytest.fixture
def ranks(monkeypatch):
    monkeypatch.setattr(potentials, "make_evaluator", lambda *_: Ranks())
    Ranks.living.clear()
    return Ranks.living


def test_processes_of_old_weights_are_ended(ranks):
    potential = network()
    for _ in range(3):
        potential(Atoms("H"))
        step(potential.backbone)
    assert len(ranks) == 1


def test_a_bounded_number_of_evaluators_is_kept(ranks):
    potential = network()
    for number in range(60):
        potential(Atoms("H"), partition=f"rcb:{number + 1}")
        potential(Atoms("H"))  # used all the time, and kept
    assert len(ranks) == len(potential._evaluators) == potentials.KEPT_EVALUATORS
    kept = {options[3] for options in potential._evaluators}
    assert kept == {"none", *(f"rcb:{number}" for number in range(60, 61 - potentials.KEPT_EVALUATORS, -1))}


def test_it_is_told_that_processes_were_started_anew(ranks, monkeypatch):
    assert not network().calculator().restarted
    monkeypatch.setattr(Ranks, "restarted", True)
    assert network().calculator().restarted


def test_evaluators_end_with_their_potential():
    """At once, and not when the collector of garbage comes by."""
    potential = network()
    potential(Atoms("H"))
    (evaluator,) = map(weakref.ref, potential._evaluators.values())
    gc.disable()
    try:
        del potential
        assert evaluator() is None
    finally:
        gc.enable()

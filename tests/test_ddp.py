"""Ranks give what one process gives: any structure, any owners, both ways to treat halos."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from ase import Atoms
from ddp_setups import (
    Owners,
    backbone,
    distributed,
    has_ended,
    liquid,
    local,
    rank_processes,
    require_equal,
    structures,
    wait_until,
)

from halocline.backends.ddp import evaluator as driver
from halocline.backends.ddp.device import device_of_rank
from halocline.backends.ddp.messages import hello
from halocline.backends.ddp.muster import check
from halocline.errors import DistributedError, UsageError
from halocline.place import Place
from halocline.plugin import registry
from halocline.potential.potential import Potential

PARTS = 5  # of two ranks


@dataclasses.dataclass
class Setup:
    """Two ranks with several parts each, and what they should agree with."""

    model: object
    owners: Owners
    evaluator: object
    expected: object


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("schnet", "exchange"), id="schnet-exchange"),
        pytest.param(("schnet", "recompute"), id="schnet-recompute", marks=pytest.mark.slow),
        pytest.param(("lennard-jones", "exchange"), id="lennard-jones-exchange", marks=pytest.mark.slow),
        pytest.param(("lennard-jones", "recompute"), id="lennard-jones-recompute"),
    ],
)
def setup(request):
    name, halo = request.param
    model, owners = backbone(name), Owners()
    evaluator = distributed(model, division=owners.divide_by(PARTS), halo=halo)
    yield Setup(model, owners, evaluator, local(model))
    ranks = rank_processes(os.getpid())
    evaluator.close()
    assert all(map(has_ended, ranks))


def random_owners(atoms, parts):
    """Without any sense of space: the hardest halos."""
    return np.random.default_rng(atoms).integers(0, parts, atoms)


OWNERS = {
    "in order": lambda atoms, parts: np.arange(atoms) * parts // atoms,
    "random": random_owners,
    "all of the first rank": lambda atoms, parts: np.zeros(atoms),
    "all of the last rank": lambda atoms, parts: np.full(atoms, parts - 1),
}


@pytest.mark.parametrize("owners", OWNERS)
def test_ranks_give_what_one_process_gives(setup, owners):
    setup.owners.choose = OWNERS[owners]
    for structure in structures(setup.model):
        require_equal(setup.evaluator.evaluate(structure), setup.expected.evaluate(structure))


def test_atoms_wander_between_parts_and_out_of_the_skin(setup):
    setup.owners.choose = lambda atoms, parts: (np.arange(atoms) * 7) % parts
    structure, rng = liquid(setup.model), np.random.default_rng(0)
    for step in range(12):
        found = setup.evaluator.evaluate(structure)
        require_equal(found, setup.expected.evaluate(structure))
        strain = np.eye(3) + 1e-4 * rng.normal(size=(3, 3))
        cell = structure.cell @ strain if step % 3 == 0 else structure.cell
        moved = structure.positions + 0.08 * rng.normal(size=structure.positions.shape)
        structure = dataclasses.replace(structure, positions=moved, cell=cell)
        if step == 6:
            setup.owners.choose = random_owners


def test_periodicity_and_elements_may_change_in_place(setup):
    structure = liquid(setup.model)
    for each in (
        structure,
        dataclasses.replace(structure, pbc=np.array([True, False, True])),
        dataclasses.replace(structure, numbers=structure.numbers[::-1].copy()),
    ):
        require_equal(setup.evaluator.evaluate(each), setup.expected.evaluate(each))


def test_an_interrupt_makes_the_driver_forget_what_ranks_have(setup, monkeypatch):
    """Between the answers of ranks, who have a new cell then, and the note that they have it."""

    def interrupted(*_):
        raise KeyboardInterrupt

    structure = liquid(setup.model)
    strained = dataclasses.replace(structure, cell=structure.cell * 1.001)
    expected = setup.expected.evaluate(structure)
    require_equal(setup.evaluator.evaluate(structure), expected)
    with monkeypatch.context() as patch:
        patch.setattr(driver, "_Held", interrupted)
        with pytest.raises(KeyboardInterrupt):
            setup.evaluator.evaluate(strained)
    require_equal(setup.evaluator.evaluate(structure), expected)
    assert not np.array_equal(setup.expected.evaluate(strained).forces, expected.forces)


def test_the_same_structure_gives_the_same_bits(setup):
    structure = liquid(setup.model)
    first, second = setup.evaluator.evaluate(structure), setup.evaluator.evaluate(structure)
    assert np.array_equal(first.forces, second.forces)
    assert np.array_equal(first.energies, second.energies)
    assert np.array_equal(first.virial, second.virial)


@pytest.mark.slow
@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_four_ranks(halo):
    model, before = backbone("schnet"), rank_processes(os.getpid())
    evaluator, expected = distributed(model, halo=halo, ranks=4), local(model)
    for structure in (*structures(model), liquid(model, 60)):
        require_equal(evaluator.evaluate(structure), expected.evaluate(structure))
    del evaluator  # ends its ranks without being told to
    wait_until(lambda: rank_processes(os.getpid()) == before)


@pytest.mark.slow
def test_a_closed_calculator_has_no_ranks():
    model, before = backbone("lennard-jones"), rank_processes(os.getpid())
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
    atoms = Atoms([model.species[0]] * 2, positions=[[0, 0, 0], [0, 0, 3.5]])
    atoms.calc = potential.calculator(dtype="float64", device="cpu", backend="ddp:ranks=2")
    for distance in (3.5, 3.6):  # closing is not the end
        atoms.set_distance(0, 1, distance)
        expected = potential(atoms, dtype="float64", device="cpu").energy
        assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-12)
        assert len(rank_processes(os.getpid())) == len(before) + 2
        atoms.calc.close()
        assert rank_processes(os.getpid()) == before


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_onnx_runs_on_ranks(halo):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    model = backbone("schnet")
    evaluator, expected = distributed(model, halo=halo, inner="onnx:threads=1"), local(model)
    for structure in structures(model):
        require_equal(evaluator.evaluate(structure), expected.evaluate(structure))
    evaluator.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": 0}, "such as ddp:ranks=2"),
        ({"ranks": -1}, "such as ddp:ranks=2"),
        ({"timeout": 0.0}, "number of seconds above 0"),
        ({"timeout": float("nan")}, "number of seconds above 0"),
    ],
)
def test_impossible_options_are_refused_before_anything_starts(options, message):
    before = rank_processes(os.getpid())
    with pytest.raises(UsageError, match=message):
        distributed(backbone("lennard-jones"), **options)
    assert rank_processes(os.getpid()) == before


def test_ranks_of_torchrun_are_not_counted_anew(monkeypatch):
    for name, value in Place(0, 3, 0, 3).variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(UsageError, match="torchrun has started 3 ranks, not 2"):
        distributed(backbone("lennard-jones"), ranks=2)


@pytest.mark.parametrize(("devices", "ranks"), [(0, 1), (1, 2), (3, 4)])
def test_more_ranks_than_devices_are_refused(monkeypatch, devices, ranks):
    monkeypatch.setattr("torch.cuda.device_count", lambda: devices)
    with pytest.raises(UsageError, match=f"There are {ranks} ranks for {devices} CUDA devices on this node"):
        device_of_rank("cuda", Place(0, ranks, 0, ranks))


def test_each_rank_of_a_node_has_its_own_device(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [str(device_of_rank("cuda", Place(4 + i, 8, i, 2))) for i in range(2)] == ["cuda:0", "cuda:1"]


def test_one_device_for_all_ranks_is_refused():
    from halocline.backends.ddp.evaluator import DdpEvaluator
    from halocline.program import Precision

    with pytest.raises(UsageError, match="say auto, cpu or cuda, not 'cuda:0'"):
        DdpEvaluator(backbone("lennard-jones"), Precision.FLOAT64, None, "cuda:0", "auto", ranks=2)


def test_other_versions_and_models_are_refused():
    same, other = hello(0), dataclasses.replace(hello(1), versions=hello(1).versions | {"torch": "1.0"})
    check([same, hello(1)], "digest")
    with pytest.raises(DistributedError, match=r"Rank 1 has torch 1\.0 and the driver has torch"):
        check([same, other], "digest")
    with pytest.raises(DistributedError, match="Rank 1 was called with a model of SHA-256 that"):
        check([hello(0, "this"), hello(1, "that")], "this")


def test_the_plugin_is_registered():
    from halocline.backends.ddp.evaluator import DdpEvaluator

    assert registry().load("evaluator", "ddp") is DdpEvaluator

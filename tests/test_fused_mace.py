"""Models of MACE with fused layers are the plain models: in blocks, parts, batches, ranks, precisions, threads."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
import torch
from ase import units
from ase.md.velocitydistribution import thermalize_momenta
from ddp_setups import distributed, liquid, local, require_equal
from structures import random_structure
from test_kinds import onnx
from test_without_autograd import laid_out, require_same_outputs

from halocline.backends.torch.executor import TorchExecutor
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.model.build import build_backbone
from halocline.model.condition import HEAD
from halocline.model.pruner import pruned
from halocline.plugins.kernels.mace import FusedMACE
from halocline.plugins.kernels.mace_layer import FusedLayer
from halocline.potential.potential import Potential
from halocline.program import FrozenModel, Precision, energies_and_gradients
from halocline.program.analytic import is_analytic, outputs_without_autograd
from halocline.program.replacement import DISABLED
from halocline.testing import check_kernel

#: Of the largest force, energies of all atoms and virial: rounding of layers that order their sums otherwise.
EXACT, SINGLE = 1e-10, 1e-5

#: Å and Å⁻¹·eV: of central differences of energies in float64.
STEP, DIFFERENCE = 1e-4, 1e-6

SMALL = {
    "species": ("H", "O", "C"),
    "channels": 32,
    "hidden_degree": 1,
    "max_degree": 3,
    "correlation": 3,
    "cutoff": 3.0,
    "bessels": 4,
    "radial_units": (8,),
    "readout_units": 4,
    "average_neighbours": 6.0,
}
HEADS = {"heads": ("a", "b"), "default_head": "a", "head_scales": (1.0, 2.0), "head_energies": (0.0,) * 6}
CASES = {
    "L0": {"hidden_degree": 0},
    "L1": {},
    "L2": {"hidden_degree": 2},
    "agnostic": {"first_block": "agnostic", "max_degree": 2},
    "agnostic twice": {"first_block": "agnostic", "later_blocks": "agnostic", "max_degree": 2},
    "density": {"density": True, "agnesi": True, "repulsion": True, "correlation": 2},
    "dressed": {"first_block": "agnostic", "density": True, "agnesi": True, "repulsion": True, "max_degree": 2},
    "one species": {"species": ("H",), "layers": 3, "max_degree": 2},
    "two species": {"species": ("H", "O"), "first_block": "agnostic", "agnesi": True, "hidden_degree": 0},
    "heads": HEADS | {"correlation": 1, "max_degree": 1},
    "scalars": {"hidden_degree": 0, "max_degree": 0},
}
#: With messages of channels and with densities of species in the first layer.
FEW = ("L1", "dressed", "two species")


def backbone(name="L1", **changes):
    return build_backbone("mace", SMALL | CASES[name] | changes, seed=1)


def potential(model):
    return Potential(model, dict.fromkeys(model.species, -3.0), {})


def plain(model, atoms, **options):
    """What it gives without the kernel, in float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DISABLED, "fused-mace")
        return potential(model)(atoms, dtype="float64", device="cpu", **options)


def structures(model, count=3):
    options = {"symbols": model.species, "edge": (3.0, 7.0)}
    return [random_structure(seed, atoms=11 + seed, **options) for seed in range(count)]


def require_near(found, expected, tolerance):
    for name in ("energies", "forces", "virial"):
        reference = getattr(expected, name)
        limit = tolerance * max(1.0, np.abs(reference).max())
        np.testing.assert_allclose(getattr(found, name), reference, rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_every_stage_is_replaced_and_the_model_stays(name):
    model = backbone(name)
    evaluator = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64)
    stages = [each.stage for each in evaluator.replaced if each.kernel.endswith("/fused-mace")]
    assert stages == [name for name, _ in model.stages() if name != "embed"]
    fused = potential(model)
    for atoms in structures(model):
        require_near(fused(atoms, dtype="float64", device="cpu"), plain(model, atoms), EXACT)


@pytest.mark.parametrize("compress", [False, True], ids=["exact", "tables"])
@pytest.mark.parametrize("name", FEW)
def test_single_precision_is_near_double(name, compress):
    model = backbone(name)
    fused = potential(model)
    for atoms in structures(model):
        found = fused(atoms, dtype="float32", device="cpu", compress=compress)
        require_near(found, plain(model, atoms), SINGLE)


@pytest.mark.parametrize("options", [{"partition": "rcb:3"}, {"partition": "rcb:3", "halo": "exchange"}], ids=str)
@pytest.mark.parametrize("name", FEW)
def test_parts_are_the_whole(name, options):
    model = backbone(name)
    fused = potential(model)
    for atoms in structures(model):
        require_near(fused(atoms, dtype="float64", device="cpu", **options), plain(model, atoms), EXACT)


@pytest.mark.parametrize("name", FEW)
def test_together_is_as_alone(name):
    model = backbone(name)
    several = [*structures(model), random_structure(9, symbols=model.species, atoms=1, pbc=False)]
    for found, atoms in zip(potential(model)(several, dtype="float64", device="cpu"), several, strict=True):
        require_near(found, plain(model, atoms), EXACT)


def test_heads_are_told_apart():
    model = backbone("heads")
    (atoms,) = structures(model, 1)
    for head in model.config["heads"]:
        found = potential(model)(atoms, dtype="float64", device="cpu", head=head)
        require_near(found, plain(model, atoms, head=head), EXACT)


def test_pruned_models_are_fused_too():
    model = pruned(backbone("dressed", layers=3), 1)
    (atoms,) = structures(model, 1)
    require_near(potential(model)(atoms, dtype="float64", device="cpu"), plain(model, atoms), EXACT)


@pytest.mark.parametrize("name", FEW)
def test_compressed_layers_are_fused(name):
    model = backbone(name)
    (atoms,) = structures(model, 1)
    options = {"dtype": "float64", "device": "cpu", "compress": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DISABLED, "fused-mace")
        expected = potential(model)(atoms, **options)
    require_near(potential(model)(atoms, **options), expected, EXACT)


@pytest.mark.parametrize("name", ["L0", "L1", "two species", "agnostic twice", "heads"])
def test_compressed_models_need_no_autograd(name):
    model = backbone(name)
    capabilities = TorchExecutor("cpu").capabilities
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, capabilities, compress=True).backbone
    assert is_analytic(frozen)
    conditions = (lambda atoms: {HEAD: np.zeros(atoms, dtype=np.int64)}) if name == "heads" else None
    for inputs in laid_out(model, conditions=conditions):
        require_same_outputs(outputs_without_autograd(frozen, inputs), energies_and_gradients(frozen, inputs))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["L0", "L2", "dressed", "two species"])
def test_the_suite_passes(name):
    report = check_kernel(FusedMACE(), backbone(name))
    assert report.ok, [result for result in report.results if result.status == "failed"]
    assert {result.status for result in report.results} == {"passed"}


@pytest.mark.parametrize("compress", [False, True], ids=["exact", "tables"])
def test_forces_are_the_derivative_of_the_energy(compress):
    model = backbone("dressed", species=("H", "O"))
    fused = potential(model)
    (atoms,) = structures(model, 1)

    def at(positions):
        moved = atoms.copy()
        moved.positions = positions
        return fused(moved, dtype="float64", device="cpu", compress=compress)

    direction = np.random.default_rng(0).normal(size=atoms.positions.shape)
    steps = [at(atoms.positions + sign * STEP * direction).energy for sign in (1.0, -1.0)]
    forces = at(atoms.positions).forces
    found = -(steps[0] - steps[1]) / (2.0 * STEP)
    assert found == pytest.approx((forces * direction).sum(), abs=DIFFERENCE * max(1.0, np.abs(forces).max()))


def test_energy_is_conserved(tmp_path):
    model = backbone("L1", species=("H", "O"), scale=300.0)
    atoms = random_structure(5, symbols=model.species, atoms=8, pbc=False, edge=(4.0, 5.0))
    thermalize_momenta(atoms, 100.0, rng=np.random.default_rng(3))
    rows = []
    run_dynamics(
        atoms,
        potential(model).calculator(dtype="float64", device="cpu"),
        Settings(ensemble="nve", timestep=0.5),
        RunFiles(tmp_path / "run"),
        steps=100,
        on_step=lambda sample: rows.append((sample.potential + sample.kinetic, sample.kinetic)),
    )
    total, kinetic = np.array(rows).T
    assert kinetic.std() > 1e-3 * units.eV
    assert total.std() <= 0.02 * kinetic.std()


def test_one_and_two_threads_give_the_same_bits():
    model = backbone("L1")
    atoms = random_structure(3, symbols=model.species, atoms=150, pbc=True, edge=(12.0, 14.0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            result = potential(model)(atoms, dtype="float32", device="cpu", compress=True)
            found.append(result.energies.tobytes() + result.forces.tobytes())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_two_callers_get_what_each_gets_alone():
    model = backbone("dressed")
    shared, tasks = potential(model), structures(model) * 4
    expected = [potential(model)(atoms, device="cpu").forces.tobytes() for atoms in tasks]
    with ThreadPoolExecutor(3) as pool:
        assert [each.forces.tobytes() for each in pool.map(lambda at: shared(at, device="cpu"), tasks)] == expected


def test_what_it_is_not_for_runs_plainly(caplog):
    model = backbone("L1", channels=40)
    with caplog.at_level(logging.WARNING, logger="halocline"):
        evaluator = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64)
    assert not evaluator.replaced
    assert "it has 40 channels, and only multiples of 16" in caplog.text
    assert not any(isinstance(layer, FusedLayer) for layer in model.layers)


def test_other_executors_have_the_plain_layers():
    onnx()
    model = backbone("L1")
    (atoms,) = structures(model, 1)
    found = potential(model)(atoms, backend="onnx:threads=1", dtype="float64", device="cpu")
    require_near(found, plain(model, atoms), EXACT)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_ranks_give_what_one_process_gives(halo):
    model = backbone("dressed")
    with closing(distributed(model, halo=halo, ranks=2)) as ranks:
        require_equal(ranks.evaluate(liquid(model)), local(model).evaluate(liquid(model)))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["inductor", pytest.param("aot", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("compress", [False, True], ids=["exact", "tables"])
def test_compiled_programs_call_the_operators(way, compress):
    model = backbone("L1")
    compiled = LocalEvaluator(model, TorchExecutor("cpu", compile=way), Precision.FLOAT64, compress=compress)
    eager = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64, compress=compress)
    assert any(each.kernel.endswith("/fused-mace") for each in compiled.replaced)
    for atoms in structures(model, 2):
        structure = Structure.from_atoms(atoms)
        require_equal(compiled.evaluate(structure), eager.evaluate(structure))

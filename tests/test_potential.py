"""A potential and its ASE calculator keep ASE's conventions and their own promises."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.stress import voigt_6_to_full_3x3_stress
from structures import random_structure

import halocline
from halocline.errors import BackboneError, HaloclineError, StructureError, UsageError
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

#: Forces of float32 networks, relative to the largest, plus an absolute part in eV/Å.
FLOAT32_FORCES, FLOAT32_FORCES_ABSOLUTE = 1e-5, 1e-6
#: eV/atom; reference energies are added in float64, so that float32 keeps this at any total.
FLOAT32_ENERGY = 1e-6


@pytest.fixture(scope="module")
def argon():
    return halocline.load("lennard-jones-argon")


@pytest.fixture(scope="module")
def network():
    config = {"species": ["H", "O"], "features": 16, "gaussians": 12, "layers": 2, "cutoff": 3.5}
    backbone = build_backbone("schnet", config, seed=1)
    return Potential(backbone, {"H": -13.6, "O": -2041.8}, {"name": "test"})


@pytest.fixture
def crystal():
    atoms = bulk("Ar", "fcc", 5.2, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    return atoms


def test_a_call_and_the_calculator_agree(argon, crystal):
    result = argon(crystal, dtype="float64")
    crystal.calc = argon.calculator(dtype="float64")
    assert crystal.get_potential_energy() == result.energy
    assert np.array_equal(crystal.get_forces(), result.forces)
    assert np.array_equal(voigt_6_to_full_3x3_stress(crystal.get_stress()), result.stress)
    assert np.array_equal(crystal.get_potential_energies(), result.energies)


def test_results_have_ase_types_and_shapes(network):
    atoms = random_structure(0, pbc=True)
    calculator = network.calculator()
    atoms.calc = calculator
    atoms.get_forces()
    results = calculator.results
    assert set(results) == {"energy", "free_energy", "energies", "forces", "stress"}
    assert type(results["energy"]) is float
    assert results["energy"] == results["free_energy"] == results["energies"].sum()
    assert results["forces"].shape == (len(atoms), 3)
    assert results["stress"].shape == (6,)
    assert all(results[k].dtype == np.float64 for k in ("energies", "forces", "stress"))


def test_one_atom_keeps_its_shapes(network):
    result = network(Atoms("H"))
    assert result.forces.shape == (1, 3)
    assert not result.forces.any()
    assert result.energies.shape == (1,)
    assert result.stress is None


def test_a_squeezed_crystal_has_negative_stress_and_a_stretched_one_positive(argon):
    squeezed, stretched = (argon(bulk("Ar", "fcc", a)).stress for a in (4.9, 5.6))
    assert np.trace(squeezed) < 0 < np.trace(stretched)


def test_stress_of_a_molecule_is_refused_not_zero(network):
    atoms = molecule("H2O")
    atoms.calc = network.calculator()
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_the_shared_list_of_properties_is_left_alone(argon):
    before = list(Calculator.implemented_properties)
    argon.calculator()
    assert list(Calculator.implemented_properties) == before


def test_reference_energies_are_added_exactly(network):
    bare = Potential(network.backbone, {"H": 0.0, "O": 0.0}, {})
    atoms = random_structure(1, pbc=True)
    expected = bare(atoms).energies + np.where(atoms.numbers == 1, -13.6, -2041.8)
    assert np.array_equal(network(atoms).energies, expected)


def test_float32_is_float64_up_to_its_precision(network):
    for seed in range(4):
        atoms = random_structure(seed, atoms=20)
        single, double = network(atoms, dtype="float32"), network(atoms, dtype="float64")
        largest = np.abs(double.forces).max()
        bound = FLOAT32_FORCES * largest + FLOAT32_FORCES_ABSOLUTE
        np.testing.assert_allclose(single.forces, double.forces, rtol=0, atol=bound)
        assert abs(single.energy - double.energy) / len(atoms) < FLOAT32_ENERGY


def test_a_supercell_has_the_same_energy_per_atom_in_float32(network):
    atoms = random_structure(3, pbc=True)
    double = atoms * (2, 2, 1)
    assert abs(network(double).energy / len(double) - network(atoms).energy / len(atoms)) < FLOAT32_ENERGY


def test_results_do_not_depend_on_what_came_before(network):
    """To the bit: a calculator that followed a trajectory and a fresh one."""
    rng = np.random.default_rng(0)
    atoms = random_structure(5, pbc=True, atoms=24)
    following = network.calculator()
    for _ in range(12):
        atoms.positions += rng.normal(0, 0.05, (len(atoms), 3))
        atoms.calc = following
        forces, energy = atoms.get_forces(), atoms.get_potential_energy()
        atoms.calc = network.calculator()
        assert np.array_equal(forces, atoms.get_forces())
        assert energy == atoms.get_potential_energy()


def test_the_structure_and_torch_are_left_alone(network):
    atoms = random_structure(2, pbc=True)
    before = atoms.copy()
    torch.random.manual_seed(7)
    state = torch.random.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    network(atoms)
    build_backbone("schnet", {"species": ["H"]})
    assert atoms == before
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert (torch.get_default_dtype(), torch.get_num_threads()) == state[1:]


def test_a_closed_calculator_starts_anew(network):
    atoms = molecule("H2O")
    calculator = atoms.calc = network.calculator()
    before, closed = atoms.get_potential_energy(), []
    calculator._evaluator._evaluator.close = lambda: closed.append("evaluator")
    calculator.close()
    calculator.close()
    assert closed == ["evaluator"]
    assert atoms.get_potential_energy() == before  # which is known
    calculator.reset()
    assert atoms.get_potential_energy() == before


def test_a_calculator_survives_pickling(network):
    atoms = random_structure(2, pbc=True)
    calculator = network.calculator()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    atoms.calc = pickle.loads(pickle.dumps(calculator))
    atoms.calc = pickle.loads(pickle.dumps(atoms.calc))  # and once more, before it was used
    atoms.calc.reset()
    assert atoms.get_potential_energy() == energy
    assert calculator.todict()["backend"] == "torch"


def test_saving_and_loading_gives_the_same_bits(network, tmp_path):
    atoms = random_structure(6, pbc=True)
    network.save(tmp_path / "model.safetensors")
    again = halocline.load(tmp_path / "model.safetensors")
    assert np.array_equal(again(atoms).forces, network(atoms).forces)
    assert again.reference_energies == network.reference_energies
    assert again.card == network.card


def test_a_pruned_model_is_smaller_and_real(network, tmp_path):
    network.save(tmp_path / "whole.safetensors")
    pruned = halocline.load(tmp_path / "whole.safetensors", prune=1)
    assert (pruned.backbone.hops, network.backbone.hops) == (1, 2)
    pruned.save(tmp_path / "pruned.safetensors")
    atoms = random_structure(1)
    assert halocline.load(tmp_path / "pruned.safetensors")(atoms).energy == pruned(atoms).energy
    with pytest.raises(UsageError, match="between 1 and 2"):
        halocline.load(tmp_path / "whole.safetensors", prune=3)


BAD_CALLS = {
    "unknown element": (
        {},
        Atoms("HFe"),
        StructureError,
        "does not know Fe .first at atom 1.; it was made for H, O",
    ),
    "unknown backend": ({"backend": "torhc"}, Atoms("H"), UsageError, "did you mean 'torch'"),
    "unknown option": (
        {"backend": "torch:threads=2"},
        Atoms("H"),
        UsageError,
        "no option of 'torch' named 'threads'",
    ),
    "malformed backend": ({"backend": "torch:threads"}, Atoms("H"), UsageError, "name:key=value"),
    "unknown dtype": ({"dtype": "float16"}, Atoms("H"), UsageError, "float32 or float64"),
    "unknown device": ({"device": "gpu"}, Atoms("H"), UsageError, "no device 'gpu'"),
    "absent device": ({"device": "cuda:7"}, Atoms("H"), UsageError, "'cuda:7' was asked for"),
    "unknown partition": ({"partition": "metys:4"}, Atoms("H"), UsageError, "no partitioner named 'metys'"),
    "malformed partition": ({"partition": "none:0"}, Atoms("H"), UsageError, "name and a number of parts"),
    "unknown halo rule": ({"halo": "send"}, Atoms("H"), UsageError, "auto, recompute or exchange"),
    "exchange of a compiled model": (
        {"halo": "exchange", "backend": "torch:compile=inductor"},
        Atoms("H"),
        UsageError,
        "halo=recompute",
    ),
}


@pytest.mark.parametrize(("options", "atoms", "error", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_wrong_calls_say_what_is_wrong(network, options, atoms, error, message):
    with pytest.raises(error, match=message) as caught:
        network(atoms, **options)
    assert isinstance(caught.value, HaloclineError)


def test_wrong_names_and_files_say_what_is_wrong(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'lennard-jones-argon'"):
        halocline.load("lenard-jones-argon")
    with pytest.raises(HaloclineError, match="absent"):
        halocline.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"species": ["H"], "fetures": 8}, "named .fetures.; did you mean .features."),
        ({}, "lacks schnet.species"),
        ({"species": ["Xx"]}, "chemical symbols"),
        ({"species": ["H"], "cutoff": -1.0}, "positive length"),
        ({"species": ["H"], "features": 7}, "even number"),
    ],
)
def test_wrong_configs_say_what_is_wrong(config, message):
    with pytest.raises(HaloclineError, match=message):
        build_backbone("schnet", config)


def test_reference_energies_must_fit_the_species(network):
    with pytest.raises(BackboneError, match="exactly the species H, O"):
        Potential(network.backbone, {"H": 0.0}, {})


def test_the_smallest_change_is_seen(network):
    atoms = random_structure(2, pbc=True)
    calculator = network.calculator()
    atoms.calc = calculator
    atoms.get_forces()
    assert calculator.check_state(atoms) == []
    atoms.positions[0, 0] = np.nextafter(atoms.positions[0, 0], np.inf)
    assert calculator.check_state(atoms) == ["positions"]
    atoms.pbc = [True, True, False]
    assert calculator.check_state(atoms) == ["positions", "pbc"]


@pytest.mark.parametrize("name", ["backend", "dtype", "device", "partition", "halo", "memory"])
@pytest.mark.parametrize("value", [3, True, ["torch"], b"torch", None])
def test_options_that_are_no_text_are_refused(name, value):
    if name == "memory" and value is None:
        return
    model = halocline.load("lennard-jones-argon")
    for use in (lambda **given: model(Atoms("Ar"), **given), model.calculator):
        with pytest.raises(UsageError, match=f"The option {name} must be text"):
            use(**{name: value})

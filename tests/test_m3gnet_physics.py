"""What the published universal potentials are for: crystals of any element that move, deform and come in parts."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from oracles.m3gnet.structures import ELEMENTS, perovskite
from real_data import real_data

from halocline.dynamics.engine import run_dynamics
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import Settings
from halocline.errors import StructureError
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.testing import tolerances
from halocline.testing.checks.derivatives import difference
from halocline.zoo.foreign import read_matgl

UNIVERSAL = ("M3GNet-MatPES-PBE-v2025.1-PES", "M3GNet-MatPES-r2SCAN-v2025.1-PES", "M3GNet-MP-2021.2.8-PES")

#: Of max(1 eV/Å, max|F|): sums of float64 over some hundred edges.
BALANCE = 1e-11

#: Of Σ|E_i|, of max(1 eV/Å, max|F|) and of max(1 eV, max|virial|): parts only change the order of sums.
EXACT = 1e-10

#: meV/atom/ps, of the total energy along a run at constant energy; the benchmark of the water model has the same.
DRIFT = 0.1

#: Of the kinetic energy's standard deviation: what steps of 1 fs, a thirtieth of the shortest period, leave.
FLUCTUATION = 0.02


def converted(name):
    foreign = read_matgl(real_data("checkpoints_matgl") / name)
    return build_potential(registry().load("converter", "matgl")(foreign.config, foreign.tensors))


@pytest.fixture(scope="module", params=UNIVERSAL)
def universal(request):
    return converted(request.param)


@pytest.fixture(scope="module")
def smooth():
    """Of the universal potentials, one whose forces have no kinks."""
    return converted(UNIVERSAL[0])


def evaluate(potential, atoms, **options):
    return potential(atoms, dtype="float64", device="cpu", **options)


def salt(repeat):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=1)
    return atoms


def samples(symbol):
    """A molecule of two atoms, and a crystal of two in the cell, off their sites."""
    bond = np.clip(2.1 * covalent_radii[atomic_numbers[symbol]], 2.0, 4.0)
    yield Atoms([symbol] * 2, positions=[[0, 0, 0], [0.3, 0.4, bond]])
    crystal = bulk(symbol, "bcc", a=2 * bond / np.sqrt(3), cubic=True)
    crystal.rattle(0.1, seed=atomic_numbers[symbol])
    yield crystal


@pytest.mark.slow
def test_every_element_has_finite_energies_and_balanced_forces(universal):
    assert set(universal.species) == set(ELEMENTS)
    assert len(ELEMENTS) == 89
    for symbol in ELEMENTS:
        for atoms in samples(symbol):
            found = evaluate(universal, atoms)
            assert np.isfinite(found.energies).all(), symbol
            assert np.isfinite(found.forces).all(), symbol
            assert np.abs(found.forces).max() > 1e-3, symbol
            assert np.abs(found.forces.sum(0)).max() <= BALANCE * max(1.0, np.abs(found.forces).max()), symbol


@pytest.mark.parametrize("symbol", ["Po", "At", "Rn", "Fr", "Ra", "Am"])
def test_other_elements_are_refused_by_name(universal, symbol):
    with pytest.raises(StructureError, match=f"does not know {symbol} "):
        evaluate(universal, Atoms(["O", symbol], positions=[[0, 0, 0], [0, 0, 2.5]]))


def test_the_model_of_molecules_refuses_other_elements():
    with pytest.raises(StructureError, match=r"does not know Na .* made for H, C, N, O"):
        evaluate(converted("M3GNet-ANI-1x-Subset-PES"), Atoms("NaH", positions=[[0, 0, 0], [0, 0, 1.9]]))


def test_stress_is_the_derivative_of_the_energy_by_strain(smooth):
    atoms = perovskite("BaTiO3", 4.02)
    atoms.rattle(0.08, seed=2)
    stress = evaluate(smooth, atoms).stress

    def energy(strain, row, column):
        strained = atoms.copy()
        deformation = np.eye(3)
        deformation[row, column] += strain
        strained.set_cell(atoms.cell @ deformation, scale_atoms=True)
        return evaluate(smooth, strained).energy

    for row, column in ((0, 0), (2, 2), (0, 1)):
        slope = difference(lambda strain, at=(row, column): energy(strain, *at), tolerances.STRAIN_STEP)
        assert abs(slope.extrapolated / atoms.get_volume() - stress[row, column]) <= tolerances.STRESS_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize("layers", [3, 2, 1])
def test_parts_are_the_whole_at_every_depth(smooth, layers):
    backbone = smooth.backbone
    if layers < 3:
        backbone, report = registry().load("pruner", "depth")(layers=layers).prune(backbone)
        assert report.hops == (6, 2 * layers)
    potential, atoms = Potential(backbone, smooth.reference_energies, {}), salt((6, 1, 1))
    whole = evaluate(potential, atoms)
    for halo in ("recompute", "exchange"):
        require_equal(evaluate(potential, atoms, partition="rcb:3", halo=halo), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"backend": "onnx:threads=1"}, {"backend": "ddp:ranks=2", "partition": "rcb:3", "halo": "exchange"}],
    ids=lambda options: " ".join(options.values()),
)
def test_every_way_to_run_it_gives_the_same(smooth, options):
    atoms = salt((2, 1, 1))
    whole = evaluate(smooth, atoms, backend="torch")
    evaluator = smooth.evaluator(
        **{"dtype": "float64", "device": "cpu", "partition": "none", "halo": "auto"} | options
    )
    with closing(evaluator):
        require_equal(smooth.evaluate_with(evaluator, atoms), whole)


def require_equal(found, whole):
    np.testing.assert_allclose(found.energies, whole.energies, rtol=0, atol=EXACT * np.abs(whole.energies).sum())
    for name in ("forces", "virial"):
        expected = getattr(whole, name)
        limit = EXACT * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(getattr(found, name), expected, rtol=0, atol=limit)


@pytest.mark.slow
def test_energy_is_conserved(smooth):
    atoms = salt((1, 1, 1))
    atoms.calc = smooth.calculator(dtype="float64", device="cpu")
    thermalize_momenta(atoms, 300.0, rng=np.random.default_rng(3))
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    rows = []
    dynamics.attach(lambda: rows.append((atoms.get_total_energy(), atoms.get_kinetic_energy())))
    dynamics.run(500)
    total, kinetic = 1e3 * np.array(rows).T / len(atoms)
    slope, _ = np.polyfit(np.arange(len(total)) / 1e3, total, 1)
    assert kinetic.std() > 1.0
    assert abs(slope) <= DRIFT
    assert total.std() <= FLUCTUATION * kinetic.std()


def test_a_crystal_is_held_at_a_pressure(smooth, tmp_path):
    atoms = bulk("MgO", "rocksalt", a=4.3, cubic=True)
    calculator = smooth.calculator(dtype="float64", device="cpu")
    settings = Settings(ensemble="npt", pressure=1.0, barostat_time=50.0, timestep=2.0)
    volumes = []
    outcome = run_dynamics(
        atoms,
        calculator,
        settings,
        RunFiles(tmp_path / "run"),
        steps=20,
        on_step=lambda sample: volumes.append(sample.volume),
    )
    assert outcome.finished
    assert np.isfinite(volumes).all()
    assert min(volumes) < 0.995 * volumes[0]  # it starts 1 % too wide in each direction

"""A potential in OpenMM: the calculator's numbers, part of a force field's system, dynamics, and a barostat."""

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, make_supercell, molecule

import halocline
from halocline.errors import HaloclineError, StructureError, UsageError
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

openmm = pytest.importorskip("openmm", reason="OpenMM is not installed")
pytest.importorskip("openmmml", reason="OpenMM-ML is not installed")
from openmm import app, unit  # noqa: E402
from openmmml import MLPotential  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs" / "openmm.md"

#: Of eV and eV/Å: the reference platform keeps positions in double precision, in nm.
SAME = 1e-9
#: eV, of OpenMM-ML's own expressions for a force field that is turned on in part.
INTERPOLATED = 1e-6
#: eV per atom, within which energies stay over 100 steps of 4 fs at 20 K, where 1 meV per atom is exchanged.
DRIFT = 3e-5
KILOJOULE = units.kJ / units.mol


@pytest.fixture(autouse=True)
def registered():
    """The entry point that is declared, registered as OpenMM-ML does where it finds it."""
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    [(name, target)] = declared["project"]["entry-points"]["openmmml.potentials"].items()
    MLPotential.registerImplFactory(name, EntryPoint(name, target, "openmmml.potentials").load()())


def schnet(**changes):
    config = {"species": ["H", "O"], "features": 8, "layers": 2, "cutoff": 4.0} | changes
    return Potential(build_backbone("schnet", config), {"H": -1.0, "O": -3.0}, {"name": "schnet"})


def topology_of(*molecules, cell=None):
    """A topology of molecules, each a chain whose first atom is bonded to the others."""
    topology = app.Topology()
    for atoms in molecules:
        residue = topology.addResidue("MOL", topology.addChain())
        of_molecule = [
            topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
            for symbol in atoms.get_chemical_symbols()
        ]
        for other in of_molecule[1:] if len(molecules) > 1 else ():
            topology.addBond(of_molecule[0], other)
    if cell is not None:
        topology.setPeriodicBoxVectors(np.asarray(cell) * unit.angstrom)
    return topology


def context_of(system, positions, integrator=None):
    integrator = integrator or openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.asarray(positions) * unit.angstrom)
    return context


def numbers(context):
    """Energy in eV, forces in eV/Å, positions and cell in Å."""
    state = context.getState(energy=True, forces=True, positions=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KILOJOULE
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom) * KILOJOULE
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    return energy, forces, positions, state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)


def water():
    atoms = molecule("H2O")
    atoms.rattle(0.03, seed=1)
    return atoms


def box():
    """Argon in a box of the reduced form that OpenMM wants, whose vectors are not at right angles."""
    atoms = make_supercell(bulk("Ar", "fcc", a=5.3, cubic=True), np.diag([2, 2, 2]))
    sheared = atoms.cell.array + np.array([[0, 0, 0], [1.5, 0, 0], [-1.0, 0.7, 0]])
    atoms.set_cell(sheared, scale_atoms=True)
    atoms.rattle(0.1, seed=2)
    return atoms


@pytest.mark.parametrize(("atoms", "model"), [(water(), schnet()), (box(), "lennard-jones-argon")])
def test_energies_and_forces_are_those_of_the_calculator(atoms, model):
    topology = topology_of(atoms, cell=atoms.cell.array if atoms.pbc.all() else None)
    system = MLPotential("halocline", model=model, dtype="float64").createSystem(topology)
    assert system.usesPeriodicBoundaryConditions() == bool(atoms.pbc.all())
    energy, forces, _, _ = numbers(context_of(system, atoms.positions))
    potential = model if isinstance(model, Potential) else halocline.load(model)
    expected = potential(atoms, dtype="float64")
    assert energy == pytest.approx(expected.energy, abs=SAME)
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=SAME)
    copied = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    assert numbers(context_of(copied, atoms.positions))[0] == energy


def mechanics(count):
    """A force field for molecules of water: bonds, charges and a repulsion between all others."""
    system, bonds, pairs = openmm.System(), openmm.HarmonicBondForce(), openmm.NonbondedForce()
    for _ in range(count):
        oxygen = system.getNumParticles()
        for mass, charge, sigma in ((16.0, -0.8, 0.31), (1.0, 0.4, 0.1), (1.0, 0.4, 0.1)):
            system.addParticle(mass)
            pairs.addParticle(charge, sigma, 0.4)
        for hydrogen in (oxygen + 1, oxygen + 2):
            bonds.addBond(oxygen, hydrogen, 0.1, 4e5)
            pairs.addException(oxygen, hydrogen, 0.0, 0.1, 0.0)
    system.addForce(bonds)
    system.addForce(pairs)
    return system


def test_a_molecule_among_those_of_a_force_field():
    """The model takes the place of the force field within the molecule, and nowhere else."""
    potential, molecules = schnet(), [water(), water()]
    molecules[1].translate([2.8, 0.4, 0.1])
    positions = np.concatenate([atoms.positions for atoms in molecules])
    whole, topology, inside = mechanics(2), topology_of(*molecules), [0, 1, 2]
    by_field, forces_by_field, _, _ = numbers(context_of(whole, positions))
    own, own_forces, _, _ = numbers(context_of(mechanics(1), positions[inside]))
    expected = potential(molecules[0], dtype="float64")
    model = MLPotential("halocline", model=potential, dtype="float64")
    energy, forces, _, _ = numbers(context_of(model.createMixedSystem(topology, whole, inside), positions))
    assert energy == pytest.approx(by_field - own + expected.energy, abs=SAME)
    forces_by_field[inside] += expected.forces - own_forces
    np.testing.assert_allclose(forces, forces_by_field, rtol=0, atol=SAME)
    between = context_of(model.createMixedSystem(topology, whole, inside, interpolate=True), positions)
    for share, value in ((0.0, by_field), (1.0, energy)):
        between.setParameter("lambda_interpolate", share)
        assert numbers(between)[0] == pytest.approx(value, abs=INTERPOLATED)


def argon_system(atoms):
    topology = topology_of(atoms, cell=atoms.cell.array)
    return MLPotential("halocline", model="lennard-jones-argon", dtype="float64").createSystem(topology)


def test_energy_is_conserved():
    atoms = box()
    context = context_of(argon_system(atoms), atoms.positions, openmm.VerletIntegrator(0.004))
    context.setVelocitiesToTemperature(20.0, 1)
    totals, potentials = [], []
    for _ in range(20):
        context.getIntegrator().step(5)
        state = context.getState(energy=True)
        kinetic, potential = state.getKineticEnergy(), state.getPotentialEnergy()
        potentials.append(potential.value_in_unit(unit.kilojoule_per_mole) * KILOJOULE)
        totals.append((kinetic + potential).value_in_unit(unit.kilojoule_per_mole) * KILOJOULE)
    assert np.ptp(potentials) / len(atoms) > 4e-4
    assert np.ptp(totals) / len(atoms) < DRIFT


def test_a_barostat_lets_pressed_argon_expand():
    atoms = make_supercell(bulk("Ar", "fcc", a=5.0, cubic=True), np.diag([2, 2, 2]))
    system = argon_system(atoms)
    barostat = openmm.MonteCarloBarostat(1.0, 20.0, 2)
    barostat.setRandomNumberSeed(3)
    system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(20.0, 5.0, 0.004)
    integrator.setRandomNumberSeed(4)
    context = context_of(system, atoms.positions, integrator)
    integrator.step(120)
    energy, forces, positions, cell = numbers(context)
    assert 1.05 < np.linalg.det(cell) / atoms.get_volume() < 1.3
    found = halocline.load("lennard-jones-argon")(
        Atoms(atoms.numbers, positions, cell=cell, pbc=True), dtype="float64"
    )
    assert energy == pytest.approx(found.energy, abs=SAME)
    np.testing.assert_allclose(forces, found.forces, rtol=0, atol=SAME)


def test_what_is_wrong_is_named():
    with pytest.raises(UsageError, match="Name a model"):
        MLPotential("halocline")
    with pytest.raises(UsageError, match="no cutoff"):
        MLPotential("halocline", model="lennard-jones-argon", cutoff=3)
    with pytest.raises(UsageError, match="float16"):
        MLPotential("halocline", model="lennard-jones-argon", dtype="float16")
    with pytest.raises(HaloclineError, match="no-such-model"):
        MLPotential("halocline", model="no-such-model")
    with pytest.raises(UsageError, match="pruned when it is loaded"):
        MLPotential("halocline", model=schnet(), prune=1)
    model, topology = MLPotential("halocline", model=schnet()), topology_of(box())
    with pytest.raises(StructureError, match="Ar"):
        model.createSystem(topology)
    with pytest.raises(UsageError, match="Give dtype to MLPotential"):
        model.createSystem(topology_of(water()), dtype="float64")
    topology = topology_of(water())
    topology.addAtom("M", None, next(topology.residues()))
    with pytest.raises(StructureError, match=r"Atom 3 \(M\) has no element"):
        model.createSystem(topology)


def test_what_the_model_refuses_on_the_way_reaches_whoever_runs():
    atoms = water()
    context = context_of(
        MLPotential("halocline", model=schnet()).createSystem(topology_of(atoms)), atoms.positions
    )
    context.setPositions(atoms.positions[[0, 0, 0]] * unit.angstrom)
    with pytest.raises(Exception, match="Atoms 0 and 1 sit on one point"):
        numbers(context)


def test_the_page_runs_as_written():
    """The model that has to be pulled aside: a network of water takes its place."""
    for block in re.findall(r"^```python\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(block.replace("7net-0", "water-revpbe0d3-schnet"), {})

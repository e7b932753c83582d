"""MACE in ranks and batches, and a trained model of the package's users in motion."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta
from ddp_setups import distributed, liquid, local, require_equal, structures
from oracles.mace.records import CHECKPOINTS
from real_data import real_data
from structures import random_structure

from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.snapshot import load_snapshot
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential import many
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.zoo.foreign import read_mace

#: State of every kind: numbers of species, which are integers; radii, charges and features.
DRESSED = {"first_block": "agnostic", "density": True, "agnesi": True, "repulsion": True}

#: fs; periods of C-H bonds are 11 fs.
TIMESTEP = 0.25

#: Of the kinetic energy's standard deviation: what such steps leave, as an error of second order.
FLUCTUATION = 0.02

#: Steps of the run at constant energy.
STEPS = 400


def backbone(**changes):
    return build_backbone("mace", registry().load("backbone", "mace").example_config() | changes, seed=1)


def trained(name):
    path = real_data(Path(CHECKPOINTS[name]).parent.name) / Path(CHECKPOINTS[name]).name
    foreign = read_mace(path)
    return build_potential(registry().load("converter", foreign.dialect)(foreign.config, foreign.tensors))


def molecule_of_the_electrolyte():
    """The atoms within a bond of one another, from the first atom of a frame on."""
    frame = read(real_data("ec_emc_electrolyte") / "ECEMC.xyz", index=3)
    bonded, found = frame.get_all_distances(mic=True) < 1.7, {0}
    while more := {int(b) for a in found for b in np.flatnonzero(bonded[a])} - found:
        found |= more
    atoms = frame[sorted(found)]
    atoms.positions = frame.get_distances(0, sorted(found), mic=True, vector=True)
    atoms.pbc = False
    return atoms


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_ranks_give_what_one_process_gives(halo):
    """State that is exchanged has integers among it, which say what an atom of another rank is."""
    model = backbone(**DRESSED)
    one = local(model)
    with closing(distributed(model, halo=halo, ranks=2)) as ranks:
        for structure in (liquid(model), *list(structures(model))[:3]):
            require_equal(ranks.evaluate(structure), one.evaluate(structure))


@pytest.mark.parametrize("options", [{}, {"partition": "rcb:3"}, {"halo": "exchange"}], ids=str)
def test_together_is_as_alone(options):
    model = backbone(**DRESSED)
    potential = Potential(model, dict.fromkeys(model.species, -3.0), {})
    many_atoms = [random_structure(seed, atoms=3 + seed, pbc=bool(seed % 2)) for seed in range(5)]
    for atoms in many_atoms:
        atoms.symbols = [model.species[at % 2] for at in range(len(atoms))]
    together = potential(many_atoms, dtype="float64", device="cpu", **options)
    for found, atoms in zip(together, many_atoms, strict=True):
        alone = potential(atoms, dtype="float64", device="cpu")
        for name in ("energies", "forces", "virial"):
            expected = getattr(alone, name)
            limit = many.AGREEMENT["float64"] * max(1.0, np.abs(expected).sum())
            np.testing.assert_allclose(getattr(found, name), expected, rtol=0, atol=limit)


@pytest.mark.slow
def test_a_trained_model_conserves_energy(tmp_path):
    atoms = molecule_of_the_electrolyte()
    thermalize_momenta(atoms, 150.0, rng=np.random.default_rng(3))
    rows = []
    settings = Settings(ensemble="nve", timestep=TIMESTEP)
    outcome = run_dynamics(
        atoms,
        trained("mace01").calculator(dtype="float64", device="cpu"),
        settings,
        RunFiles(tmp_path / "run"),
        steps=STEPS,
        on_step=lambda sample: rows.append((sample.potential + sample.kinetic, sample.kinetic)),
    )
    assert outcome.finished
    total, kinetic = np.array(rows).T
    assert kinetic.std() > 1e-3 * units.eV
    assert total.std() <= FLUCTUATION * kinetic.std()
    drift = np.polyfit(np.arange(len(total)), total, 1)[0] * len(total)
    assert abs(drift) <= FLUCTUATION * kinetic.std()


@pytest.mark.slow
def test_a_run_that_stopped_goes_on_bit_for_bit(tmp_path):
    model, atoms = trained("ecemc"), molecule_of_the_electrolyte()
    settings = Settings(ensemble="nvt", thermostat="langevin", temperature=150.0, timestep=TIMESTEP)

    def run(name, steps, **options):
        files = RunFiles(tmp_path / name)
        run_dynamics(atoms, model.calculator(device="cpu"), settings, files, steps=steps, **options)
        return files

    straight, stopped = run("straight", 12), run("stopped", 7)
    stopped = run("stopped", 12, resume=True)
    assert straight.trajectory.read_bytes() == stopped.trajectory.read_bytes()
    one, other = (load_snapshot(files.checkpoint) for files in (straight, stopped))
    for name in ("positions", "momenta"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()

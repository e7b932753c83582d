"""The object for LAMMPS' pair style mliap, called by a stand-in of it on several ranks, against the calculator."""

import pickle

import numpy as np
import pytest
from ase.build import bulk
from lammps_data import Data, KokkosData, step

from halocline.backends.mliap.exporter import MliapExporter
from halocline.cli.main import main
from halocline.errors import LoweringError, NotFiniteError, StructureError, UsageError
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.program import Precision

ELEMENTS = ["Na", "Cl"]
REFERENCES = {"Na": -1.25, "Cl": -3.5}

#: eV, eV/Å and eV: the same network in float64, summed in another order.
SAME = 1e-10


def model_of(name, **changes):
    kind = registry().load("backbone", name)
    config = kind.example_config() | {"species": ELEMENTS, "cutoff": 3.2} | changes
    return Potential(build_backbone(name, config), REFERENCES, {"name": name})


def exported(potential, folder):
    path = folder / "model.pkl"
    MliapExporter().export(potential, Precision.FLOAT64, path)
    with path.open("rb") as file:
        return pickle.load(file)


def salt():
    """Two elements in a skewed cell, each with neighbours that are images of each other."""
    atoms = bulk("NaCl", "rocksalt", a=5.64) * (2, 2, 1)
    strain = np.eye(3) + 0.02 * np.random.default_rng(0).normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize(
    ("name", "changes", "ranks", "kind"),
    [
        ("lennard-jones", {"epsilon": [0.01, 0.02], "sigma": [2.4, 2.6]}, 2, Data),
        ("schnet", {"layers": 2}, 1, Data),
        ("schnet", {"layers": 3}, 3, KokkosData),
        ("m3gnet", {"threebody_cutoff": 3.1}, 2, Data),
    ],
)
def test_results_of_ranks_are_those_of_the_calculator(tmp_path, name, changes, ranks, kind):
    potential, atoms = model_of(name, **changes), salt()
    model = exported(potential, tmp_path)
    hops, cutoff = potential.backbone.hops, potential.cutoff
    assert model.rcutfac == 0.5 * hops * cutoff
    owners = np.random.default_rng(2).integers(0, ranks, len(atoms))
    energy, energies, forces, virial = step(model, atoms, owners, 2.0 * model.rcutfac, kind)
    expected = potential(atoms, dtype="float64", backend="torch:kernels=off")
    assert energy == pytest.approx(expected.energy, abs=SAME)
    np.testing.assert_allclose(energies, expected.energies, rtol=0, atol=SAME)
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=SAME)
    # LAMMPS' virial is that of the pressure, so its sign is the other one.
    np.testing.assert_allclose(-virial, expected.stress * atoms.get_volume(), rtol=0, atol=SAME)


@pytest.fixture(scope="module")
def schnet(tmp_path_factory):
    return exported(model_of("schnet", layers=1), tmp_path_factory.mktemp("schnet"))


def whole(model, atoms=None, **changes):
    """Everything on one rank, with some of the data changed."""
    atoms = atoms or salt()
    data = Data(atoms, np.ones(len(atoms), bool), 2.0 * model.rcutfac, model.element_types)
    for name, value in changes.items():
        setattr(data, name, value)
    return data


def test_ranks_without_atoms_and_atoms_without_neighbours(schnet):
    atoms = salt()
    data = Data(atoms, np.zeros(len(atoms), bool), 2.0 * schnet.rcutfac, ELEMENTS)
    schnet.compute_forces(data)
    assert data.energy == 0.0
    alone = atoms[:1]
    alone.set_cell(np.eye(3) * 30.0)
    data = whole(schnet, alone)
    schnet.compute_forces(data)
    assert data.pair_i is None
    assert data.energy == pytest.approx(model_of("schnet", layers=1)(alone, dtype="float64").energy, abs=SAME)


def test_what_cannot_be_right_is_refused(schnet, monkeypatch):
    data = whole(schnet)
    data._elems[1] = -1
    with pytest.raises(UsageError, match="has NULL for a type"):
        schnet.compute_forces(data)
    with pytest.raises(UsageError, match="hybrid lists only some"):
        schnet.compute_forces(whole(schnet, nlocal=100))
    data = whole(schnet)
    monkeypatch.setattr(Data, "elems", property(lambda data: list(data._elems)))
    with pytest.raises(UsageError, match="The atoms are on a GPU"):
        schnet.compute_forces(data)
    monkeypatch.undo()
    atoms = salt()
    atoms.positions[3] = atoms.positions[0]
    with pytest.raises(StructureError, match="sit on one point"):
        schnet.compute_forces(whole(schnet, atoms))
    monkeypatch.setattr(schnet, "_references", np.array([0.0, np.inf]))
    with pytest.raises(NotFiniteError, match="energy of atom 1 of this rank"):
        schnet.compute_forces(whole(schnet))


def test_models_that_read_more_than_one_cutoff_are_refused(tmp_path):
    nearest = model_of("schnet", neighbours="nearest", nearest_count=8)
    with pytest.raises(LoweringError, match="does not take all neighbours within one cutoff"):
        MliapExporter().export(nearest, Precision.FLOAT64, tmp_path / "model.pkl")


def test_the_command_writes_what_lammps_reads(tmp_path, capsys):
    path = tmp_path / "argon.pkl"
    assert main(["export", "lennard-jones-argon", "--backend", "lammps-mliap", "-o", str(path)]) == 0
    assert "rij" in capsys.readouterr().out
    with path.open("rb") as file:
        model = pickle.load(file)
    told = (model.element_types, model.ndescriptors, model.nparams, model.rcutfac, model.interface)
    assert told == (["Ar"], 1, 1, 4.25, None)
    assert model.manifest["backbone"] == "lennard-jones"

"""The same labelled structures come out of every layout, in eV and Å; damage is named."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from data_files import KCAL_PER_MOL, clusters, write_database, write_hdf5, write_in

from halocline.cli.main import main
from halocline.data.frames import read_frames
from halocline.data.labels import read_labels
from halocline.errors import StructureError, TrainingError, UsageError
from halocline.structures.read import stream_frames
from halocline.structures.units import ENERGIES, LENGTHS, Units, stated_units

#: Text has eight decimals, HDF5 of PNNL has float32 positions and the rest in float64.
TEXT, BINARY = 2e-7, 1e-12


def labelled(path, units_of_file=None, keys=(None, None)):
    frames = read_frames([(path.name, path)], units_of_file)
    labels, _ = read_labels(frames, dict(zip(("energy", "forces"), keys, strict=True)))
    return frames, labels


def assert_same(found, expected, tolerance):
    frames, labels = found
    assert len(frames) == len(expected)
    for frame, label, atoms in zip(frames, labels, expected, strict=True):
        assert frame.atoms.numbers.tolist() == atoms.numbers.tolist()
        np.testing.assert_allclose(frame.atoms.positions, atoms.positions, atol=tolerance)
        np.testing.assert_allclose(frame.atoms.cell, atoms.cell, atol=tolerance)
        assert label.energy == pytest.approx(atoms.calc.results["energy"], rel=1e-12, abs=tolerance)
        np.testing.assert_allclose(label.forces, atoms.calc.results["forces"], atol=tolerance)


@pytest.mark.parametrize("energy", sorted(ENERGIES))
@pytest.mark.parametrize(
    ("length", "forces_are"), [(each, "forces") for each in LENGTHS] + [("Bohr", "gradients")]
)
def test_every_unit_of_a_file_becomes_ours(tmp_path, energy, length, forces_are):
    frames = clusters([1, 2])
    sign = -1.0 if forces_are == "gradients" else 1.0
    write_in(tmp_path / "a.traj", frames, ENERGIES[energy], LENGTHS[length], sign)
    assert_same(labelled(tmp_path / "a.traj", Units(energy, length, forces_are)), frames, BINARY)


def test_units_are_those_of_nature():
    """By the definitions of CODATA and of the calorie, and not by the table that is tested."""
    assert ENERGIES["kcal/mol"] == pytest.approx(4184.0 / 6.02214076e23 / 1.602176634e-19, rel=1e-6)
    assert ENERGIES["kJ/mol"] == pytest.approx(1000.0 / 6.02214076e23 / 1.602176634e-19, rel=1e-6)
    assert ENERGIES["Hartree"] == pytest.approx(27.211386, rel=1e-6)
    assert ENERGIES["Rydberg"] == pytest.approx(13.605693, rel=1e-6)
    for name, value in {"Å": 1.0, "Bohr": 0.5291772, "nm": 10.0, "pm": 0.01}.items():
        assert LENGTHS[name] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("key", ["stress", "virial"])
def test_stress_is_per_volume_of_the_file_and_a_virial_is_an_energy(tmp_path, key):
    atoms = bulk("Ar", cubic=True)
    stress = np.diag([0.01, 0.02, 0.03])
    label = stress if key == "stress" else -stress * atoms.get_volume()
    length, energy = units.Bohr, units.Hartree
    label = label / energy * (length**3 if key == "stress" else 1.0)
    atoms.set_cell(atoms.cell / length, scale_atoms=True)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    atoms.info[f"REF_{key}"] = label
    atoms.write(tmp_path / "a.extxyz")
    (frame,) = read_frames([("a", tmp_path / "a.extxyz")], Units("Hartree", "Bohr"))
    from halocline.data.labels import LabelReader

    reader = LabelReader({"stress": None})
    reader.look([frame])
    np.testing.assert_allclose(reader.read(frame, frame.units).stress, stress, atol=1e-7)


@pytest.mark.parametrize("unit", ["kcal", "ev", "Angstrom"])
def test_a_unit_that_does_not_exist_is_named(unit):
    with pytest.raises(UsageError, match=f"no unit of (energy|length) named '{unit}'"):
        Units(unit) if unit != "Angstrom" else Units(length=unit)


def test_gradients_of_hdf5_become_forces(tmp_path):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    frames = clusters([1, 3, 30, 2])
    write_hdf5(tmp_path / "a.hdf5", frames)
    assert_same(labelled(tmp_path / "a.hdf5"), frames, BINARY)


def test_other_units_of_hdf5_may_be_stated(tmp_path):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    frames = clusters([1, 3])
    write_hdf5(tmp_path / "a.h5", frames)
    found = labelled(tmp_path / "a.h5", Units("kcal/mol", "Å", "forces"))[1]
    for label, atoms in zip(found, frames, strict=True):
        np.testing.assert_allclose(label.forces, -atoms.calc.results["forces"], atol=BINARY)


@pytest.mark.parametrize(
    "stated", [("kcal/mol", None, None), (None, "Å", None), (None, None, "gradients")], ids=str
)
def test_what_is_stated_of_hdf5_leaves_the_rest_to_the_format(tmp_path, stated):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    frames = clusters([1, 3])
    write_hdf5(tmp_path / "a.h5", frames)
    assert_same(labelled(tmp_path / "a.h5", stated_units(*stated)), frames, BINARY)


def test_one_bad_cluster_is_named_and_the_others_are_read(tmp_path):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    write_hdf5(tmp_path / "a.h5", clusters([1, 1, 1]), most=2, size=np.array([[1], [6], [1]], np.uint8))
    found = list(stream_frames(str(tmp_path / "a.h5")))
    assert [isinstance(each, StructureError) for each in found] == [False, True, False]


def test_more_clusters_than_a_block_come_in_order(tmp_path):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    frames = clusters([1 + i % 2 for i in range(1500)])
    write_hdf5(tmp_path / "a.h5", frames, most=2)
    assert_same(labelled(tmp_path / "a.h5"), frames, BINARY)


def test_hdf5_without_labels_is_read_by_every_command(tmp_path, capsys):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    frames = clusters([1, 2])
    write_hdf5(tmp_path / "a.h5", frames, y=None, f=None, size=None)
    assert [len(atoms) for atoms in stream_frames(str(tmp_path / "a.h5"))] == [3, 6]
    assert main(["run", str(tmp_path / "a.h5"), "--json"]) == 0


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"pos": None}, "has no pos, it holds f, size, x, y, z"),
        ({"z": None}, "has no z"),
        ({"y": np.zeros((5, 1))}, r"y of .* has the shape \(5, 1\), beside z of \(2, 6\)"),
        ({"f": np.zeros((2, 6))}, r"f of .* has the shape \(2, 6\)"),
        ({"size": np.full((2, 1), 6, np.uint8)}, r"frame 0 has 3 atoms .* but size = 6, which counts molecules"),
        ({"z": np.array([[0, 8, 1, 1, 0, 0]] * 2, np.uint8)}, "atoms behind places without"),
        ({"z": np.zeros((2, 6), np.uint8)}, "or none at all"),
    ],
)
def test_hdf5_of_another_layout_is_refused_by_name(tmp_path, other, words):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    write_hdf5(tmp_path / "a.h5", clusters([1, 1]), most=2, **other)
    with pytest.raises(TrainingError, match=words):
        read_frames([("a.h5", tmp_path / "a.h5")])


@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_hdf5_that_was_cut_off_is_named(tmp_path, part):
    pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
    path = tmp_path / "a.h5"
    write_hdf5(path, clusters([1, 2, 3]))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(StructureError, match=r"a\.h5 cannot be read"):
        list(stream_frames(str(path)))


def test_labels_of_a_database_are_data_of_its_rows(tmp_path):
    frames = clusters([1, 3])
    write_database(tmp_path / "a.db", frames)
    assert_same(labelled(tmp_path / "a.db", Units("kcal/mol")), frames, BINARY)


def test_a_label_in_kcal_is_converted_before_it_is_judged(tmp_path):
    """The largest energy that a file may state is one in eV."""
    atoms = clusters([1])[0]
    atoms.calc.results["energy"] = 1.1e15
    write_in(tmp_path / "a.extxyz", [atoms])
    with pytest.raises(TrainingError, match="no energy in eV"):
        labelled(tmp_path / "a.extxyz")
    assert labelled(tmp_path / "a.extxyz", Units("kcal/mol"))[1][0].energy == pytest.approx(1.1e15 * KCAL_PER_MOL)

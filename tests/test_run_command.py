"""``halocline run``: what is printed and written is what the potential computes; bad files are one sentence."""

import io
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import halocline
from halocline.cli.main import main

MODEL = "lennard-jones-argon"
DECIMALS = 1e-8  # extended XYZ stores eight


@pytest.fixture
def crystal():
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def test_json_holds_every_frame_of_every_file(crystal, tmp_path, capsys):
    frames = [crystal, Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 3.8)])]
    write(tmp_path / "two.extxyz", frames)
    write(tmp_path / "one.cif", crystal)
    assert main(["run", str(tmp_path / "two.extxyz"), str(tmp_path / "one.cif"), "-m", MODEL, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [(record["frame"], record["formula"]) for record in records] == [(0, "Ar4"), (1, "Ar2"), (0, "Ar4")]
    for record, atoms in zip(records[:2], read(tmp_path / "two.extxyz", ":"), strict=True):
        result = halocline.load(MODEL)(atoms)
        assert record["energy"] == result.energy
        np.testing.assert_array_equal(record["forces"], result.forces)
        np.testing.assert_array_equal(record["energies"], result.energies)
        assert (record["stress"] is None) == (not atoms.pbc.all()) == (record["pressure"] is None)


def test_table_goes_to_stdout_and_nothing_else(crystal, tmp_path, capsys):
    write(tmp_path / "ar.cif", crystal)
    assert main(["run", str(tmp_path / "ar.cif"), "-m", MODEL]) == 0
    printed = capsys.readouterr()
    assert "Ar4" in printed.out
    assert "max |F| (eV/Å)" in printed.out
    assert printed.err == ""


def test_standard_input_is_extended_xyz(crystal, monkeypatch, capsys):
    text = io.StringIO()
    write(text, [crystal, crystal], format="extxyz")
    monkeypatch.setattr("sys.stdin", io.StringIO(text.getvalue()))
    assert main(["run", "-", "-m", MODEL, "--json"]) == 0
    assert [record["file"] for record in json.loads(capsys.readouterr().out)] == ["-", "-"]


def test_output_carries_results_and_keeps_reference_labels(crystal, tmp_path):
    labels = {"energy": -1.25, "forces": np.full((4, 3), 0.5)}
    crystal.calc = SinglePointCalculator(crystal, **labels)
    crystal.info["REF_stress"] = np.arange(6.0)
    crystal.info["source"] = "table 3"
    write(tmp_path / "in.extxyz", crystal)
    assert main(["run", str(tmp_path / "in.extxyz"), "-m", MODEL, "-o", str(tmp_path / "out.extxyz")]) == 0
    written, result = read(tmp_path / "out.extxyz"), halocline.load(MODEL)(read(tmp_path / "in.extxyz"))
    assert written.get_potential_energy() == pytest.approx(result.energy, abs=DECIMALS)
    np.testing.assert_allclose(written.get_forces(), result.forces, atol=DECIMALS)
    np.testing.assert_allclose(written.get_stress(voigt=False), result.stress, atol=DECIMALS)
    np.testing.assert_allclose(written.calc.results["energies"], result.energies, atol=DECIMALS)
    assert written.info["REF_energy"] == -1.25
    np.testing.assert_array_equal(written.arrays["REF_forces"], labels["forces"])
    np.testing.assert_array_equal(written.info["REF_stress"], np.arange(6.0))
    assert written.info["source"] == "table 3"


def complaint(capsys, *words):
    status = main(["run", *map(str, words), "-m", MODEL])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("halocline: ")
    assert len(printed.err.splitlines()) == 1
    return status, printed.err


@pytest.mark.parametrize("content", ["", "x", "\x00\x01", "3\n\nAr 0 0 0\n", "2\n\nAr 0 0 0\nAr 1 one 2\n"])
@pytest.mark.parametrize("name", ["bad.xyz", "bad.extxyz", "bad.cif", "POSCAR", "bad.nosuchformat"])
def test_unreadable_file_is_one_sentence(tmp_path, capsys, content, name):
    (tmp_path / name).write_text(content)
    status, message = complaint(capsys, tmp_path / name)
    assert status == 1
    assert name in message


@pytest.mark.parametrize("cut", range(1, 60))
def test_truncated_file_is_never_read_as_shorter_numbers(crystal, tmp_path, cut):
    from halocline.errors import StructureError
    from halocline.structures.read import read_frames

    path = tmp_path / "cut.extxyz"
    write(path, [crystal, crystal])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(StructureError):
        read_frames(str(path))


def test_missing_file_and_unknown_element_are_named(tmp_path, capsys):
    assert complaint(capsys, tmp_path / "none.cif")[0] == 1
    write(tmp_path / "water.xyz", [molecule("H2O")])
    status, message = complaint(capsys, tmp_path / "water.xyz")
    assert status == 1
    assert "water.xyz, frame 0" in message


def test_output_that_cannot_be_written_or_replaces_an_input_is_refused(crystal, tmp_path, capsys):
    write(tmp_path / "ar.extxyz", crystal)
    before = (tmp_path / "ar.extxyz").read_bytes()
    assert complaint(capsys, tmp_path / "ar.extxyz", "-o", tmp_path / "." / "ar.extxyz")[0] == 2
    assert complaint(capsys, tmp_path / "ar.extxyz", "-o", tmp_path / "none" / "out.extxyz")[0] == 2
    assert complaint(capsys, tmp_path / "ar.extxyz", "-o", tmp_path / "out.cif")[0] == 2
    assert (tmp_path / "ar.extxyz").read_bytes() == before

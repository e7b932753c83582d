"""Databases of results grow by whole batches, and are gone on with, like the other forms; and they are read."""

import signal
import sqlite3

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from broken_runs import disk_that_fills, killed_run
from test_run_streams import MODEL, bad_input, frames, pair, run, source, stopped_after

import halocline
from halocline.cli.main import main
from halocline.errors import StructureError
from halocline.evaluation import results as result_files
from halocline.evaluation.journal import journal_path
from halocline.structures.read import stream_frames

__all__ = ["frames", "source"]

#: Columns of a row that are another's in every database.
OWN = ("unique_id", "ctime", "mtime")


def rows(path):
    """All that a database holds, but for what no two have in common."""
    with sqlite3.connect(path) as connection:
        found = {}
        for table in ("systems", "species", "keys", "text_key_values", "number_key_values"):
            cursor = connection.execute(f"SELECT * FROM {table} ORDER BY id")
            names = [column[0] for column in cursor.description]
            found[table] = [[v for n, v in zip(names, row, strict=True) if n not in OWN] for row in cursor]
    connection.close()
    return found


def test_rows_hold_results_to_the_bit_and_what_the_structure_brought(tmp_path):
    crystal = Atoms("Ar4", positions=np.random.default_rng(0).uniform(0, 5, (4, 3)), cell=[6, 7, 8], pbc=True)
    crystal.info |= {"REF_energy": -1.5, "note": "odd", "Ar": 3, "weights": [1.0, 2.0]}
    crystal.set_array("REF_forces", np.ones((4, 3)))
    write(tmp_path / "in.extxyz", [crystal, pair(3.7)])
    assert run(tmp_path / "in.extxyz", "-o", tmp_path / "out.db", "--dtype", "float64") == 0
    result = halocline.load(MODEL)(read(tmp_path / "in.extxyz", 0), dtype="float64")
    first, second = ase.db.connect(tmp_path / "out.db").select()
    assert first.energy == result.energy
    np.testing.assert_array_equal(first.forces, result.forces)
    np.testing.assert_array_equal(first.data["energies"], result.energies)
    np.testing.assert_array_equal(first.stress, result.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    assert (first.frame, first.REF_energy, first.note) == (0, -1.5, "odd")
    assert first.data["Ar"] == 3  # by which ASE would look for atoms
    np.testing.assert_array_equal(first.data["weights"], [1.0, 2.0])
    assert "pressure_GPa" in first
    assert "pressure_GPa" not in second
    assert [row.id for row in ase.db.connect(tmp_path / "out.db").select("max_force_eV_per_A>0")] == [1, 2]

    again = next(stream_frames(str(tmp_path / "out.db")))
    assert again.info["REF_energy"] == -1.5
    np.testing.assert_array_equal(again.arrays["REF_forces"], crystal.arrays["REF_forces"])
    np.testing.assert_array_equal(again.calc.results["forces"], result.forces)
    assert main(["eval", str(tmp_path / "out.db"), "-m", MODEL]) == 0


def test_bad_frames_fail_alone(tmp_path, capsys):
    path, _ = bad_input(tmp_path)
    assert run(path, "-o", tmp_path / "out.db") == 1
    assert "6 of 12 structures were left out" in capsys.readouterr().err
    assert [row.frame for row in ase.db.connect(tmp_path / "out.db").select()] == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("tail", ["whole", "more", "journal torn", "journal behind", "cut back"])
def test_resumed_databases_are_those_of_one_call(source, tmp_path, tail, capsys, monkeypatch):
    monkeypatch.setattr(result_files, "PATIENCE", 1e9)  # batches of the same size in every call
    output, whole = tmp_path / "out.db", tmp_path / "whole.db"
    assert run(source, "-o", whole) == 0
    stopped_after(source, output, 150, monkeypatch)
    journal = journal_path(output)
    if tail == "more":
        ase.db.connect(output).write(pair(4.0))
    elif tail == "journal torn":
        journal.write_bytes(journal.read_bytes()[:-20])
    elif tail == "journal behind":
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    elif tail == "cut back":
        ase.db.connect(output).delete([149, 150])
    capsys.readouterr()
    for _ in range(2):  # finished: nothing is left to do
        assert run(source, "-o", output, "--resume") == 0
        assert rows(output) == rows(whole)
    assert "has the first" in capsys.readouterr().err


def changed(output):
    ase.db.connect(output).update(10, frame=7)


def of_somebody_else(output):
    output.unlink()
    ase.db.connect(output).write(pair(4.0))


def of_no_structures(output):
    output.write_bytes(b"precious")


@pytest.mark.parametrize("wrong", [changed, of_somebody_else, of_no_structures])
def test_what_does_not_belong_to_the_journal_is_refused_and_stays(source, tmp_path, capsys, wrong, monkeypatch):
    output = tmp_path / "out.db"
    stopped_after(source, output, 200, monkeypatch)
    wrong(output)
    before = output.read_bytes()
    assert run(source, "-o", output, "--resume") == 1
    assert str(output) in capsys.readouterr().err
    assert run(source, "-o", output) == 2  # neither --resume nor --overwrite
    assert output.read_bytes() == before
    assert run(source, "-o", output, "--overwrite") == 0
    assert len(ase.db.connect(output)) == 300


def test_a_database_without_a_journal_is_not_gone_on_with(source, tmp_path, capsys):
    ase.db.connect(tmp_path / "out.db").write(pair(4.0))
    assert run(source, "-o", tmp_path / "out.db", "--resume") == 1
    assert "Nothing says what" in capsys.readouterr().err
    assert len(ase.db.connect(tmp_path / "out.db")) == 1


def test_a_disk_that_fills_leaves_whole_rows_to_go_on_from(source, tmp_path, capsys):
    output, whole = tmp_path / "out.db", tmp_path / "whole.db"
    assert run(source, "-o", whole) == 0
    capsys.readouterr()
    with disk_that_fills(whole.stat().st_size * 2 // 3):
        assert run(source, "-o", output) == 1
    assert "What it holds so far is whole" in capsys.readouterr().err
    assert 0 < len(rows(output)["systems"]) < 300
    assert run(source, "-o", output, "--resume") == 0
    assert rows(output) == rows(whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_work_is_gone_on_with(source, tmp_path, number):
    output, whole = tmp_path / "out.db", tmp_path / "whole.db"
    assert run(source, "-o", whole) == 0
    killed_run(source, output, MODEL, number)
    assert run(source, "-o", output, "--resume") == 0
    assert rows(output) == rows(whole)


def test_a_database_of_something_else_is_no_structures_and_stays(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(StructureError, match="none of structures"):
        list(stream_frames(str(tmp_path / "x.db")))
    assert (tmp_path / "x.db").read_bytes() == before

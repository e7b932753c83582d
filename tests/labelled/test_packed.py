"""Packed files give back what went in, refuse what is damaged, and train as other files do."""

import json
import tracemalloc

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from data_files import clusters, write_database, write_hdf5, write_in

from halocline.cli.main import main
from halocline.data.convert import convert
from halocline.data.frames import read_frames
from halocline.data.labels import read_labels
from halocline.errors import StructureError, TrainingError
from halocline.structures.read import stream_frames
from halocline.structures.units import Units

pytest.importorskip("pyarrow", reason="packed files are read by pyarrow, of the extra `data`")

NO_KEYS = {"energy": None, "forces": None, "stress": None}


def packed(path, frames, keys=NO_KEYS, units=None):
    """Convert frames by way of a trajectory, which keeps every bit."""
    ase.io.write(path.with_suffix(".traj"), frames)
    convert([path.with_suffix(".traj")], path, keys, units)
    return path


def labelled(path):
    frames = read_frames([(path.name, path)])
    return frames, read_labels(frames, NO_KEYS)[0]


def crystal(pbc=True, **results):
    atoms = bulk("NaCl", "rocksalt", 5.6)
    atoms.pbc = pbc
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture
def mixed():
    """Molecules and crystals, with all, some and no labels."""
    stress = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6])
    crystals = [
        crystal(energy=-3.0, forces=np.eye(2, 3), stress=stress),
        crystal((True, False, True), energy=-3.0),
        crystal(forces=np.ones((2, 3))),
    ]
    crystals[2].info |= {"config_type": "slab", "temperature": 300.0, "charge": 1, "mask": [1, 2]}
    return [*clusters([1, 2]), *crystals, Atoms("He")]


def test_every_bit_comes_back(tmp_path, mixed):
    frames, labels = labelled(packed(tmp_path / "a.arrow", mixed))
    assert len(frames) == len(labels) == len(mixed)
    for frame, label, atoms in zip(frames, labels, mixed, strict=True):
        for name in ("numbers", "positions", "pbc"):
            np.testing.assert_array_equal(getattr(frame.atoms, name), getattr(atoms, name))
        np.testing.assert_array_equal(frame.atoms.cell, atoms.cell)
        results = atoms.calc.results if atoms.calc else {}
        assert label.energy == results.get("energy")
        np.testing.assert_array_equal(label.forces, results.get("forces"))
        full = None if "stress" not in results else atoms.get_stress(voigt=False)
        np.testing.assert_array_equal(label.stress, full)
    assert frames[4].atoms.info == {"config_type": "slab", "temperature": 300.0, "charge": 1}
    assert [int(frame.number) for frame in frames.stating()] == [4]


def test_the_label_that_was_chosen_is_the_only_one_in_the_file(tmp_path, mixed):
    """Under a name that readers prefer, another one would take its place."""
    atoms = mixed[0]
    atoms.info["REF_energy"] = -99.0
    ase.io.write(tmp_path / "a.extxyz", [atoms])
    source, written = str(tmp_path / "a.extxyz"), str(tmp_path / "a.arrow")
    assert main(["data", "convert", source, "-o", written, "--energy-key", "energy"]) == 0
    (found,) = stream_frames(written)
    assert not found.info
    assert found.calc.results["energy"] == pytest.approx(atoms.calc.results["energy"], abs=1e-6)


def test_what_has_no_room_is_said(tmp_path, mixed, capsys):
    mixed[0].set_array("spins", np.ones(3))
    ase.io.write(tmp_path / "a.traj", mixed)
    assert main(["data", "convert", str(tmp_path / "a.traj"), "-o", str(tmp_path / "a.arrow")]) == 0
    said = capsys.readouterr().err
    assert "left out: mask, of 1 frames" in said
    assert "energy   from key 'energy': 4 of 6 frames" in said


@pytest.mark.parametrize("kind", ["h5", "db", "extxyz", "traj", "arrow"])
def test_all_kinds_of_files_are_converted_into_the_same_numbers(tmp_path, kind):
    frames = clusters([1, 4, 2] * 100)
    path, units = tmp_path / f"in.{kind}", None
    if kind == "h5":
        pytest.importorskip("h5py", reason="HDF5 is read by h5py, of the extra `data`")
        write_hdf5(path, frames, most=4)
    elif kind == "db":
        write_database(path, frames[:20])
        frames, units = frames[:20], Units("kcal/mol")
    elif kind == "arrow":
        packed(path, frames)
    else:
        write_in(path, frames, energy=27.2, length=0.5)
        frames = read_frames([("in", path)])
        expected = read_labels(frames, NO_KEYS)[0]
        convert([path], tmp_path / "a.arrow", NO_KEYS, units)
        found = labelled(tmp_path / "a.arrow")[1]
        assert [each.energy for each in found] == [each.energy for each in expected]
        return
    convert([path], tmp_path / "a.arrow", NO_KEYS, units)
    _, labels = labelled(tmp_path / "a.arrow")
    for label, atoms in zip(labels, frames, strict=True):
        assert label.energy == pytest.approx(atoms.calc.results["energy"], rel=1e-12)
        np.testing.assert_allclose(label.forces, atoms.calc.results["forces"], atol=1e-12)


def test_other_commands_read_packed_files(tmp_path):
    path = packed(tmp_path / "a.arrow", clusters([1, 2]))
    assert main(["eval", str(path)]) == 0


def test_several_files_follow_each_other_and_are_named_in_the_file(tmp_path, capsys):
    frames = clusters([1, 2, 3])
    write_in(tmp_path / "a.extxyz", frames[:1])
    write_in(tmp_path / "b.extxyz", frames[1:])
    words = ["data", "convert", str(tmp_path / "a.extxyz"), str(tmp_path / "b.extxyz"), "--json"]
    assert main([*words, "-o", str(tmp_path / "c.arrow")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["atoms"]) == (3, 18)
    assert [len(frame.atoms) for frame in labelled(tmp_path / "c.arrow")[0]] == [3, 6, 9]
    first = (tmp_path / "c.arrow").read_bytes()
    assert main([*words, "-o", str(tmp_path / "c.arrow"), "--overwrite"]) == 0
    assert (tmp_path / "c.arrow").read_bytes() == first  # nothing of the time or the machine


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"energy": np.nan}, "energy of frame 1 of a.traj is not finite"),
        ({"forces": np.full((3, 3), np.inf), "energy": 1.0}, "forces of frame 1 of a.traj is not finite"),
        ({"forces": np.zeros((2, 3)), "energy": 1.0}, "shape"),
    ],
)
def test_a_label_that_is_none_leaves_nothing_behind(tmp_path, results, words, capsys):
    frames = clusters([1, 1, 1])
    frames[1].calc.results.update(results)
    ase.io.write(tmp_path / "a.traj", frames)
    (tmp_path / "a.arrow").write_text("as it was")
    words_of_call = ["data", "convert", str(tmp_path / "a.traj"), "-o", str(tmp_path / "a.arrow"), "--overwrite"]
    assert main(words_of_call) == 1
    assert words in capsys.readouterr().err
    assert (tmp_path / "a.arrow").read_text() == "as it was"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.arrow", "a.traj"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "out.extxyz"], "end in .arrow"),
        (["-o", "absent/out.arrow"], "folder of --output"),
        (["-o", "old.arrow"], "is there already"),
        (["-o", "out.arrow", "--energy-unit", "eVs"], "no unit of energy named 'eVs'"),
        (["-o", "in.arrow", "--overwrite"], "one of the files to convert"),
    ],
)
def test_what_cannot_be_written_is_refused_first(tmp_path, monkeypatch, words, message, capsys):
    monkeypatch.chdir(tmp_path)
    packed(tmp_path / "in.arrow", clusters([1]))
    (tmp_path / "old.arrow").touch()
    assert main(["data", "convert", "in.arrow", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.arrow").exists()


def test_frames_without_any_label_are_refused(tmp_path, capsys):
    ase.io.write(tmp_path / "a.extxyz", [Atoms("He"), Atoms("Ne")])
    assert main(["data", "convert", str(tmp_path / "a.extxyz"), "-o", str(tmp_path / "a.arrow")]) == 1
    assert "None of the 2 frames carries energy" in capsys.readouterr().err
    assert not (tmp_path / "a.arrow").exists()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.999])
def test_a_file_that_was_cut_off_is_named(tmp_path, part):
    path = packed(tmp_path / "a.arrow", clusters([1] * 20))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(TrainingError, match=r"a\.arrow is no complete file of Arrow"):
        read_frames([("a", path)])


def test_an_arrow_file_of_something_else_is_named(tmp_path):
    import pyarrow as pa

    table = pa.table({"numbers": [1, 2]})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write(table)
    with pytest.raises(TrainingError, match="not one of structures in layout 1"):
        read_frames([("a", tmp_path / "a.arrow")])


def test_labels_that_others_have_written_are_judged_when_they_are_read(tmp_path):
    from halocline.structures.packed import PackedFile, PackedWriter, Row

    writer = PackedWriter(tmp_path / "a.arrow", {})
    writer.add(Row(np.array([2]), np.zeros((1, 3)), None, [False] * 3, float("nan"), None, None, {}))
    writer.close()
    with pytest.raises(StructureError, match=r"energy of frame 0 .* not finite"):
        PackedFile(tmp_path / "a.arrow").results(0)


def test_reading_a_packed_file_takes_no_memory_of_its_size(tmp_path):
    """20,000 frames of 5 MB: going through them all takes less than a tenth of it."""
    frame = clusters([2])[0]
    from halocline.structures.packed import PackedFile, PackedWriter, Row

    writer = PackedWriter(tmp_path / "a.arrow", {})
    results = frame.calc.results
    row = Row(frame.numbers, frame.positions, None, [False] * 3, results["energy"], results["forces"], None, {})
    for _ in range(20_000):
        writer.add(row)
    writer.close()
    assert (tmp_path / "a.arrow").stat().st_size > 5_000_000
    tracemalloc.start()
    file = PackedFile(tmp_path / "a.arrow")
    total = sum(file.results(i)["energy"] for i in range(len(file)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(20_000 * results["energy"])
    assert peak < 500_000

"""``halocline run`` writes results as they come: bad frames fail alone, and any end can be gone on from."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixBondLength
from ase.io import read, write
from broken_runs import disk_that_fills, killed_run

import halocline
from halocline.cli.main import main
from halocline.errors import OutputError
from halocline.evaluation import results as result_files
from halocline.evaluation.frames import Frame, evaluate_frames, read_all
from halocline.evaluation.journal import journal_path
from halocline.evaluation.results import ResultFile
from halocline.structures.write import extended_xyz

MODEL = "lennard-jones-argon"
ENDINGS = ("extxyz", "csv", "jsonl")

#: A batch that begins at another structure may round its last ones otherwise, as vectors end elsewhere.
CUT_ELSEWHERE = 1e-6


def pair(distance):
    return Atoms("Ar2", positions=[(0, 0, 0), (0, 0, distance)])


@pytest.fixture
def frames():
    return [pair(3.5 + 0.01 * i) for i in range(300)]


@pytest.fixture
def source(tmp_path, frames):
    path = tmp_path / "in.extxyz"
    path.write_bytes(extended_xyz(frames, exact=True))
    return path


def run(*words):
    return main(["run", *map(str, words), "-m", MODEL])


def test_extended_xyz_holds_results_to_the_bit(source, frames, tmp_path, capsys):
    assert run(source, "-o", tmp_path / "out.extxyz", "--dtype", "float64") == 0
    potential = halocline.load(MODEL)
    found = read(tmp_path / "out.extxyz", ":")
    for atoms, frame, result in zip(found, frames, potential.map(frames, dtype="float64"), strict=True):
        np.testing.assert_array_equal(atoms.positions, frame.positions)
        assert atoms.calc.results["energy"] == result.energy
        np.testing.assert_array_equal(atoms.calc.results["forces"], result.forces)
        np.testing.assert_array_equal(atoms.calc.results["energies"], result.energies)
    assert capsys.readouterr().out.count("Ar2") in (1, 300)  # said once if all are alike


def test_lines_hold_what_json_tells(source, tmp_path, capsys):
    crystal = Atoms("Ar4", positions=np.random.default_rng(0).uniform(0, 5, (4, 3)), cell=[6, 7, 8], pbc=True)
    write(source, [crystal, pair(3.7)])
    for ending in ("csv", "jsonl"):
        assert run(source, "-o", tmp_path / f"out.{ending}", "--json") == 0
        told = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines == [{k: v for k, v in each.items() if k not in ("forces", "energies")} for each in told]
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, line in zip(rows, lines, strict=True):
        assert (row["file"], int(row["frame"]), row["formula"]) == (line["file"], line["frame"], line["formula"])
        assert float(row["energy_eV"]) == line["energy"]
        assert float(row["max_force_eV_per_A"]) == line["max_force"]
        if line["stress"] is None:
            assert row["stress_xx_eV_per_A3"] == row["pressure_GPa"] == ""
        else:
            assert float(row["stress_yz_eV_per_A3"]) == line["stress"][1][2]
            assert float(row["pressure_GPa"]) == line["pressure"]


def bad_input(tmp_path):
    """Frames of which some are empty, unknown, not finite, coincident or not readable; the file ends torn."""
    path = tmp_path / "in.extxyz"
    good = b"2\n\nAr 0 0 0\nAr 0 0 3.8\n"
    bad = [b"0\n\n", b"1\n\nH 0 0 0\n", b"1\n\nAr 0 0 nan\n", b"1\n\nAr 0 zero 0\n", b"2\n\nAr 0 0 0\nAr 0 0 0\n"]
    path.write_bytes(good + b"".join(each + good for each in bad) + b"2\n\nAr 0 0 0\n")
    return path, [1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize("ending", ENDINGS)
def test_bad_frames_fail_alone_by_number(tmp_path, capsys, ending):
    path, bad = bad_input(tmp_path)
    write(tmp_path / "last.extxyz", [pair(3.7)])
    output = tmp_path / f"out.{ending}"
    assert run(path, tmp_path / "last.extxyz", "-o", output, "--json") == 1
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert [each["frame"] for each in told] == [0, 2, 4, 6, 8, 10, 0]
    complaints = [line for line in printed.err.splitlines() if "frame" in line and "in.extxyz" in line]
    assert len(complaints) == len(bad)
    assert "no atoms" in complaints[0]
    for number, complaint in zip(bad[:-1], complaints, strict=False):
        assert f"in.extxyz, frame {number}" in complaint
    assert "cut short" in complaints[-1]
    assert "6 of 13 structures were left out" in printed.err
    if ending == "extxyz":
        assert len(read(output, ":")) == 7
    else:
        assert len(output.read_text().splitlines()) == 7 + (ending == "csv")


def test_one_object_may_come_many_times():
    atoms = pair(3.7)
    potential = halocline.load(MODEL)
    found = evaluate_frames(
        potential,
        potential.evaluator("torch", "float64", "cpu", "none", "auto"),
        (Frame("x", i, atoms) for i in range(300)),
    )
    assert {each.result.energy for each in found} == {potential(atoms, dtype="float64").energy}


def test_a_pipe_is_read_as_it_goes(monkeypatch, tmp_path, frames):
    """What was written so far is in the file when the pipe breaks."""
    text = extended_xyz(frames)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text[:-5])))
    assert run("-", "-o", tmp_path / "out.csv") == 1
    assert len((tmp_path / "out.csv").read_text().splitlines()) == len(frames)  # the last is torn, a header came


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("tail", ["whole", "torn", "more", "journal torn", "journal behind", "cut back"])
def test_resumed_results_are_those_of_one_call(source, tmp_path, ending, tail, capsys, monkeypatch):
    monkeypatch.setattr(result_files, "PATIENCE", 1e9)  # batches of the same size in every call
    output, whole = tmp_path / f"out.{ending}", tmp_path / f"whole.{ending}"
    assert run(source, "-o", whole) == 0
    stopped_after(source, output, 150, monkeypatch)
    journal = journal_path(output)
    before = output.read_bytes()
    if tail == "torn":
        output.write_bytes(before + whole.read_bytes()[len(before) : len(before) + 37])
    elif tail == "more":
        output.write_bytes(before + b"\x00" * 500)
    elif tail == "journal torn":
        journal.write_bytes(journal.read_bytes()[:-20])
    elif tail == "journal behind":
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    elif tail == "cut back":  # by a power cut
        output.write_bytes(before[:-40])
    capsys.readouterr()
    assert run(source, "-o", output, "--resume") == 0
    assert output.read_bytes() == whole.read_bytes()
    assert "has the first" in capsys.readouterr().err
    assert run(source, "-o", output, "--resume") == 0  # finished: nothing is left to do
    assert output.read_bytes() == whole.read_bytes()


def stopped_after(source, output, count, monkeypatch):
    """Evaluate a file and be interrupted after so many frames."""
    add = ResultFile.add
    seen = 0

    def interrupted(self, evaluated, numbers):
        nonlocal seen
        if seen == count:
            raise KeyboardInterrupt
        seen += 1
        add(self, evaluated, numbers)

    monkeypatch.setattr(ResultFile, "add", interrupted)
    assert run(source, "-o", output) == 130
    monkeypatch.setattr(ResultFile, "add", add)


def test_failures_before_and_after_a_resumption_are_counted(tmp_path, capsys, monkeypatch):
    path, bad = bad_input(tmp_path)
    output = tmp_path / "out.csv"
    stopped_after(path, output, 6, monkeypatch)
    capsys.readouterr()
    assert run(path, "-o", output, "--resume") == 1
    printed = capsys.readouterr()
    assert f"{len(bad)} of 12 structures were left out" in printed.err
    assert run(path, "-o", output, "--resume") == 1


WRONG = {
    "another model": lambda path, output: ["-m", "water-revpbe0d3-schnet"],
    "another dtype": lambda path, output: ["--dtype", "float64"],
    "another structure": lambda path, output: path.write_bytes(path.read_bytes().replace(b"3.51", b"3.52", 1)),
    "fewer structures": lambda path, output: write(path, read(path, ":100")),
    "no journal": lambda path, output: journal_path(output).unlink(),
    "an empty journal": lambda path, output: journal_path(output).write_bytes(b""),
    "a changed file": lambda path, output: output.write_bytes(b"x" + output.read_bytes()[1:]),
    "a number changed": lambda path, output: output.write_bytes(output.read_bytes().replace(b",150,", b",950,")),
    "another structure, and torn": lambda path, output: torn_with_another_structure(path, output),
}


def torn_with_another_structure(path, output):
    WRONG["another structure"](path, output)
    output.write_bytes(output.read_bytes() + b"in.extxyz,20")


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_belong_together_is_refused_and_stays(source, tmp_path, capsys, wrong, monkeypatch):
    output = tmp_path / "out.csv"
    stopped_after(source, output, 200, monkeypatch)
    more = WRONG[wrong](source, output)
    before = output.read_bytes()
    capsys.readouterr()
    words = more if isinstance(more, list) else []
    model = [] if "-m" in words else ["-m", MODEL]
    assert main(["run", str(source), "-o", str(output), "--resume", *words, *model]) == 1
    assert "--output" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert run(source, "-o", output) == 2  # neither --resume nor --overwrite
    assert output.read_bytes() == before
    assert run(source, "-o", output, "--overwrite") == 0
    assert output.read_bytes() != before


def test_results_are_not_replaced_before_there_are_new_ones(tmp_path, source):
    output = tmp_path / "out.csv"
    output.write_text("precious\n")
    write(tmp_path / "water.extxyz", Atoms("H2O", positions=np.eye(3)))
    assert run(tmp_path / "water.extxyz", "-o", output, "--overwrite") == 1
    assert output.read_text() == "precious\n"
    assert run(source, "-o", output, "--resume") == 1  # of no call of ours
    assert output.read_text() == "precious\n"


def test_two_processes_do_not_write_one_file(tmp_path):
    identity = {"model": "x"}
    with (
        ResultFile(tmp_path / "out.csv", identity),
        pytest.raises(OutputError, match="Another process is writing"),
        ResultFile(tmp_path / "out.csv", identity),
    ):
        pass


@pytest.mark.parametrize("words", [["--resume"], ["--overwrite"], ["-o", "out.traj"], ["-o", "none/out.csv"]])
def test_outputs_without_sense_are_wrong_calls(source, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(source, *words) == 2


def test_an_input_by_another_name_is_not_replaced(source, tmp_path):
    before = source.read_bytes()
    os.link(source, tmp_path / "link.extxyz")
    assert run(source, "-o", tmp_path / "link.extxyz", "--overwrite") == 2
    assert source.read_bytes() == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_disk_that_fills_leaves_whole_records_to_go_on_from(source, tmp_path, capsys, ending):
    output, whole = tmp_path / f"out.{ending}", tmp_path / f"whole.{ending}"
    assert run(source, "-o", whole) == 0
    capsys.readouterr()
    with disk_that_fills(whole.stat().st_size * 2 // 3):
        assert run(source, "-o", output) == 1
    assert "What it holds so far is whole" in capsys.readouterr().err
    kept = output.read_bytes()
    assert 0 < len(kept) < whole.stat().st_size
    assert whole.read_bytes().startswith(kept)
    assert kept.endswith(b"\n")
    assert run(source, "-o", output, "--resume") == 0
    assert output.read_bytes() == whole.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_work_is_gone_on_with(source, tmp_path, number):
    output, whole = tmp_path / "out.extxyz", tmp_path / "whole.extxyz"
    assert run(source, "-o", whole) == 0
    said = killed_run(source, output, MODEL, number)
    assert number == signal.SIGKILL or "--resume goes on" in said
    assert 0 < output.stat().st_size < whole.stat().st_size
    assert run(source, "-o", output, "--resume") == 0
    for found, expected in zip(read(output, ":"), read(whole, ":"), strict=True):
        assert found == expected
        for name, value in expected.calc.results.items():
            np.testing.assert_allclose(found.calc.results[name], value, rtol=CUT_ELSEWHERE, atol=0, err_msg=name)


def test_whoever_stops_reading_ends_the_work(source):
    program = "import sys; from halocline.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "run", *[str(source)] * 10, "-m", MODEL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 128 + signal.SIGPIPE


def test_files_are_read_on_after_one_that_is_damaged(tmp_path, source):
    (tmp_path / "bad.extxyz").write_text("nonsense\n")
    found = [each.content for each in read_all([str(tmp_path / "bad.extxyz"), str(source)])]
    assert [isinstance(each, Atoms) for each in found] == [False] + [True] * 300


def test_what_all_frames_lack_is_said_once(tmp_path, caplog):
    atoms = pair(3.7)
    atoms.set_constraint(FixBondLength(0, 1))
    write(tmp_path / "in.traj", [atoms] * 5)
    for _ in range(2):  # in each call
        caplog.clear()
        assert run(tmp_path / "in.traj", "-o", tmp_path / "out.extxyz", "--overwrite") == 0
        assert sum("FixBondLength" in message for message in caplog.messages) == 1

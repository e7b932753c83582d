"""Closed ends and narrow encodings of the standard streams undo no finished work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write

MODEL = "lennard-jones-argon"
MAIN = [sys.executable, "-m", "halocline"]
NARROW = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def crystal(tmp_path):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.info["title"] = "Å"
    write(tmp_path / "kühl.extxyz", atoms)
    return "kühl.extxyz"


def call(words, folder, environment=None, redirect="", **options):
    command = " ".join(["exec", *(f"'{word}'" for word in [*MAIN, *words]), redirect])
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=os.environ | (environment or {}),
        capture_output=True,
        timeout=120,
        check=False,
        **options,
    )


def test_dynamics_that_finished_prints_in_any_encoding(crystal, tmp_path):
    words = ["md", crystal, "-m", MODEL, "--steps", "2", "--temperature", "20", "-o", "md"]
    done = call(words, tmp_path, NARROW)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"+- " in done.stdout
    assert b"us/atom/step" in done.stdout
    done.stdout.decode("ascii")
    assert len(read(tmp_path / "md.extxyz", ":")) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_json_stays_json(crystal, tmp_path, encoding):
    done = call(["run", crystal, "-m", MODEL, "--json"], tmp_path, {"PYTHONIOENCODING": encoding})
    assert done.returncode == 0
    assert json.loads(done.stdout)[0]["file"] == crystal


def test_a_message_in_a_narrow_encoding_is_still_a_sentence(tmp_path):
    done = call(["run", "fehlt-Å.extxyz", "-m", MODEL], tmp_path, NARROW)
    assert done.returncode == 1
    assert done.stderr.startswith(b"halocline: fehlt-")


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_end_in_the_files_of_a_run(crystal, tmp_path, redirect):
    words = ["md", crystal, "-m", MODEL, "--steps", "2", "--temperature", "20", "--interval", "1", "-o", "md"]
    assert call(words, tmp_path, redirect=redirect).returncode == 0
    assert len(read(tmp_path / "md.extxyz", ":")) == 3
    assert len((tmp_path / "md.csv").read_text().splitlines()) == 4


def test_closed_standard_input_is_named(tmp_path):
    done = call(["run", "-", "-m", MODEL], tmp_path, redirect="<&-")
    assert done.returncode == 2
    assert b"Standard input is closed" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_at_standard_output_is_one_sentence(crystal, tmp_path):
    done = call(["run", crystal, "-m", MODEL], tmp_path, redirect=">/dev/full")
    assert done.returncode == 1
    assert done.stderr.decode() == "halocline: [Errno 28] No space left on device\n"


def test_messages_to_a_broken_pipe_do_not_end_the_work(crystal, tmp_path):
    words = ["relax", crystal, "-m", MODEL, "--max-steps", "0", "--fmax", "1e-9", "-o", "r.extxyz"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*MAIN, *words], cwd=tmp_path, stderr=writer, stdout=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.returncode == 0 or read(tmp_path / "r.extxyz") is not None
    assert b"r.extxyz" in done.stdout

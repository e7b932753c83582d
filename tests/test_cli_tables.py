"""What is printed fits a page: no column is cut, padded or empty, nothing is said twice, no word is broken."""

import json
import os
import subprocess
import sys

import pytest
from ase.build import bulk
from ase.io import write
from rich.cells import cell_len

import halocline
from halocline.cli.main import main
from halocline.cli.tables import PAGE, facts, table
from halocline.zoo.shown import shown

MODEL = "lennard-jones-argon"
WATER = "water-revpbe0d3-schnet"


def assert_fits(text, width=PAGE):
    for line in text.splitlines():
        assert line == line.rstrip()
        assert cell_len(line) <= width or len(line.split()) == 1, line


@pytest.fixture
def structures(tmp_path):
    """Three frames, in a folder whose path is longer than a page."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    write(folder / "a.extxyz", [bulk("Ar", "fcc", size, cubic=True) for size in (5.2, 5.3, 5.4)])
    return folder / "a.extxyz"


COMMANDS = {
    "run": ("run", "FILE", "-m", MODEL),
    "run two files": ("run", "FILE", "FILE", "-m", MODEL),
    "md": ("md", "FILE", "-m", MODEL, "--steps", "2", "-o", "OUT"),
    "relax": ("relax", "FILE", "-m", MODEL, "--cell", "-o", "OUT.extxyz"),
    "export": ("export", MODEL, "--backend", "ipu:atoms=8,neighbours=8", "-o", "OUT.ipu.zip"),
    "plugins": ("plugins",),
    "zoo list": ("zoo", "list"),
    "zoo show": ("zoo", "show", WATER),
    "zoo show argon": ("zoo", "show", MODEL),
    "zoo show universal": ("zoo", "show", "m3gnet-matpes-pbe"),
    "zoo verify": ("zoo", "verify", MODEL),
    "bench": ("bench", "-m", MODEL, "--backend", "torch", "--atoms", "20,30", "--steps", "2"),
}


#: Widths that are none are read in one place: one command stands for all.
PAGES = [(name, columns) for name in COMMANDS for columns in (None, "40")]
PAGES += [("run", columns) for columns in ("0", "abc", "-5", "1", "500")]


@pytest.mark.parametrize(("name", "columns"), PAGES)
def test_every_command_fits_a_page(name, columns, structures, tmp_path, monkeypatch, capsys):
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    words = [word.replace("FILE", str(structures)) for word in COMMANDS[name]]
    assert main([word.replace("OUT", str(tmp_path / "out")) for word in words]) == 0
    out = capsys.readouterr().out
    assert out.strip()
    if name != "zoo verify":  # one sentence, for a script to read
        assert_fits(out, 40 if columns == "40" else PAGE)


def test_what_all_rows_share_is_said_once(structures, capsys):
    assert main(["run", str(structures), "-m", MODEL]) == 0
    out = capsys.readouterr().out
    assert out.count(str(structures)) == out.count("Ar4") == 1
    assert main(["plugins"]) == 0
    assert capsys.readouterr().out.count(halocline.__version__) == 1


def test_rows_that_differ_are_all_there(capsys):
    table("", ("a", "b", "empty"), [("x", 1, ""), ("x", 2, "")])
    assert capsys.readouterr().out.split() == ["a", "x", "b", "─", "1", "2"]


@pytest.mark.parametrize("width", ["20", "40", "100"])
@pytest.mark.parametrize(
    "cell", ["word " * 60, "/folder" * 30, "水" * 90, "e\u0301" * 30 + " a" * 60, "a\nb", "", "水/" * 60]
)
def test_any_text_in_any_place(cell, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    table("", ("first", "second", "n"), [(cell, "b", 1), ("a", cell, 2), ("c", "d", 3)])
    facts("", {"name": cell, "deeper": {"name": cell, cell or "x": "value"}})
    out = capsys.readouterr().out
    assert_fits(out, int(width))
    for word in cell.split():
        if "/" in word:
            assert out.count(word) == 5  # in the table twice, in the list three times


def test_numbers_stand_to_the_right(capsys):
    table("", ("name", "energy"), [("a", "-1.5"), ("b", "–"), ("c", "100.25")])
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_encoding_is_written(encoding, structures):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    words = ["run", str(structures), "-m", MODEL]
    done = subprocess.run(
        [sys.executable, "-m", "halocline", *words], env=environment, capture_output=True, check=True
    )
    assert_fits(done.stdout.decode(encoding))


def test_a_model_is_shown_without_repeats_and_whole_in_json(capsys):
    assert main(["zoo", "show", WATER, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main(["zoo", "show", WATER]) == 0
    out = capsys.readouterr().out
    assert out.count(whole["summary"][:40]) == out.count(whole["citation"][0][:40]) == 1
    assert "88 of 110: 0–4, 6–7, 12," in out
    assert len(whole["card"]["recipe"]["frames"]["train"]) == 88
    before = json.dumps(whole)
    shown(whole)
    assert json.dumps(whole) == before  # what is printed as JSON is not changed by showing it

"""Results say which kernels ran, and are gone on with by no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.io import read, write

import halocline
from halocline.cli.main import main
from halocline.plugins.kernels.schnet import FusedSchNet
from halocline.plugins.kernels.tables import Tables

WATER = ["-m", "water-revpbe0d3-schnet", "--prune", "1", "--device", "cpu"]


def ran(*, compressed):
    tables = {"kernel": "halocline/tables", "version": Tables.version, "exact": False, "stages": 1}
    fused = {"kernel": "halocline/schnet", "version": FusedSchNet.version, "exact": True, "stages": 2}
    return [tables, fused] if compressed else [fused]


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HALOCLINE_DISABLE_KERNELS", raising=False)
    atoms = read(Path(__file__).parents[1] / "examples/water.extxyz")[:6]
    atoms.set_pbc(False)
    atoms.calc = halocline.load("water-revpbe0d3-schnet", prune=1).calculator(device="cpu")
    atoms.get_forces()
    write("start.extxyz", atoms)


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["run", "start.extxyz"], lambda told: told[0]["kernels"]),
        (["eval", "start.extxyz"], lambda told: told["kernels"]),
        (["md", "start.extxyz", "--steps", "1"], lambda told: told["kernels"]),
        (["relax", "start.extxyz", "--max-steps", "1", "--fmax", "100"], lambda told: told["kernels"]),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_results_say_which_kernels_ran(words, found, capsys):
    for options, expected in (
        ((), ran(compressed=False)),
        (("--compress",), ran(compressed=True)),
        (("--backend", "torch:kernels=off"), []),
    ):
        overwrite = ["--overwrite"] if words[0] in ("md", "relax") else []
        assert main([*words, *WATER, "--json", *options, *overwrite]) == 0
        assert found(json.loads(capsys.readouterr().out)) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("start")
def test_measurements_say_which_kernels_ran(capsys):
    words = ["bench", *WATER, "--backend", "torch", "--structure", "start.extxyz", "--atoms", "6", "--steps", "1"]
    assert main([*words, "--json", "--compress"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["measurement"]["kernels"] == ran(compressed=True)


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["run", "start.extxyz", "-o", "out.csv"], []),
        (["md", "start.extxyz", "--checkpoint-interval", "1"], ["2"]),
    ],
    ids=["run", "md"],
)
def test_what_one_kernel_began_no_other_goes_on_with(words, more, capsys, monkeypatch):
    steps = ["--steps", "1"] if more else []
    assert main([*words, *WATER, *steps]) == 0
    monkeypatch.setattr(FusedSchNet, "version", FusedSchNet.version + 1)
    steps = ["--steps", *more] if more else []
    assert main([*words, *WATER, *steps, "--resume"]) != 0
    assert "kernel halocline/schnet was " in capsys.readouterr().err
    monkeypatch.setenv("HALOCLINE_DISABLE_KERNELS", "schnet,convolution")
    assert main([*words, *WATER, *steps, "--resume"]) != 0
    assert "stages of halocline/schnet was 2, now None" in capsys.readouterr().err

"""No result that is not finite leaves an evaluator, on any path, and no frame takes the others down with it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read, write

import halocline
from halocline.cli.main import main
from halocline.errors import NotFiniteError
from halocline.evaluator.result import Result
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

ARGON = "lennard-jones-argon"
#: Far enough for a number, and so near that 1/r¹² has none in float32.
GOOD, BAD = 3.8, 0.002

PATHS = {
    "whole": {},
    "in parts": {"partition": "rcb:2"},
    "exchange": {"partition": "rcb:2", "halo": "exchange"},
    "onnx": {"backend": "onnx:threads=1"},
    "ranks": {"backend": "ddp:ranks=2"},
    "aot": {"backend": "torch:compile=aot"},
    "ipu": {"backend": "ipu:target=cpu"},
}
SLOW = {"aot": [pytest.mark.slow, pytest.mark.exhaustive], "ipu": [pytest.mark.slow]}


def pair(distance, symbols="Ar2", **cell):
    return Atoms(symbols, positions=[(0, 0, 0), (0, 0, distance)], **cell)


@pytest.fixture(scope="module")
def argon():
    return halocline.load(ARGON)


@pytest.fixture
def overflowing(tmp_path):
    """A model with a reference energy that only overflows in the sum over atoms."""
    backbone = build_backbone("lennard-jones", halocline.load(ARGON).backbone.config)
    Potential(backbone, {"Ar": 1e308}, {}).save(tmp_path / "huge.safetensors")
    return tmp_path / "huge.safetensors"


@pytest.mark.parametrize("path", [pytest.param(name, marks=SLOW.get(name, ())) for name in PATHS])
def test_every_path_refuses_and_goes_on(argon, path):
    with pytest.raises(NotFiniteError, match=r"^Ar2: The energy of atom 0 .*not finite\."):
        argon(pair(BAD), device="cpu", **PATHS[path])
    calculator = argon.calculator(device="cpu", **PATHS[path])
    assert calculator.get_potential_energy(pair(GOOD)) < 0.0
    with pytest.raises(NotFiniteError):
        calculator.get_forces(pair(BAD))
    assert calculator.get_potential_energy(pair(GOOD)) < 0.0
    calculator.close()


def test_a_calculator_keeps_no_results_of_the_structure_before(argon):
    calculator = argon.calculator()
    calculator.calculate(pair(GOOD))
    with pytest.raises(NotFiniteError):
        calculator.calculate(pair(BAD))
    with pytest.raises(NotFiniteError):
        calculator.get_property("energy", pair(BAD))


def test_reference_energies_that_overflow_are_refused(overflowing):
    model = halocline.load(overflowing)
    assert model(pair(GOOD)[:1]).energy == 1e308
    with pytest.raises(NotFiniteError, match="The total energy is inf eV"):
        model(pair(GOOD))


WHOLE = Result(energies=np.ones(3), forces=np.ones((3, 3)), virial=np.eye(3), volume=2.0)
HUGE = np.finfo(np.float64).max


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            {"energies": np.array([1.0, np.nan, np.inf])},
            r"energy of atom 1 \(the first of 2 such atoms\) is nan eV",
        ),
        ({"energies": np.array([HUGE, HUGE, 1.0])}, "total energy is inf eV"),
        ({"forces": np.array([[1.0] * 3, [1.0] * 3, [1.0, -np.inf, 1.0]])}, "force of atom 2 is 1 -inf 1 eV/Å"),
        ({"virial": np.full((3, 3), np.nan)}, "virial is nan"),
        ({"volume": np.inf}, "volume is inf Å³"),
        ({"virial": np.eye(3) * HUGE, "volume": 0.5}, "stress is inf"),
        ({"virial": np.eye(3), "volume": 0.0}, "stress is inf"),
    ],
)
def test_a_result_cannot_be_made_of_such_numbers(broken, words):
    """Whoever writes an evaluator has to make one of these."""
    with pytest.raises(NotFiniteError, match=words):
        replace(WHOLE, **broken)


@pytest.fixture
def frames(tmp_path):
    """Good, too near, good, an element that nobody knows, good."""
    path = tmp_path / "frames.extxyz"
    write(path, [pair(GOOD), pair(BAD), pair(4.0), pair(GOOD, "ArXe"), pair(4.2)])
    return path


def test_other_frames_are_kept_written_and_printed(frames, tmp_path, capsys):
    status = main(["run", str(frames), "-m", ARGON, "--json", "-o", str(tmp_path / "out.extxyz")])
    printed = capsys.readouterr()
    assert status == 1
    records = json.loads(printed.out)
    assert [record["frame"] for record in records] == [0, 2, 4]
    assert [record["energy"] for record in records] == pytest.approx(
        [atoms.get_potential_energy() for atoms in read(tmp_path / "out.extxyz", ":")], abs=1e-8
    )
    first, second, last = printed.err.splitlines()
    assert first.startswith(f"halocline: {frames}, frame 1: Ar2: The energy of atom 0 ")
    assert second.startswith(f"halocline: {frames}, frame 3: The model does not know Xe")
    assert last == "halocline: 2 of 5 structures were left out."


def test_without_a_good_frame_nothing_is_written(tmp_path, capsys):
    write(tmp_path / "bad.extxyz", pair(BAD))
    output = tmp_path / "out.extxyz"
    assert main(["run", str(tmp_path / "bad.extxyz"), "-m", ARGON, "-o", str(output)]) == 1
    assert capsys.readouterr().out == ""
    assert not output.exists()
    assert main(["run", str(tmp_path / "bad.extxyz"), "-m", ARGON, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_numbers_that_only_the_table_derives_are_refused_alike(tmp_path, capsys, monkeypatch):
    """Forces and stress that are finite, and whose norm or pressure in GPa are not."""
    write(tmp_path / "ar.extxyz", pair(GOOD, cell=[20, 20, 20], pbc=True))
    for broken, words in (
        ({"forces": np.full((3, 3), 1e200)}, "greatest force"),
        ({"virial": np.eye(3) * 3e307}, ""),
    ):
        found = [replace(WHOLE, **broken)]
        monkeypatch.setattr(Potential, "evaluate_many_with", lambda *_, found=found: found)
        assert main(["run", str(tmp_path / "ar.extxyz"), "-m", ARGON, "--json"]) == 1
        printed = capsys.readouterr()
        assert json.loads(printed.out) == []
        assert f"frame 0: The {words}" in printed.err


@pytest.mark.parametrize("command", ["md", "relax"])
def test_dynamics_and_relaxation_name_the_structure(command, tmp_path, capsys):
    write(tmp_path / "near.extxyz", pair(BAD))
    length = ["--steps", "3"] if command == "md" else []
    words = [command, str(tmp_path / "near.extxyz"), "-m", ARGON, "-o", str(tmp_path / "out.extxyz"), *length]
    assert main(words) == 1
    assert f"halocline: {tmp_path / 'near.extxyz'}: Ar2: The energy of atom 0 " in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == {"near.extxyz"}


def test_relaxation_stops_at_a_pressure_that_is_not_finite(tmp_path):
    """Of a calculator that is not ours."""
    from halocline.dynamics.goal import Goal
    from halocline.dynamics.relaxation import relax
    from halocline.errors import DynamicsError

    class Pressed(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=None, system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results = {"energy": 0.0, "forces": np.ones((2, 3)), "stress": np.full(6, np.nan)}

    atoms = pair(GOOD, cell=[9, 9, 9], pbc=True)
    with pytest.raises(DynamicsError, match="pressure nan GPa"):
        relax(atoms, Pressed(), Goal(), path=tmp_path / "steps.extxyz", log=tmp_path / "steps.csv")

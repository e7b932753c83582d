"""``halocline bench`` measures the right thing, and says what it cannot measure. No time is judged."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from fake_backends import install

from halocline.bench import Request, measure_all
from halocline.bench.structures import Motion, disordered_box, repeated
from halocline.cli.main import main
from halocline.errors import StructureError
from halocline.isolation import CallOutcome
from halocline.plugin import registry

MODEL = "lennard-jones-argon"
GB = 10**9
REQUEST = Request(
    model=MODEL,
    prune=None,
    backend="",
    dtype="float64",
    device="auto",
    atoms=0,
    density=0.02,
    structure=None,
    steps=2,
)


@pytest.fixture
def _fakes(tmp_path, monkeypatch):
    """Let this process, and those that it starts, find the fake backends."""
    for name, value in install(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.mark.parametrize("atoms", [1, 2, 27, 100, 1000])
def test_box_has_atoms_density_and_species_as_asked(atoms):
    box = disordered_box(("H", "O"), atoms, 0.1)
    assert len(box) == atoms
    assert box.pbc.all()
    np.testing.assert_allclose(len(box) / box.get_volume(), 0.1)
    assert abs(sum(box.symbols == "H") - sum(box.symbols == "O")) <= 1
    assert box == disordered_box(("H", "O"), atoms, 0.1)


def test_atoms_of_a_box_keep_apart():
    box = disordered_box(("Ar",), 200, 0.1)
    distances = box.get_all_distances(mic=True)[np.triu_indices(200, 1)]
    spacing = box.cell.lengths()[0] / 6  # 6³ sites
    assert distances.min() > 0.69 * spacing


@pytest.mark.parametrize(("pbc", "atoms"), [(True, 32), ((True, True, False), 36)])
def test_structure_is_repeated_where_it_is_periodic(pbc, atoms):
    unit = bulk("Ar", "fcc", 5.3, cubic=True)
    unit.pbc = pbc
    larger = repeated(unit, 30)
    assert len(larger) == atoms
    np.testing.assert_allclose(larger.cell.lengths()[~larger.pbc], 5.3)


def test_molecule_cannot_be_repeated():
    assert len(repeated(Atoms("Ar2", positions=np.eye(3)[:2]), 2)) == 2
    with pytest.raises(StructureError, match="cannot become 3"):
        repeated(Atoms("Ar2", positions=np.eye(3)[:2]), 3)


def test_every_step_moves_every_atom_as_far_as_heat_does():
    start = disordered_box(("Ar",), 500, 0.02)
    motion = Motion(start)
    first, second = motion.step(), motion.step()
    np.testing.assert_allclose(second.positions - start.positions, 2 * (first.positions - start.positions))
    speed = np.std(first.positions - start.positions) / 0.5  # Å/fs
    np.testing.assert_allclose(speed, 2.5e-3, rtol=0.05)  # √(kT/m) of argon at 300 K is 250 m/s


def answering(monkeypatch, memory):
    """Let measurements be answered by a rule instead of a process; return the sizes that were asked for."""
    asked = []

    def call(target, argument, seconds):
        asked.append((argument["backend"], argument["atoms"]))
        atoms = argument["atoms"]
        values = {"atoms": atoms, "total_memory": memory(argument["backend"], atoms), "available": 10 * GB}
        return (
            CallOutcome(({"usable": True}, values)) if values["total_memory"] else CallOutcome((), "It crashed.")
        )

    monkeypatch.setattr("halocline.bench.campaign.call", call)
    return asked


def test_sizes_end_where_memory_does(monkeypatch):
    """10 MB and 1 MB per atom: 8000 atoms would need 8.01 GB, more than the share of 10 GB that may be used."""
    asked = answering(monkeypatch, lambda backend, atoms: 10**7 + 10**6 * atoms)
    rows = list(measure_all(REQUEST, ["a"], [100, 1000, 7000, 8000, 9000]))
    assert [atoms for _, atoms in asked] == [100, 1000, 7000]
    assert [row.atoms for row in rows] == [100, 1000, 7000, 8000]
    assert rows[-1].reason == "It would need about 8.0 GB, and 10.0 GB are free."


def test_backend_that_fails_is_left_out_and_the_others_go_on(monkeypatch):
    asked = answering(monkeypatch, lambda backend, atoms: 0 if (backend, atoms) == ("b", 200) else 1)
    rows = list(measure_all(REQUEST, ["a", "b"], [100, 200, 300]))
    assert asked == [("a", 100), ("b", 100), ("a", 200), ("b", 200), ("a", 300)]
    assert [(row.backend, row.atoms) for row in rows if row.reason] == [("b", 200)]


@pytest.mark.slow
@pytest.mark.usefixtures("_fakes")
def test_report_has_numbers_machine_and_reasons(tmp_path, capsys):
    write(tmp_path / "argon.xyz", Atoms("Ar"))
    words = ["bench", "-m", MODEL, "--atoms", "8,12", "--density", "0.02", "--steps", "4", "--dtype", "float64"]
    backends = ["torch", "sound:speed=2", "absent", "crashing"]
    options = [word for backend in backends for word in ("--backend", backend)]
    assert main([*words, *options, "--json", str(tmp_path / "report.json")]) == 1
    printed = capsys.readouterr()
    assert "sound:speed=2" in printed.out
    assert "absent, 8 atoms: The package fake-runtime is missing" in printed.err
    assert "crashing, 8 atoms: It was ended by SIGSEGV." in printed.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["machine"]["processor"]
    assert report["request"]["model"] == MODEL
    measured = {(row["backend"], row["atoms"]): row for row in report["rows"] if row["measurement"]}
    assert set(measured) == {(name, atoms) for name in backends[:2] for atoms in (8, 12)}
    for row in measured.values():
        numbers = row["measurement"]
        assert (numbers["atoms"], numbers["steps"], numbers["threads"]) == (row["atoms"], 4, 1)
        assert min(numbers[name] for name in ("start", "time", "mean_time", "ratio", "memory", "available")) > 0
        assert numbers["total_memory"] >= numbers["memory"]
    assert measured["sound:speed=2", 8]["diagnosis"]["versions"] == {"fake": "1.0"}


@pytest.mark.slow
def test_structure_of_a_file_is_repeated(tmp_path, capsys):
    write(tmp_path / "argon.xyz", bulk("Ar", "fcc", 5.3, cubic=True), format="extxyz")
    words = ["bench", "-m", MODEL, "--backend", "torch", "--atoms", "10", "--steps", "1"]
    assert main([*words, "--structure", str(tmp_path / "argon.xyz"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["measurement"]["atoms"] == 16


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--backend", "troch"], "did you mean 'torch'?"),
        (["--atoms", "100,100"], "--atoms must be different numbers"),
        (["--atoms", "0"], "above 0"),
        (["--atoms", "many"], "not 'many'"),
        (["--steps", "0"], "--steps at least 1"),
        (["--density", "0"], "--density must be above 0"),
        (["--json", "none/report.json"], "does not exist"),
    ],
)
def test_wrong_call_is_one_sentence_before_any_work(words, hint, capsys):
    assert main(["bench", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("halocline: ")
    assert printed.err.count("\n") == 1
    assert hint in printed.err

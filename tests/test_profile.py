"""``halocline profile`` counts every part of a step once, and changes no number. No time is judged."""

import json
from itertools import count

import pytest
from ase.build import bulk, molecule
from ase.io import read, write

import halocline
from halocline import shares as counting
from halocline.bench.step_shares import step_shares
from halocline.cli.main import main
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.shares import OTHER, SECTIONS, Shares, timed

STEPS = 3


@pytest.fixture
def _ticks(monkeypatch):
    """A clock that goes on by 1 s whenever somebody looks at it."""
    ticks, cpu_ticks = count(), count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr("time.process_time", lambda: float(next(cpu_ticks)))


@pytest.fixture
def argon(tmp_path):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 3
    atoms.rattle(0.1, seed=0)
    write(tmp_path / "argon.extxyz", atoms)
    return tmp_path / "argon.extxyz"


@timed("cut")
def inner(fails=False):
    if fails:
        raise ValueError("as told")


@timed("layout")
def outer(*, fails=False):
    inner()
    inner(fails)


@pytest.mark.usefixtures("_ticks")
def test_sections_are_counted_without_those_within_them():
    shares = Shares()
    outer()
    with shares.counted():
        outer()
    outer()
    # One tick passes between two marks: layout is open before, between and after the two cuts.
    assert {name: seconds for name, seconds in shares.wall.items() if seconds} == {"layout": 3, "cut": 2, OTHER: 2}
    assert shares.wall == shares.cpu
    assert shares.calls["cut"] == 2


@pytest.mark.usefixtures("_ticks")
def test_section_that_fails_is_left():
    shares = Shares()
    with shares.counted():
        with pytest.raises(ValueError, match="as told"):
            outer(fails=True)
        outer()
    assert shares.wall[OTHER] == 3
    assert shares.wall["layout"] == 6


def test_sections_wait_for_the_device():
    waits = []
    with Shares(lambda: waits.append(1)).counted():
        inner()
    assert len(waits) == 4  # at both ends of the count and of the section


@pytest.mark.usefixtures("_ticks")
def test_sections_add_up_to_the_step(argon):
    calculator = halocline.load("lennard-jones-argon").calculator()
    found = step_shares(read(argon), calculator, Settings(), STEPS)
    for total, parts in ((found.wall, found.shares.wall), (found.cpu, found.shares.cpu)):
        # Its own clock is looked at once before and once after; everything between is in some section.
        assert total == sum(parts.values()) + 2


@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_every_section_is_entered(argon, halo):
    calculator = halocline.load("lennard-jones-argon").calculator(halo=halo)
    atoms = read(argon)
    atoms.set_array("momenta", atoms.positions - atoms.positions.mean(0))  # so fast that neighbours are searched
    found = step_shares(atoms, calculator, Settings(ensemble="nve", timestep=3.0), 20)
    assert {name for name in SECTIONS if not found.shares.calls[name]} == set()
    # A step whose candidates still hold is prepared, and does not ask for its list.
    assert 0 < found.searches <= found.shares.calls["list"] <= found.shares.calls["cut"]
    assert found.searches < 20
    assert all(seconds >= 0 for seconds in found.shares.wall.values())


def test_counting_changes_no_number(argon, tmp_path):
    def run(name):
        output = RunFiles(tmp_path / name)
        run_dynamics(read(argon), potential.calculator(), Settings(frame_interval=1), output, steps=STEPS)
        return output.trajectory.read_bytes(), output.log.read_bytes()

    potential = halocline.load("lennard-jones-argon")
    plain = run("plain")
    with Shares().counted():
        counted = run("counted")
    assert counted == plain
    assert counting._counting.get() is None


def test_report_is_complete(argon, capsys):
    assert main(["profile", "--md", str(argon), "-m", "lennard-jones-argon", "--steps", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["atoms"], report["steps"], report["model"]) == (108, 2, "lennard-jones-argon")
    assert {"machine", "versions", "threads", "evaluation", "settings", "step", "searches"} <= set(report)
    assert set(report["sections"]) == {*SECTIONS, OTHER}
    assert sum(row["share"] for row in report["sections"].values()) == pytest.approx(1.0)
    assert sum(row["ms"] for row in report["sections"].values()) <= report["step"]["ms"]
    for row in (report["step"], *report["sections"].values()):
        assert row["us_per_atom"] == pytest.approx(1e3 * row["ms"] / 108)


def test_table_fits_on_a_page(argon, capsys):
    assert main(["profile", "--md", str(argon), "-m", "lennard-jones-argon", "--steps", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert {line.split()[0] for line in lines if line and line[0] != " "} >= {*SECTIONS, OTHER, "step"} - {
        "list",
        "search",
        "layout",
    }


def test_no_steps_are_refused(argon, capsys):
    assert main(["profile", "--md", str(argon), "-m", "lennard-jones-argon", "--steps", "0"]) == 2
    assert "--steps" in capsys.readouterr().err


def test_structure_is_named_in_errors(tmp_path, capsys):
    write(tmp_path / "water.extxyz", molecule("H2O"))
    assert main(["profile", "--md", str(tmp_path / "water.extxyz"), "-m", "lennard-jones-argon"]) == 1
    assert "water.extxyz" in capsys.readouterr().err

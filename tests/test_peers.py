"""The comparison with peers runs, with this package in the place of a peer; nothing of theirs is installed."""

from __future__ import annotations

import ast
import json
import os
import sys

import numpy as np
import pytest
import torch
from peers import __main__ as script
from peers import first_calls, growth, structures
from peers.comparison import Group, errors_of
from peers.contender import Contender, ours
from peers.growth_file import GrowthFile, draw, exponents
from peers.models import MODELS, STEPS, Model
from peers.record import Record
from peers.runner import Runner
from peers.table import kilobytes, ratios, table
from peers.threads import gains, measure_roofs, table_of_gains
from peers.worker import Worker

from halocline.model.build import build_backbone

MEASURED = {"machine": {"processor": "slide rule"}}


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """A small SchNet, and a peer that is this package under another name."""
    small = Model("schnet", ("schnetpack",), ("silicon",), {"features": 8, "layers": 1})
    monkeypatch.setitem(MODELS, "small", small)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))

    def peer(name, python, work):
        return Contender(name, "halocline", "with_halocline.py", python, ours("torch", python).options)

    monkeypatch.setattr("peers.contender.peer", peer)


def compared(tmp_path, *options):
    """The exit status, and the document."""
    path = tmp_path / "found" / "peers.json"
    given = ["--output", str(path), "--work", str(tmp_path / "work"), "--models", "small", "--threads", "1"]
    given += ["--peers", "schnetpack", "--env", f"schnetpack={sys.executable}", "--quick", "--atoms", "8"]
    status = script.main([*given, *options])
    return status, json.loads(path.read_text())


@pytest.mark.slow  # three processes that import torch
def test_the_harness_compares_in_turns_and_goes_on_where_it_stopped(stand_in, tmp_path, capsys, monkeypatch):
    plot = tmp_path / "peers.png"
    status, document = compared(tmp_path, "--ours", "torch", "--plot", str(plot))
    printed = capsys.readouterr()
    assert status == 0, printed
    assert plot.stat().st_size > 0
    (comparison,) = document["comparisons"]
    assert list(comparison["contenders"]) == ["schnetpack", "halocline torch"]
    for found in comparison["contenders"].values():
        assert found["errors"]["against"] == "float64"
        assert 0 < found["errors"]["forces_rms"] < 1e-5
        assert len(found["cpu"]["steps"]) == script.QUICK.rounds
        assert found["cutoff"] == 6.0
        assert found["fallbacks"] in (0, 1)
        assert found["versions"]["torch"]
        assert len(found["digest"]) == 64
    assert comparison["neighbours"] == pytest.approx(57.7, abs=1.0)
    assert "schnetpack" in printed.out

    monkeypatch.setattr(script, "compare", lambda *_: pytest.fail("all was done"))
    again = compared(tmp_path, "--ours", "torch")
    assert again[1]["comparisons"] == document["comparisons"]


def test_who_cannot_run_says_why(tmp_path):
    model = tmp_path / "model.safetensors"
    with Worker(ours("no-such-backend", sys.executable), model, 1, "cpu") as worker:
        runner = Runner(worker.contender)
        runner.load(worker, "digest")
        runner.begin(tmp_path / "structure.npz", 8, 3, 60.0)
    assert not runner.runs
    assert str(model) in runner.found["failure"]


@pytest.mark.parametrize("path", sorted(STEPS.glob("*.py")), ids=lambda path: path.name)
def test_scripts_for_other_interpreters_are_python_and_need_nothing_of_ours(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 11))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert path.stem == "with_halocline" or not any(name.startswith(("halocline", "peers")) for name in imported)


def test_names_of_weights_for_schnetpack_are_of_all_weights_of_ours():
    """Which its script checks against the package itself, where that is installed."""
    (names,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((STEPS / "with_schnetpack.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NAMES"
    )
    weights = build_backbone("schnet", {"species": ["Si"], "features": 4, "layers": 2}).state_dict()
    renamed = set()
    for name in weights:
        for mine, theirs in names.items():
            name = name.replace(mine, theirs)
        renamed.add(name)
    assert len(renamed) == len(weights)
    assert all(name.startswith(("representation.", "output_modules.0.outnet.")) for name in renamed)


@pytest.mark.parametrize("name", structures.STRUCTURES)
def test_structures_are_periodic_crystals_of_the_elements_they_promise(name):
    found = structures.structure(name, 64)
    assert len(found) >= 64
    assert found.pbc.all()
    assert set(found.numbers) == set(structures.elements(name))
    assert (found.get_all_distances(mic=True) + 10 * np.eye(len(found))).min() > 0.7


def test_quick_runs_begin_with_what_matters_most():
    groups = list(script.groups(script._parser().parse_args(["--output", "x", "--quick"])))
    assert groups[0] == Group("schnet", "silicon", 1, (216, 1000))
    assert [group.threads for group in groups] == sorted(group.threads for group in groups)
    assert {group.structure for group in groups} == {"silicon", "four-species", "magnesia"}


def test_a_record_of_other_sources_is_left_aside(tmp_path):
    path = tmp_path / "peers.json"
    comparison = dict(zip(("model", "structure", "asked", "threads", "device"), KEY, strict=True))
    comparison |= {"atoms": 64}
    Record(path, MEASURED, {}).add(comparison | {"contenders": {"one": {}}})
    assert Record(path, MEASURED, {}).has(KEY, {"one"})
    assert not Record(path, MEASURED, {}).has(KEY, {"one", "another"})
    assert not Record(path, {"machine": {}}, {}).comparisons
    Record(path, MEASURED, {}).add(comparison | {"contenders": {"one": {"failure": "It fell over."}}})
    assert not Record(path, MEASURED, {}).has(KEY, {"one"})


KEY = ("mace-L0", "silicon", 64, 1, "cpu")


def timed(atoms, **times):
    """A comparison in which everybody took so many µs/atom."""
    contenders = {
        name: {
            "cpu": {"us_per_atom": time, "variation": 0.1},
            "peak": 1_000_000 + 2000 * atoms,
            "errors": {"forces_rms": 1e-6},
        }
        for name, time in times.items()
    }
    where = {"model": "mace-L0", "structure": "silicon", "threads": 1, "device": "cpu", "atoms": atoms}
    return where | {"contenders": contenders}


def test_tables_have_ratios_to_every_peer_and_memory_by_differences():
    rows = [timed(64, peer=100.0, halocline=10.0), timed(128, peer=90.0, halocline=10.0)]
    assert ratios(rows[0], "halocline") == {"peer": 10.0}
    assert kilobytes(rows, rows[0], "halocline") is None
    assert kilobytes(rows, rows[1], "halocline") == pytest.approx(2.0)
    rows[1]["contenders"]["peer"] = {"left_out": "It would need about 9 GiB."}
    assert ratios(rows[1], "halocline") == {}
    text = table(rows, times=False)
    assert "peer 10.00" in text
    assert "9 GiB" in text
    assert "µs/atom" not in text
    assert "µs/atom" in table(rows, times=True)


def test_gains_by_threads_are_held_against_those_of_the_machine():
    """A copy gains 1.5 and a product 2.0 by a second thread: 1.35 is enough, and 1.3 is not."""
    rates = ("bytes_per_s", "flops_per_s")
    roofs = {"1": dict.fromkeys(rates, 10.0), "2": dict(zip(rates, (15.0, 20.0), strict=True))}
    rows = [timed(64, ours=100.0, theirs=100.0), timed(64, ours=100.0 / 1.36, theirs=100.0 / 1.3)]
    rows[1]["threads"] = 2
    for each in rows:
        for found in each["contenders"].values():
            found["wall"] = found.pop("cpu")
    found = list(gains(rows, roofs))
    assert [each["enough"] for each in found] == [True, False]
    assert found[0]["speed_up"] == pytest.approx(1.36)
    assert (found[0]["stream"], found[0]["product"]) == (1.5, 2.0)
    assert "| ours | 1.36 | 1.50 | 2.00 | yes |" in table_of_gains(found)
    assert table_of_gains(gains(rows[:1], roofs)) == ""


def test_roofs_leave_threads_as_they_were():
    before = torch.get_num_threads()
    roofs = measure_roofs("cpu", [1])
    assert torch.get_num_threads() == before
    assert all(rate > 0 for rate in roofs["1"].values())


def test_exponents_of_growth_are_those_of_the_points_and_failures_are_done_again(tmp_path):
    path = tmp_path / "growth.json"
    file = GrowthFile(path, MEASURED)
    file.add({"model": "schnet", "axis": "layers", "value": 1, "atoms": 1000, "failure": "It fell over."})
    for value, atoms in ((64, 64), (1000, 1000), (8000, 8192)):
        time = {"us_per_atom": 3.0 * atoms**0.25}
        file.add({"model": "schnet", "axis": "atoms", "value": value, "atoms": atoms, "cpu": time})
        file.add({"model": "schnet", "axis": "ranks", "value": value, "atoms": atoms, "failure": "It is large."})
    assert json.loads(path.read_text())["exponents"] == {"schnet": {"atoms": pytest.approx(1.25)}}
    assert "FAILED schnet layers 1" in file.text()
    again = GrowthFile(path, MEASURED)
    assert again.has(("schnet", "atoms", 64))
    assert not again.has(("schnet", "layers", 1))
    draw(file.rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 0


def test_what_does_not_fit_is_evaluated_in_parts(monkeypatch, tmp_path):
    for name in ("free_memory", "total_memory"):
        monkeypatch.setattr(growth, name, lambda: 4 * 2**30)
    file = GrowthFile(tmp_path / "growth.json", MEASURED)
    for atoms in (500, 1000):
        row = {"model": "schnet", "axis": "atoms", "value": atoms, "atoms": atoms, "cpu": {"us_per_atom": 1.0}}
        file.add(row | {"peak": atoms * 2**20, "resident_when_loaded": 0})
    assert growth.bound_on_memory(growth.Point("schnet", "atoms", 2000), file.rows) is None
    assert growth.bound_on_memory(growth.Point("mace-L0", "atoms", 97336), file.rows) is None
    assert growth.bound_on_memory(growth.Point("schnet", "layers", 4), file.rows) is None
    large = growth.Point("schnet", "atoms", 8000)
    memory = growth.bound_on_memory(large, file.rows)
    assert memory == f"{int(4 * growth.SHARE_OF_MEMORY)}GiB"
    before = exponents(file.rows)
    file.add(dict(large._asdict()) | {"atoms": 8000, "within": memory, "cpu": {"us_per_atom": 9.0}})
    assert f"schnet atoms 8000: in parts, within {memory}." in file.text()
    assert GrowthFile(tmp_path / "growth.json", MEASURED).has(large)
    assert exponents(file.rows) == before == {"schnet": {"atoms": 1.0}}


def test_points_in_parts_are_measured():
    found = growth.measured(growth.Point("schnet", "atoms", 64), "torch", 1, "2GiB")
    assert found["within"] == "2GiB"
    assert "failure" not in found
    assert len(found["cpu"]["steps"]) == growth.STEPS_IN_PARTS


def test_growth_changes_one_thing_at_a_time():
    for model in growth.CHANNELS:
        three = growth.potential(growth.Point(model, "layers", 3)).backbone
        assert len(three.layers) == 3
        assert three.config[growth.CHANNELS[model]] == 128
        narrow = growth.potential(growth.Point(model, "channels", 32)).backbone
        assert narrow.config[growth.CHANNELS[model]] == 32
        assert len(narrow.layers) == len(growth.potential(growth.Point(model, "atoms", 64)).backbone.layers)
    for wanted in growth.AXES["neighbours"]:
        found = growth.structure(growth.Point("schnet", "neighbours", wanted))
        assert structures.neighbours(found, 6.0) == pytest.approx(wanted, rel=0.2)


@pytest.mark.slow  # a process that imports torch, and one that compiles where kernels do
def test_a_point_of_growth_is_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(growth.AXES, "atoms", (8,))
    options = ["--models", "schnet", "--axes", "atoms", "--way", "torch", "--quick"]
    assert growth.main(["--output", str(tmp_path / "growth.json"), *options]) == 0
    (row,) = json.loads((tmp_path / "growth.json").read_text())["points"]
    assert (row["model"], row["axis"], row["atoms"]) == ("schnet", "atoms", 8)
    assert len(row["cpu"]["steps"]) == growth.QUICK_STEPS


def test_errors_are_relative_to_the_forces():
    right = {"energy": np.float64(-8.0), "forces": np.array([[2.0, 0.0, 0.0]]), "stress": np.zeros((3, 3))}
    found = right | {"energy": np.float64(-7.0), "forces": np.array([[2.0, 0.2, 0.0]])}
    assert errors_of(found, right, 4) == pytest.approx(
        {"energy_per_atom": 0.25, "forces_largest": 0.1, "forces_rms": 0.1, "stress": 0.0}
    )


@pytest.mark.slow
@pytest.mark.exhaustive
def test_first_calls_are_cold_and_then_warm():
    """Of the clock nothing is asked here."""
    found = first_calls.measured("schnet", "compressed file", 1)
    assert found["libraries"] >= 3
    assert set(found["cold"]["kernels"]) == {"halocline/tables", "halocline/schnet"}
    assert found["warm"][0]["kernels"] == found["cold"]["kernels"]
    assert min(found["cold"][name] for name in ("imports", "load", "first", "first_cpu", "second")) > 0.0
    assert found["within"] in (True, False)

"""Backbones on backends, in every dtype, division and host: pairwise here, all of it by `make matrix`."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix import __main__ as matrix
from matrix import axes
from matrix.axes import BACKENDS, DIVISIONS, Cell, bundled, models, product_of, why_not
from matrix.cell import Outcome, run
from matrix.cover import cover, pairs
from matrix.deviation import Deviation
from matrix.record import Record, measured_on

from halocline.isolation import CallOutcome
from halocline.testing.hosts import BUNDLES, HOSTS

#: Backends that take seconds for every model: they compile, or start processes.
SLOW = ("torch:compile", "ipu", "ddp", "onnx:threads=2")

#: Models that are lowered for minutes.
COSTLY = ("jmp",)

#: Backends that compile or lower anew, and the models for which CI lets them; others take a minute or more each.
COMPILING = ("torch:compile", "ipu", "ddp:ranks=2,inner", "onnx:threads=2")
COMPILED = ("lennard-jones", "schnet")

MEASURED = {"machine": {"device": "cpu"}, "sources": {"halocline": "0"}}
PASSED = Outcome("passed", 0.5, Deviation(1e-9, 2e-9, 3e-9, 0.25))


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory) -> Iterator[None]:
    """Compiled programs lie in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def nobody_is_left() -> Iterator[None]:
    """Evaluators go, and with them the processes of their backends; no other cell has use of them."""
    yield
    axes.potential.cache_clear()


def marks(cell: Cell) -> list[pytest.MarkDecorator]:
    """When a cell is run."""
    found = [pytest.mark.slow] if cell.backend.startswith(SLOW) else []
    compiles = cell.backend.startswith(COMPILING) and cell.model not in COMPILED
    lowers = cell.backend.startswith("onnx") and cell.model in COSTLY
    found += [pytest.mark.slow] * lowers
    return found + [pytest.mark.exhaustive] * (compiles or lowers)


@pytest.mark.timeout(2400)  # compiling may take minutes where others compute as well
@pytest.mark.usefixtures("nobody_is_left")
@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=" | ".join(cell), marks=marks(cell)) for cell in cover(bundled(models()))],
)
def test_numbers_are_those_of_the_eager_definition(cell):
    outcome = run(cell)
    if outcome.status == "skipped":
        pytest.skip(outcome.message)
    assert outcome.status == "passed", outcome


@st.composite
def products(draw):
    """The cells of a product from which some are missing."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    cells = list(product(*[[str(value) for value in range(size)] for size in sizes]))
    return draw(st.lists(st.sampled_from(cells), unique=True).map(sorted))


@given(products())
def test_every_pair_is_covered_by_cells_that_can_be_run(cells):
    chosen = cover(cells)
    assert set(chosen) <= set(cells)
    assert set().union(*map(pairs, chosen)) == set().union(*map(pairs, cells))
    assert len(set(chosen)) == len(chosen)


def test_another_backbone_adds_a_cell_for_each_backend_and_changes_no_other(monkeypatch):
    monkeypatch.setattr(axes, "why_not", lambda cell: why_not(cell._replace(model="schnet")))
    names = [f"backbone {number}" for number in range(12)]
    chosen = [cover(bundled(names[:count])) for count in range(4, 13)]
    for fewer, more in pairwise(chosen):
        assert more[: len(fewer)] == fewer
        assert len(more) - len(fewer) == len(BACKENDS)


def test_every_host_is_in_a_bundle():
    assert {name for bundle in BUNDLES for name in bundle} == set(HOSTS)


def test_what_cannot_be_run_is_said_by_the_backend():
    """The table of what runs whole programs only is true, and nothing else is left out."""
    for backend in BACKENDS:
        for dtype, division in product(("float32", "float64"), DIVISIONS):
            cell = Cell("lennard-jones", backend, dtype, division, "nothing")
            reason = why_not(cell)
            assert bool(reason) == (
                (backend.startswith("ipu") and dtype == "float64")
                or (division == "exchange" and backend.startswith(("torch:", "ipu")))
            )
            assert run(cell).status == "skipped" if reason else True


def test_every_cell_of_the_bundles_is_in_the_full_product_and_every_host():
    cells = list(product_of(models()))
    assert {cell.backend for cell in cells} == set(BACKENDS)
    assert set(bundled(models())) < set(cells)
    assert set(HOSTS) < {cell.host for cell in cells}


@pytest.fixture
def three_cells(monkeypatch):
    """A product that is small enough to be run here."""
    cells = [
        Cell("lennard-jones", "torch", "float64", "whole", host) for host in ("nothing", "no_grad", "bundle 1")
    ]
    monkeypatch.setattr(matrix, "product_of", lambda *_: cells)
    return cells


@pytest.mark.slow  # a process that imports torch
def test_a_matrix_that_stopped_goes_on(three_cells, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "benchmarks")
    path = tmp_path / "cpu.json"
    Record(path, measured_on("cpu")).add(three_cells[1], PASSED)
    assert matrix.main(["--output", str(path)]) == 0
    cells = Record(path, measured_on("cpu")).cells
    assert set(cells) == set(three_cells)
    assert cells[three_cells[1]] == PASSED
    assert all(outcome.deviation.of_tolerance < 1 for outcome in cells.values())
    assert " 3      0      0 " in capsys.readouterr().out


def test_a_cell_that_takes_its_process_along_fails_alone(three_cells, tmp_path, monkeypatch, capsys):
    path = tmp_path / "cpu.json"

    def call(target, argument, seconds):
        _, measured, cells, _ = argument
        if cells[0] == three_cells[0]:
            return CallOutcome((), f"It was ended by {signal.SIGSEGV.name}.")
        for cell in cells:
            Record(path, measured).add(Cell(*cell), PASSED)
        return CallOutcome((None,) * len(cells))

    monkeypatch.setattr(matrix.isolation, "call", call)
    assert matrix.main(["--output", str(path)]) == 1
    assert [each[5] for each in json.loads(path.read_text())["cells"]] == ["failed", "passed", "passed"]
    assert "SIGSEGV" in capsys.readouterr().out


def test_what_was_measured_on_other_sources_is_left_aside(three_cells, tmp_path):
    path = tmp_path / "cpu.json"
    Record(path, MEASURED).add(three_cells[0], PASSED)
    assert Record(path, MEASURED).cells == {three_cells[0]: PASSED}
    changed = Record(path, MEASURED | {"sources": {"halocline": "1"}})
    assert not changed.cells
    changed.add(three_cells[1], Outcome("failed", message="other numbers on: slab"))
    assert list(Record(path, changed._head["measured"]).cells) == three_cells[1:2]

"""The page of what each backbone does is what tests said, and says something of everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from features.claims import FEATURES, MISSING, Cell, refusal, shown_by
from features.page import State, page, states

from halocline.plugin import registry

ROOT = Path(__file__).parents[1]
RECORD = json.loads((ROOT / "docs/measured/features.json").read_text())
BACKBONES = sorted(registry().names("backbone"))

SUITE = "tests/test_conformance.py::TestBackbones::test_conformance"
PASSED, FAILED = {"outcome": "passed"}, {"outcome": "failed"}


def test_the_page_is_that_of_the_record():
    assert (ROOT / "docs/features.md").read_text() == page(RECORD, BACKBONES)


@pytest.mark.parametrize("cell", [Cell(*each) for each in states(RECORD["tests"], BACKBONES)], ids=" ".join)
def test_every_cell_is_shown_or_has_its_reason(cell):
    state = states(RECORD["tests"], BACKBONES)[cell]
    assert state.word.isdecimal() or (state.word in {"refused", "missing"} and state.reason)


def test_reasons_are_given_only_for_what_no_test_shows():
    assert {cell for cell in MISSING if states(RECORD["tests"], BACKBONES)[cell].word != "missing"} == set()


def test_a_test_that_fails_is_seen():
    tests = {f"{SUITE}[pruning-schnet]": PASSED, f"{SUITE}[lowering-schnet]": PASSED}
    found = states(tests | {f"{SUITE}[operations-schnet]": FAILED}, ["schnet"])
    assert found[Cell("schnet", "prune")] == State("1")
    assert found[Cell("schnet", "lower")].word == "FAILED"
    assert found[Cell("schnet", "train")] == State("missing")


def test_a_skip_is_a_refusal_in_its_own_words():
    tests = {f"{SUITE}[pruning-schnet]": {"outcome": "skipped", "reason": "has one layer"}}
    assert states(tests, ["schnet"])[Cell("schnet", "prune")] == State("refused", "has one layer")


def test_tests_of_something_else_show_nothing():
    assert shown_by("tests/test_locks.py::test_one_at_a_time") is None
    assert refusal("tests/test_locks.py::test_one_at_a_time") == ""


def test_features_are_those_that_tests_show():
    assert {cell.feature for test in RECORD["tests"] if (cell := shown_by(test))} == set(FEATURES)

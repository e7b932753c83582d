"""The page of what each backbone does is what tests said, and says something of everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from features.claims import FEATURES, MISSING, Cell, refusal, shown_by
from features.page import State, page, states
from features.record import Outcomes

from halocline.plugin import registry

DOCS = Path(__file__).parents[1] / "docs"

BACKBONES = sorted(registry().names("backbone"))

SUITE = "tests/test_conformance.py::TestBackbones::test_conformance"
PASSED, FAILED = {"outcome": "passed"}, {"outcome": "failed"}


def test_the_page_has_every_feature_of_every_backbone():
    text = page(
        {"tests": {f"{SUITE}[pruning-schnet]": PASSED}, "measured": {"versions": {"torch": "2"}}}, BACKBONES
    )
    assert all(f"| {feature} |" in text for feature in FEATURES)
    assert f"| {' | '.join(BACKBONES)} |" in text
    assert "* schnet, train: missing, without a reason" in text
    assert f"* lennard-jones, kernel: missing, {MISSING[Cell('lennard-jones', 'kernel')]}" in text


def test_a_test_that_fails_is_seen():
    tests = {f"{SUITE}[pruning-schnet]": PASSED, f"{SUITE}[lowering-schnet]": PASSED}
    found = states(tests | {f"{SUITE}[operations-schnet]": FAILED}, ["schnet"])
    assert found[Cell("schnet", "prune")] == State("1")
    assert found[Cell("schnet", "lower")].word == "FAILED"
    assert found[Cell("schnet", "train")] == State("missing")


def test_a_skip_is_told_in_its_own_words():
    tests = {f"{SUITE}[pruning-schnet]": {"outcome": "skipped", "reason": "has one layer"}}
    assert states(tests, ["schnet"])[Cell("schnet", "prune")] == State("skipped", "has one layer")


@pytest.mark.parametrize("keep", [True, False])
def test_outcomes_may_be_added_to_those_of_other_tests(keep, tmp_path):
    path = tmp_path / "features.json"
    path.write_text(json.dumps({"tests": {"tests/test_a.py::a": PASSED, "tests/test_a.py::b": FAILED}}))
    outcomes = Outcomes(path, keep=keep)
    outcomes.pytest_runtest_logreport(
        pytest.TestReport("tests/test_a.py::b", ("", 0, ""), {}, "passed", None, "call")
    )
    outcomes.pytest_sessionfinish()
    others = {"tests/test_a.py::a": PASSED} if keep else {}
    assert json.loads(path.read_text())["tests"] == others | {"tests/test_a.py::b": PASSED}


def test_tests_of_something_else_show_nothing():
    assert shown_by("tests/test_locks.py::test_one_at_a_time") is None
    assert refusal("tests/test_locks.py::test_one_at_a_time") == ""


def test_the_page_is_that_of_its_record():
    document = json.loads((DOCS / "measured/features.json").read_text(encoding="utf-8"))
    assert (DOCS / "features.md").read_text(encoding="utf-8") == page(document, BACKBONES)
    for cell, state in states(document["tests"], BACKBONES).items():
        assert state.word.isdecimal() or (state.word != "FAILED" and state.reason), cell

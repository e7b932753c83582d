"""The page: backbones by features, each cell with what its tests say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from features.claims import FEATURES, MISSING, Cell, refusal, shown_by

HEAD: Final = """# What each backbone does

Made by `make features` from the outcomes of tests, never by hand; tests that take minutes may be added one by one
(`python -m features --add`). A number is that of the tests that show the
feature, all of which passed. What they provoke a refusal of is refused; what they skip is skipped in their words;
what no test shows is missing. Reasons are below.

"""


class State(NamedTuple):
    """What is known of a cell: a word, and a reason where there is one."""

    word: str
    reason: str = ""


def states(tests: Mapping[str, Mapping[str, str]], backbones: list[str]) -> dict[Cell, State]:
    """Every feature of every backbone, by outcomes of tests (`record`)."""
    by_cell: dict[Cell, dict[str, Mapping[str, str]]] = defaultdict(dict)
    for test, outcome in tests.items():
        if (cell := shown_by(test)) is not None:
            by_cell[cell][test] = outcome
    cells = [Cell(backbone, feature) for backbone in backbones for feature in FEATURES]
    return {cell: _state(by_cell[cell], cell) for cell in cells}


def _state(tests: Mapping[str, Mapping[str, str]], cell: Cell) -> State:
    """What the tests of one cell say together."""
    count = sum(each["outcome"] == "passed" for each in tests.values())
    failed = [test for test, each in tests.items() if each["outcome"] == "failed"]
    if failed:
        return State("FAILED", f"by {len(failed)} tests, {failed[0]} among them")
    refusals = [words for test in tests if (words := refusal(test))]
    if refusals:
        return State("refused", refusals[0])
    if count:
        return State(str(count))
    reasons = [each["reason"] for each in tests.values() if "reason" in each]
    if reasons:
        return State("skipped", reasons[0])
    return State("missing", MISSING.get(cell, ""))


def page(document: Mapping[str, Any], backbones: list[str]) -> str:
    """The page in Markdown."""
    found = states(document["tests"], backbones)
    lines = [f"| | {' | '.join(backbones)} |", "|---" * (len(backbones) + 1) + "|"]
    for feature in FEATURES:
        words = [found[Cell(backbone, feature)].word for backbone in backbones]
        lines.append(f"| {feature} | {' | '.join(words)} |")
    lines += ["", "| feature | means |", "|---|---|"]
    lines += [f"| {feature} | {meaning} |" for feature, meaning in FEATURES.items()]
    lines += ["", "Refused, skipped, missing or failed:", ""]
    lines += [
        f"* {cell.backbone}, {cell.feature}: {state.word}, {state.reason or 'without a reason'}"
        for cell, state in found.items()
        if state.reason or not state.word.isdecimal()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in document["measured"]["versions"].items())
    return HEAD + "\n".join(lines) + f"\n\nMeasured with {versions}.\n"


def write(record: Path, target: Path, backbones: list[str]) -> None:
    """Make the page of a record."""
    target.write_text(page(json.loads(record.read_text()), backbones))

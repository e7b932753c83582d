"""A plugin of pytest: runs the tests that show features, and keeps their outcomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from matrix.record import measured_on

from features.claims import shown_by
from halocline.files import write_atomically

OPTION: Final = "--record-features"
KEEP: Final = "--keep-other-features"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says where outcomes go."""
    parser.addoption(OPTION, type=Path, required=True, help="the JSON file of outcomes")
    parser.addoption(KEEP, action="store_true", help="keep what that file holds of tests that are not run")


def pytest_configure(config: pytest.Config) -> None:
    """Keep outcomes in the process that hears of all of them."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config.getoption(OPTION), keep=config.getoption(KEEP)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests of something else out."""
    others = [item for item in items if shown_by(item.nodeid) is None]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if shown_by(item.nodeid) is not None]


class Outcomes:
    """Test → its outcome, with the reason where it was skipped.

    Args:
        path: the JSON file, written at the end.
        keep: let what the file holds of tests that are not run stay.
    """

    def __init__(self, path: Path, *, keep: bool) -> None:
        self._path = path
        self._keep = keep
        self._tests: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended; a failure on the way in or out is one as well."""
        if report.when != "call" and report.passed:
            return
        known = self._tests.get(report.nodeid)
        if known is None or report.failed:
            self._tests[report.nodeid] = {"outcome": report.outcome} | _reason(report)

    def pytest_sessionfinish(self) -> None:
        """Write everything down."""
        # Read now, not at the start: other runs may have added to it in between.
        others = json.loads(self._path.read_text())["tests"] if self._keep else {}
        tests = others | self._tests
        document: dict[str, Any] = {"measured": measured_on("cpu"), "tests": dict(sorted(tests.items()))}
        write_atomically(self._path, json.dumps(document, indent=1).encode() + b"\n")


def _reason(report: pytest.TestReport) -> dict[str, str]:
    """Why a test was skipped, in its own words."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return {}
    return {"reason": report.longrepr[2].removeprefix("Skipped: ")}

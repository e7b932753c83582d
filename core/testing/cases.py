"""The conformance suite as pytest classes: subclass one, override its fixture.

.. code-block:: python

    class TestHarmonic(BackboneTests):
        @pytest.fixture
        def backbone(self):
            return Harmonic.from_config(Harmonic.example_config())
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from halocline.executor import Executor
from halocline.exporter import Exporter
from halocline.model import Backbone
from halocline.model.pruner import Pruner
from halocline.partition import Partitioner
from halocline.testing.checks import BACKBONE_CHECKS
from halocline.testing.executors import EXECUTOR_CHECKS
from halocline.testing.exporters import EXPORTER_CHECKS
from halocline.testing.partitioners import PARTITIONER_CHECKS
from halocline.testing.pruners import PRUNER_CHECKS
from halocline.testing.report import CheckResult
from halocline.testing.suite import (
    check_backbone,
    check_executor,
    check_exporter,
    check_partitioner,
    check_pruner,
)


class _Tests:
    """One test for each check.

    Attributes:
        expected_failures: check → reason, for checks that are known to fail. One that passes is an error.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}
    _checks: ClassVar[Mapping[str, Any]]

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of every check."""
        if "check" in metafunc.fixturenames:
            metafunc.parametrize("check", list(self._checks))

    def _conclude(self, result: CheckResult) -> None:
        """Tell pytest what a check found."""
        import pytest  # the suite itself runs without it

        __tracebackhide__ = True
        reason = self.expected_failures.get(result.check)
        if result.status == "failed" and reason is not None:
            pytest.xfail(f"{reason}: {result.message}")
        if result.status == "failed" or reason is not None:
            pytest.fail(result.message or f"{result.check} was expected to fail: {reason}", pytrace=False)
        if result.status == "skipped":
            pytest.skip(result.message)
        if result.status == "warned":
            warnings.warn(f"{result.check}: {result.message}", stacklevel=2)


class BackboneTests(_Tests):
    """Checks a backbone; define the fixture ``backbone``."""

    _checks = BACKBONE_CHECKS

    def test_conformance(self, check: str, backbone: Backbone) -> None:
        """The backbone keeps the stage contract."""
        (result,) = check_backbone(backbone, checks=[check]).results
        self._conclude(result)


class ExecutorTests(_Tests):
    """Checks an executor; define the fixtures ``executor`` and ``backbone``."""

    _checks = EXECUTOR_CHECKS

    def test_conformance(self, check: str, executor: Executor, backbone: Backbone) -> None:
        """The executor gives what the eager definition gives."""
        (result,) = check_executor(executor, backbone, checks=[check]).results
        self._conclude(result)


class ExporterTests(_Tests):
    """Checks an exporter; define the fixtures ``exporter`` and ``backbone``."""

    _checks = EXPORTER_CHECKS

    def test_conformance(self, check: str, exporter: Exporter, backbone: Backbone) -> None:
        """The exporter passes the check: it writes one file, which describes the model that is in it."""
        (result,) = check_exporter(exporter, backbone, checks=[check]).results
        self._conclude(result)


class PartitionerTests(_Tests):
    """Checks a partitioner; define the fixture ``partitioner``."""

    _checks = PARTITIONER_CHECKS

    def test_conformance(self, check: str, partitioner: Partitioner) -> None:
        """The partitioner passes the check: every atom has one owner."""
        (result,) = check_partitioner(partitioner, checks=[check]).results
        self._conclude(result)


class PrunerTests(_Tests):
    """Checks a pruner; define the fixtures ``pruner`` and ``backbone``."""

    _checks = PRUNER_CHECKS

    def test_conformance(self, check: str, pruner: Pruner, backbone: Backbone) -> None:
        """The pruner passes the check: it returns a real, smaller model."""
        (result,) = check_pruner(pruner, backbone, checks=[check]).results
        self._conclude(result)

"""The pytest classes tell passed, failed, skipped and expected failures apart."""

from __future__ import annotations

import pytest

from halocline.errors import UsageError
from halocline.testing import check_partitioner

pytest_plugins = ["pytester"]

MODULE = """
import numpy as np
import pytest
from halocline.partition import Partitioner
from halocline.testing import PartitionerTests

class OutOfRange(Partitioner):
    def owners(self, graph, parts):
        return np.full(len(graph.structure), parts)

class TestOutOfRange(PartitionerTests):
    expected_failures = {expected}

    @pytest.fixture
    def partitioner(self):
        return OutOfRange()
"""


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        ({}, {"passed": 2, "failed": 1}),
        ({"owners": "known"}, {"passed": 2, "xfailed": 1}),
        ({"owners": "known", "repeatable": "guessed"}, {"passed": 1, "xfailed": 1, "failed": 1}),
    ],
    ids=["unexpected", "expected", "expected in vain"],
)
def test_expected_failures(pytester, expected, outcome):
    pytester.makepyfile(MODULE.replace("{expected}", repr(expected)))
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(**outcome)


def test_unknown_check_is_answered_with_near_ones():
    with pytest.raises(UsageError, match="did you mean 'owners'"):
        check_partitioner(None, checks=["owner"])

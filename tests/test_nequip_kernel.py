"""NequIP's radial networks from tables, and its sums in one pass over edges, are the plain stages."""

from __future__ import annotations

import pytest

from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.plugins.kernels.convolution import Convolution
from halocline.plugins.kernels.tables import Tables
from halocline.testing import check_kernel


@pytest.mark.parametrize("kind", [Convolution, Tables])
def test_the_suite_passes(kind):
    backbone = build_backbone("nequip", registry().load("backbone", "nequip").example_config())
    report = check_kernel(kind(), backbone)
    assert {result.status for result in report.results} == {"passed"}, report.results

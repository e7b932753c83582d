"""NequIP's tables, sums in one pass and messages that are never written are the plain stages."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from structures import random_structure

from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.plugins.equivariance import Space, parse_irreps
from halocline.plugins.kernels.convolution import Convolution
from halocline.plugins.kernels.nequip import FusedNequIP, strips
from halocline.plugins.kernels.tables import Tables
from halocline.potential.potential import Potential
from halocline.program.replacement import DISABLED, kernels_of
from halocline.testing import check_kernel

#: Of the largest force: rounding of sums in another order.
EXACT = 1e-10

#: Strips of several widths, irreps that the first layer does not reach, and couplings of odd l₁ + l₂ + l₃.
UNEVEN = {
    "natural": {"irreps": "6x0e+3x1o+4x0o+2x2e", "max_degree": 2},
    "even": {"irreps": "5x0e+3x1e+2x2e", "max_degree": 2, "parity": "even", "normalised": True, "biased": True},
    "scalars": {"irreps": "4x0e", "max_degree": 0},
}


def nequip(**changes):
    return build_backbone("nequip", registry().load("backbone", "nequip").example_config() | changes)


@pytest.mark.parametrize("kind", [Convolution, Tables])
def test_the_suite_passes(kind):
    report = check_kernel(kind(), nequip())
    assert {result.status for result in report.results} == {"passed"}, report.results


@pytest.mark.parametrize("case", UNEVEN)
def test_messages_that_are_never_written_are_the_plain_ones(case):
    report = check_kernel(FusedNequIP(), nequip(**UNEVEN[case]))
    assert {result.status for result in report.results} == {"passed"}, report.results


def test_strips_have_every_channel_of_every_path_once():
    before = Space(tuple(parse_irreps("6x0e+3x1o+4x0o+2x2e")))
    found = strips(before, [irrep for _, irrep in parse_irreps("0e+1o+2e")], before.irreps)
    assert [strip.channels for strip in found] == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert [[before.terms[place][0] for place in strip.left] for strip in found] == [
        [6, 3, 4, 2],
        [6, 3, 4],
        [6, 4],
        [6],
    ]


@pytest.mark.parametrize("compress", [False, True])
def test_models_run_them_with_tables_and_without(compress, monkeypatch):
    model = nequip(irreps="32x0e+16x1o", embedding=32)
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
    atoms = random_structure(5, symbols=model.species, atoms=8, pbc=True, edge=(4.0, 5.0))

    def forces():
        with closing(potential.calculator(dtype="float64", device="cpu", compress=compress)) as calculator:
            found = calculator.get_forces(atoms)
            ran = {each["kernel"].split("/")[1] for each in kernels_of(calculator.replaced)}
        return found, ran

    found, ran = forces()
    assert "fused-nequip" in ran
    monkeypatch.setenv(DISABLED, "fused-nequip,convolution")
    expected, others = forces()
    assert others == ran - {"fused-nequip"}
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT * np.abs(expected).max())

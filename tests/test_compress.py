"""Tables take the place of radial functions: near, over the whole range, and only where that can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.io import read
from test_kinds import onnx

import halocline
from halocline.errors import KernelError
from halocline.graph.graph import COINCIDENT
from halocline.model.build import build_backbone
from halocline.plugins.kernels.tables import SLOPE, VALUE, tabulate, values_and_slopes
from halocline.potential.potential import Potential

WATER = "water-revpbe0d3-schnet"

#: Of water in float32 with and without tables, against float64: eV per atom, eV/Å. Measured: 2e-8, 8e-6.
ENERGY, FORCE = 1e-7, 3e-5


@pytest.fixture(scope="module")
def water():
    return read("examples/water.extxyz")


def functions():
    backbone = halocline.load(WATER).backbone
    return [layer.filters for layer in backbone.layers]


@pytest.mark.parametrize("layer", range(4))
def test_tables_are_right_from_collisions_to_the_cutoff(layer):
    function = functions()[layer]
    table = tabulate(function)
    near = torch.logspace(np.log10(COINCIDENT), 0.0, 500, dtype=torch.float64)
    distances = torch.cat([near, torch.linspace(1.0, function.end - 1e-9, 3000, dtype=torch.float64)])
    values, slopes = values_and_slopes(function, distances)
    asked = distances.clone().requires_grad_(True)
    found = table(asked)
    (derivative,) = torch.autograd.grad(found.sum(), asked)
    assert float((found.detach() - values).abs().max()) <= VALUE * float(values.abs().max())
    channels = function.channels
    assert float((derivative - slopes.sum(-1)).abs().max()) <= channels * SLOPE * float(slopes.abs().max())


def test_beyond_the_end_nothing_changes():
    function = functions()[0]
    distances = torch.tensor([function.end, function.end + 0.1, 100.0], dtype=torch.float64, requires_grad=True)
    found = tabulate(function)(distances)
    assert torch.equal(found.detach(), function(distances).detach())
    (derivative,) = torch.autograd.grad(found.sum(), distances)
    assert not derivative.any()


@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float64"}, {"partition": "rcb:3", "halo": "exchange"}], ids=str
)
def test_compressed_water_is_water(water, options):
    potential = halocline.load(WATER)
    exact = potential(water, dtype="float64", device="cpu")
    found = potential(water, device="cpu", compress=True, **options)
    assert abs(found.energy - exact.energy) / len(water) < ENERGY
    assert np.abs(found.forces - exact.forces).max() < FORCE
    plain = potential(water, device="cpu", **options)
    assert not np.array_equal(found.forces, plain.forces)


def test_onnx_runtime_compresses(water):
    onnx()
    potential = halocline.load(WATER, prune=1)
    exact = potential(water, dtype="float64", device="cpu")
    found = potential(water, backend="onnx:threads=1", device="cpu", compress=True)
    assert np.abs(found.forces - exact.forces).max() < FORCE


def test_collisions_stay_inside_the_table(water):
    potential, near = halocline.load(WATER), water[:3]
    near.set_pbc(False)
    for distance in (0.4, 0.05, 1e-3):
        near.positions[1] = near.positions[0] + [distance, 0.0, 0.0]
        exact, found = (potential(near, dtype="float64", device="cpu", compress=c) for c in (False, True))
        assert np.abs(found.forces - exact.forces).max() < FORCE * max(1.0, np.abs(exact.forces).max())


def test_tables_follow_the_weights(water):
    potential = halocline.load(WATER)
    before = potential(water, device="cpu", compress=True).energy
    with torch.no_grad():
        potential.backbone.layers[0].filters.out.weight *= 1.01
    after = potential(water, device="cpu", compress=True).energy
    assert after != before
    assert abs(after - potential(water, device="cpu", dtype="float64").energy) / len(water) < ENERGY


def test_models_without_radial_functions_are_refused(water):
    argon = halocline.load("lennard-jones-argon")
    with pytest.raises(KernelError, match=r"'lennard-jones' cannot be compressed"):
        argon.calculator(device="cpu", compress=True)


def test_functions_without_an_end_are_refused():
    backbone = build_backbone("schnet", {"species": ["H", "O"], "neighbours": "nearest", "features": 4})
    endless = Potential(backbone, {"H": 0.0, "O": 0.0}, {})
    with pytest.raises(KernelError, match="no end"):
        endless.calculator(device="cpu", compress=True)


def test_the_calculator_says_that_it_compresses():
    calculator = halocline.load(WATER, prune=1).calculator(device="cpu", compress=True)
    assert calculator.todict()["compress"] is True
    assert "compress" not in halocline.load(WATER, prune=1).calculator(device="cpu").todict()


def test_compress_is_true_or_false():
    with pytest.raises(halocline.errors.UsageError, match="True or False"):
        halocline.load(WATER).calculator(device="cpu", compress="yes")

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
from halocline.plugin import registry
from halocline.plugins.kernels import tables
from halocline.plugins.kernels.tables import SLOPE, VALUE, Tables, tabulate, values_and_slopes
from halocline.potential.potential import Potential
from halocline.testing import check_kernel

WATER = "water-revpbe0d3-schnet"

#: Of water in float32 with and without tables, against float64: eV per atom, eV/Å. Measured: 2e-8, 8e-6.
ENERGY, FORCE = 1e-7, 3e-5


@pytest.fixture(scope="module")
def water():
    return read("examples/water.extxyz")


def functions():
    backbone = halocline.load(WATER).backbone
    return [layer.filters for layer in backbone.layers]


def require_right(function, table, number=None):
    """From collisions to the cutoff, values and slopes of a table are those of the function."""
    near = torch.logspace(np.log10(COINCIDENT), 0.0, 500, dtype=torch.float64)
    distances = torch.cat([near, torch.linspace(1.0, function.end - 1e-9, 3000, dtype=torch.float64)])
    values, slopes = values_and_slopes(function, distances, number)
    asked = distances.clone().requires_grad_(True)
    numbers = None
    if number is not None:  # tables are fewer than functions where some of these are the same
        numbers = torch.full(distances.shape, int(table.pairs[function.pairs == number][0]))
    found = table(asked, numbers)
    (derivative,) = torch.autograd.grad(found.sum(), asked)
    assert float((found.detach() - values).abs().max()) <= VALUE * float(values.abs().max())
    channels = function.channels
    assert float((derivative - slopes.sum(-1)).abs().max()) <= channels * SLOPE * float(slopes.abs().max())


@pytest.mark.parametrize("layer", range(4))
def test_tables_are_right_from_collisions_to_the_cutoff(layer):
    function = functions()[layer]
    require_right(function, tabulate(function))


def mace(**changes):
    return build_backbone("mace", registry().load("backbone", "mace").example_config() | changes, seed=0)


#: What foundation models have: distances measured by covalent radii, and a learned density.
FOUNDATION = {"agnesi": True, "density": True, "repulsion": True, "first_block": "agnostic"}


@pytest.mark.parametrize("changes", [{}, FOUNDATION], ids=["simple", "foundation"])
def test_tables_of_mace_are_right_for_all_pairs_of_species(changes):
    layer = mace(**changes).layers[1]
    for function in filter(None, (layer.weights, layer.density)):
        table = tabulate(function)
        for number in [None] if function.pairs is None else range(int(function.pairs.max()) + 1):
            require_right(function, table, number)


def test_pairs_with_the_same_functions_share_a_table():
    function = mace(agnesi=True).layers[0].weights
    assert int(tabulate(function).pairs.max()) + 1 == 3
    function._basis[0].radii[:] = 0.7
    table = tabulate(function)
    assert int(table.pairs.max()) == 0
    assert table.table.shape[0] == 4 * (table.intervals + 2)


def test_tables_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(tables, "LARGEST", 100_000)
    with pytest.raises(KernelError, match=r"for 3 different pairs of species and \d+ channels would take \S+ MiB"):
        tabulate(mace(agnesi=True).layers[0].weights)


@pytest.mark.parametrize("changes", [{}, FOUNDATION], ids=["simple", "foundation"])
def test_mace_is_compressed_in_every_form(changes):
    report = check_kernel(Tables(), mace(**changes))
    assert report.ok, [result for result in report.results if result.status == "failed"]
    assert {result.status for result in report.results} == {"passed"}


@pytest.mark.parametrize("backend", ["torch", "onnx:threads=1"])
def test_compressed_mace_is_mace(water, backend):
    onnx()
    backbone = mace(**FOUNDATION)
    potential = Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})
    exact = potential(water, dtype="float64", device="cpu")
    found = potential(water, backend=backend, device="cpu", compress=True)
    assert np.abs(found.forces - exact.forces).max() < FORCE * max(1.0, np.abs(exact.forces).max())


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

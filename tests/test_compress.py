"""Tables take the place of radial functions: near, over the whole range, and only where that can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.io import read
from ase.optimize import FIRE
from test_kinds import onnx

import halocline
from halocline.errors import KernelError
from halocline.graph.graph import COINCIDENT
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.plugins.kernels import tables
from halocline.plugins.kernels.tables import (
    SLOPE,
    VALUE,
    Accuracy,
    Tables,
    measure,
    tabulate,
    values_and_slopes,
)
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


def test_what_is_not_a_number_is_not_accurate():
    accuracy = measure(functions()[0], lambda points, derivative=0: np.full((len(points), 1), np.nan), 64)
    assert not Accuracy(0.0, 0.0).or_worse(accuracy).enough


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


@pytest.mark.parametrize("name", ["lennard-jones", "m3gnet", "orb", "chgnet"])
def test_models_without_radial_functions_are_refused(name):
    backbone = build_backbone(name, registry().load("backbone", name).example_config())
    potential = Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})
    with pytest.raises(
        KernelError, match=rf"'{name}' cannot be compressed.*none of its stages has radial functions"
    ):
        potential.calculator(device="cpu", compress=True)


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


#: More elements than have tables for all their pairs at once.
SEVERAL = {"species": ["H", "C", "N", "O", "F", "Si", "Cl", "Cu"], **FOUNDATION}


def of_elements(*symbols, seed=0):
    """A crowd of these elements."""
    cell = 7.0
    positions = np.random.default_rng(seed).uniform(0.0, cell, (12, 3))
    atoms = Atoms([symbols[at % len(symbols)] for at in range(12)], positions=positions, cell=[cell] * 3, pbc=True)
    atoms.calc = LennardJones(epsilon=1.0, sigma=1.4, rc=1.6, smooth=False)
    FIRE(atoms, logfile=None).run(steps=60)  # drawn at random they are too near for any model
    atoms.calc = None
    return atoms


@pytest.fixture(scope="module")
def several():
    backbone = mace(**SEVERAL)
    return Potential(backbone, dict.fromkeys(backbone.species, -1.0), {})


def require_as_exact(found, expected):
    scale = np.abs(expected.forces).max()
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=FORCE * max(1.0, scale))
    assert found.energy == pytest.approx(expected.energy, abs=ENERGY * 100 * len(found.energies))


def made_tables(monkeypatch):
    """Counts of the functions that tables are made of, by the time they are made."""
    counts, different = [], tables._different

    def counted(function):
        numbers, pairs = different(function)
        counts.append(len(numbers))
        return numbers, pairs

    monkeypatch.setattr(tables, "_different", counted)
    return counts


def test_tables_are_made_for_elements_that_are_met(several, monkeypatch):
    counts = made_tables(monkeypatch)
    evaluator = several.evaluator("torch", "float64", "cpu", "none", "auto", compress=True)
    assert {each.kernel for each in evaluator.replaced} == {"halocline/tables"}
    for symbols, pairs in ((("H", "O"), 3), (("O",), 3), (("Cu", "O"), 6), (("H", "Cu"), 6)):
        atoms = of_elements(*symbols)
        require_as_exact(several.evaluate_with(evaluator, atoms), several(atoms, dtype="float64"))
        assert counts[-1] == pairs
    evaluator.close()


def test_elements_that_are_missed_give_room(several, monkeypatch):
    """Tables of three elements fit, and of two; what a batch needs together and does not get is had one by one."""
    largest, room = [], tables._require_room

    def measured(function, pairs, intervals):
        largest.append(pairs)
        if pairs > 6:
            raise KernelError("too large")
        room(function, pairs, intervals)

    monkeypatch.setattr(tables, "_require_room", measured)
    structures = [of_elements("H", "C", "N"), of_elements("N", "O"), of_elements("F", "Si", "Cl")]
    expected = several(structures, dtype="float64")
    one_by_one = [several(atoms, dtype="float64", compress=True) for atoms in structures]
    together = several(structures, dtype="float64", compress=True)
    for exact, *found in zip(expected, one_by_one, together, strict=True):
        for each in found:
            require_as_exact(each, exact)
    assert max(largest) > 6
    found = list(several.map([of_elements("H", "C", "N", "O"), structures[1]], compress=True, errors="yield"))
    assert isinstance(found[0], KernelError)
    require_as_exact(found[1], several(structures[1]))


@pytest.mark.parametrize("options", [{"partition": "rcb:2"}, {"partition": "rcb:2", "halo": "exchange"}], ids=str)
def test_met_elements_in_parts(several, options):
    atoms = of_elements("H", "O", "Cu")
    require_as_exact(several(atoms, dtype="float64", compress=True, **options), several(atoms, dtype="float64"))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_met_elements_in_lowered_programs(several):
    for symbols in (("H", "O"), ("Cu", "O")):
        atoms = of_elements(*symbols)
        found = several(atoms, backend="onnx", dtype="float64", compress=True)
        require_as_exact(found, several(atoms, dtype="float64"))

"""Distributions of the audit against brute force and SciPy, and their distances against values known by heart."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, norm, wasserstein_distance

from halocline.audit.distributions.compared import compare
from halocline.audit.distributions.distances import PARTS, distances_between
from halocline.audit.distributions.histogram import Axis, Histogram
from halocline.audit.distributions.statistics import DISTANCE, StructureStatistics, shells

AXIS = Axis("x", "value", "Å", 0.0, 0.01, 1000, shown=10)
SKEWED = np.array([[7.0, 0.0, 0.0], [2.0, 6.5, 0.0], [-1.5, 1.0, 7.5]])


def counts(values, axis=AXIS):
    histogram = Histogram(axis)
    histogram.add(np.asarray(values))
    return histogram.counts


def statistics(*frames, reach=6.0):
    found = StructureStatistics(reach)
    for atoms in frames:
        found.add(atoms)
    return found


def test_a_distribution_is_at_no_distance_from_itself():
    values = counts(np.random.default_rng(0).normal(5, 1, 1000))
    found = distances_between(values, 3 * values, AXIS.centres)
    assert found.kullback_leibler == pytest.approx(0.0, abs=2e-3)  # the prior weighs less beside more values
    assert distances_between(values, values, AXIS.centres).kullback_leibler == 0.0
    assert (found.jensen_shannon, found.kolmogorov_smirnov) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert found.wasserstein == pytest.approx(0.0, abs=1e-12)


def test_two_values_apart_are_as_far_as_can_be():
    found = distances_between(counts([2.0] * 10_000), counts([5.0] * 10_000), AXIS.centres)
    assert found.jensen_shannon == pytest.approx(np.log(2.0))
    assert found.kolmogorov_smirnov == 1.0
    assert found.wasserstein == pytest.approx(3.0)
    assert found.kullback_leibler > 5.0


def test_distances_of_a_coin_are_those_of_its_formulas():
    """Two values with chances a and b: every distance is an expression in a and b."""
    n, a, b = 1_000_000, 0.3, 0.6
    one = counts([1.0] * int(a * n) + [2.0] * int((1 - a) * n))
    other = counts([1.0] * int(b * n) + [2.0] * int((1 - b) * n))
    found = distances_between(one, other, AXIS.centres)
    kl = a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))
    assert found.kullback_leibler == pytest.approx(kl, rel=1e-3)
    p, q = np.array([a, 1 - a]), np.array([b, 1 - b])
    assert found.jensen_shannon == pytest.approx(jensenshannon(p, q) ** 2)
    assert found.kolmogorov_smirnov == pytest.approx(b - a)
    assert found.wasserstein == pytest.approx(b - a)


def test_distances_of_normal_distributions_are_those_of_theory():
    """Shifted by s standard deviations: KL = s²/2, W1 = s, KS = 2Φ(s/2) - 1, but for the noise of samples."""
    rng = np.random.default_rng(2)
    shift, width = 0.8, 0.7
    one, other = rng.normal(5.0, width, 1_000_000), rng.normal(5.0 + shift * width, width, 1_000_000)
    found = distances_between(counts(one), counts(other), AXIS.centres)
    assert found.wasserstein == pytest.approx(shift * width, rel=0.01)
    assert found.kolmogorov_smirnov == pytest.approx(2 * norm.cdf(shift / 2) - 1, rel=0.01)
    assert found.kullback_leibler == pytest.approx(shift**2 / 2, rel=0.02)  # parts have a width


def test_samples_are_compared_as_scipy_compares_them():
    rng = np.random.default_rng(3)
    one, other = rng.gamma(4.0, 0.5, 4000), rng.gamma(5.0, 0.5, 3000)
    found = distances_between(counts(one), counts(other), AXIS.centres)
    assert found.kolmogorov_smirnov == pytest.approx(ks_2samp(one, other).statistic, abs=0.01)  # a bin holds 0.5 %
    assert found.wasserstein == pytest.approx(wasserstein_distance(one, other), abs=AXIS.width)
    low, high = min(one.min(), other.min()), max(one.max(), other.max())
    p, q = (np.histogram(each, PARTS, (low, high))[0] / len(each) for each in (one, other))
    assert found.jensen_shannon == pytest.approx(
        jensenshannon(p, q) ** 2, rel=0.05
    )  # edges of parts are those of bins


def test_a_measure_divides_both():
    """Two gases in a sphere fill shells as their volumes; by volumes, neither is any different from the other."""
    volumes = shells(AXIS)
    one, other = (np.rint(scale * volumes).astype(np.int64) for scale in (1e6, 5e6))
    found = distances_between(one, other, AXIS.centres, volumes)
    assert found.kolmogorov_smirnov < 1e-3
    assert found.wasserstein < 2e-3


def test_an_ideal_gas_has_no_structure():
    """In a skewed cell; g(r) is 1 but for the atom itself, which is missing within half the cell."""
    rng = np.random.default_rng(4)
    size, frames = 60, 400
    gas = [
        Atoms(f"Ar{size}", scaled_positions=rng.random((size, 3)), cell=2.2 * SKEWED, pbc=True)
        for _ in range(frames)
    ]
    found = statistics(*gas, reach=5.0)
    g = found.radial("Ar–Ar")[500:]  # from 1 Å; in all bins from there, noise is small
    volumes = shells(found.histograms[DISTANCE, "Ar–Ar"].axis)[500:]
    assert np.average(g, weights=volumes) == pytest.approx(1.0 - 1.0 / size, abs=0.01)


@pytest.mark.parametrize("reach", [5.0, 5.001, 5.003])
def test_the_last_bin_is_a_whole_one(reach):
    """A part of a bin, or half a bin more, would look like structure: over many frames of a gas it is 1.

    The noise of a draw is 0.08, and half a bin more or less is 0.5.
    """
    rng = np.random.default_rng(5)
    gas = [Atoms("Ar60", scaled_positions=rng.random((60, 3)), cell=2.2 * SKEWED, pbc=True) for _ in range(400)]
    assert statistics(*gas, reach=reach).radial("Ar–Ar")[-1] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("reach", [3.0, 9.0])
def test_distances_are_those_of_brute_force_in_a_skewed_cell(reach):
    """Beyond the cell, too, where an atom sees its own images."""
    rng = np.random.default_rng(5)
    atoms = Atoms("NaClNaClK", scaled_positions=rng.random((5, 3)), cell=SKEWED, pbc=True)
    found = statistics(atoms, reach=reach)
    shifts = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ atoms.cell.array
    expected = {}
    for i, j in itertools.product(range(5), repeat=2):
        if atoms.numbers[i] > atoms.numbers[j]:
            continue
        lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts, axis=1)
        name = "–".join(chemical_symbols[n] for n in (atoms.numbers[i], atoms.numbers[j]))
        expected.setdefault(name, []).extend(lengths[(lengths < reach) & (lengths > 1e-9)])
    measured = {name: h for (kind, name), h in found.histograms.items() if kind == DISTANCE}
    assert {name for name, lengths in expected.items() if lengths} == measured.keys()
    for name, histogram in measured.items():
        np.testing.assert_array_equal(histogram.counts, counts(expected[name], histogram.axis))
        counted = histogram.counts / shells(histogram.axis) * atoms.cell.volume
        first, second = (sum(atoms.symbols == symbol) for symbol in name.split("–"))
        np.testing.assert_allclose(found.radial(name) * first * second, counted)


def test_shells_of_a_crystal_have_their_coordination_numbers():
    crystal = bulk("Cu", a=3.6)
    found = statistics(crystal, reach=4.0)
    g, axis = found.radial("Cu–Cu"), found.histograms[DISTANCE, "Cu–Cu"].axis
    density = len(crystal) / crystal.cell.volume
    neighbours = np.cumsum(g * shells(axis)) * density
    place = lambda r: int(r / axis.width)  # noqa: E731
    assert neighbours[place(3.0)] == pytest.approx(12)
    assert neighbours[place(3.8)] == pytest.approx(18)


def test_two_halves_make_the_whole():
    rng = np.random.default_rng(6)
    frames = []
    for _ in range(6):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, rng=rng)
        frames.append(atoms)
    whole = statistics(*frames)
    merged = StructureStatistics.merged([statistics(*frames[::2]), statistics(*frames[1::2])])
    assert merged.frames == whole.frames == 6
    assert merged.formulas == whole.formulas == {"C2H6O": 6}
    assert merged.histograms.keys() == whole.histograms.keys()
    for key, histogram in whole.histograms.items():
        np.testing.assert_array_equal(merged.histograms[key].counts, histogram.counts)
    assert not whole.is_periodic


def test_means_are_those_of_the_values():
    values = np.random.default_rng(7).normal(4.0, 0.3, 5000)
    histogram = Histogram(AXIS)
    histogram.add(values)
    assert histogram.mean == pytest.approx(values.mean(), abs=AXIS.width / 2)
    assert histogram.std == pytest.approx(values.std(), abs=AXIS.width / 2)


def test_values_at_the_end_of_an_axis_are_counted():
    axis = Axis("x", "angle", "°", 0.0, 0.1, 1800, shown=20)
    assert counts([0.0, 180.0, np.nextafter(180.0, 181.0)], axis).sum() == 3


def test_curves_are_densities_and_radial_distribution_functions():
    """Their integral is 1; or the number of neighbours, where 4πr²ρ is integrated along."""
    crystal = bulk("Cu", cubic=True) * 2
    whole = statistics(crystal)
    by_key = {(each.present.axis.kind): each for each in compare(whole, (whole, statistics()), statistics())}
    x, density = by_key["bond angle"].curve(0)
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1.0)
    x, g = by_key[DISTANCE].curve(0)
    edges = np.append(x - 0.5 * (x[1] - x[0]), x[-1] + 0.5 * (x[1] - x[0]))
    neighbours = g * 4 / 3 * np.pi * np.diff(edges**3) * len(crystal) / crystal.cell.volume
    assert neighbours[x < 3.0].sum() == pytest.approx(12.0)
    assert by_key[DISTANCE].curve(1) is None
    assert by_key[DISTANCE].record()["distances"] is None

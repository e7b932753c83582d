"""What tables are worth is found out once: later processes look at each interval once, and get the same bits."""

import numpy as np
import pytest
import torch

from halocline.aggregation import RadialFunction
from halocline.errors import KernelError
from halocline.plugins.kernels import table_worth, tables
from halocline.plugins.kernels.tables import restored, tabulate

pytestmark = pytest.mark.usefixtures("cache")


class Waves(RadialFunction):
    """Cosines that end smoothly; how steep they are is a weight, and where they end is none."""

    def __init__(self, steep: float = 1.0) -> None:
        super().__init__()
        self.start, self.end, self.channels, self.height = 1e-6, 5.0, 3, 1.0
        self.frequencies = torch.nn.Parameter(steep * torch.linspace(0.5, 2.0, 3, dtype=torch.float64))

    def forward(self, distances, numbers=None):
        envelope = (1.0 - (distances / self.end).clamp(max=1.0) ** 2) ** 3
        return self.height * torch.cos(self.frequencies * distances[..., None]) * envelope[..., None]


@pytest.fixture
def looked_at(monkeypatch):
    """At how many places in each interval tables are held against functions."""
    looked = []
    plain = tables.measure

    def measure(function, spline, intervals, number=None, places=tables._PLACES):
        looked.append(len(places))
        return plain(function, spline, intervals, number, places)

    monkeypatch.setattr(tables, "measure", measure)
    return looked


def same(one, other):
    return torch.equal(one.table, other.table) and (one.errors, one.intervals) == (other.errors, other.intervals)


def test_the_second_time_gives_the_same_table(looked_at):
    first = tabulate(Waves())
    assert max(looked_at) == tables.CHECKED
    looked_at.clear()
    assert same(tabulate(Waves()), first)
    assert looked_at == [1]


def test_tables_that_are_carried_are_held_against_all_distances_once(looked_at):
    kept = tabulate(Waves()).to_keep()
    looked_at.clear()
    first = restored(Waves(), kept)
    assert looked_at == [tables.CHECKED]
    looked_at.clear()
    assert same(restored(Waves(), kept), first)
    assert looked_at == [1]


def weights(function):
    function.frequencies.data[0] += 1e-3


def reach(function):
    function.end *= 0.99


def code(function):
    function.height = 1.001


@pytest.mark.parametrize("change", [weights, reach, code])
def test_another_function_is_looked_at_anew(change, looked_at):
    function = Waves()
    tabulate(function)
    change(function)
    looked_at.clear()
    tabulate(function)
    assert max(looked_at) == tables.CHECKED


def test_tables_that_differ_in_one_bit_are_looked_at_anew(looked_at):
    kept = tabulate(Waves()).to_keep()
    restored(Waves(), kept)
    kept.coefficients[0, 3, 0, 0] = np.nextafter(float(kept.coefficients[0, 3, 0, 0]), 2.0)
    looked_at.clear()
    restored(Waves(), kept)
    assert looked_at == [tables.CHECKED]


def test_no_record_is_believed_against_a_look_at_each_interval(monkeypatch):
    """It is one of another function, as if two had the same digest."""
    steep = tabulate(Waves(8.0))
    monkeypatch.setattr(tables, "digest", lambda *given: "the same")
    other = tabulate(Waves()).to_keep()
    assert other.intervals < steep.intervals
    assert same(tabulate(Waves(8.0)), steep)
    with pytest.raises(KernelError, match="other weights"):
        restored(Waves(8.0), other)


def test_where_nothing_can_be_kept_tables_are_found_all_the_same(monkeypatch, tmp_path, looked_at):
    first = tabulate(Waves())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "file"))
    looked_at.clear()
    assert same(tabulate(Waves()), first)
    assert max(looked_at) == tables.CHECKED


def test_without_a_home_nobody_is_asked_for_one(monkeypatch, looked_at):
    monkeypatch.setattr(table_worth, "find_cache", lambda: None)
    assert same(tabulate(Waves()), tabulate(Waves()))
    assert looked_at.count(tables.CHECKED) == 2


def test_what_will_not_do_is_refused_each_time(monkeypatch):
    monkeypatch.setattr(tables, "MOST", tables.FEWEST)
    for _ in range(2):
        with pytest.raises(KernelError, match="misses its radial functions"):
            tabulate(Waves(8.0))

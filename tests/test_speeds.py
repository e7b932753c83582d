"""Speeds are those of real evaluations and real messages; excerpts are graphs like those that they are of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_costs import water
from test_partitioned import backbone

from halocline.backends.torch.executor import TorchExecutor
from halocline.cost import speeds
from halocline.cost.speeds import excerpt, measure_compute, measure_link
from halocline.errors import StructureError
from halocline.evaluator import make_runner
from halocline.graph import Radius
from halocline.model.chain import chain
from halocline.partition import cut_part
from halocline.program import Precision
from halocline.testing.structures import graph_of


class Clock:
    """Stands in for the machine's."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(speeds.time, "perf_counter", lambda: self.now)


def test_a_link_has_the_speed_and_the_latency_that_messages_show(monkeypatch):
    clock = Clock(monkeypatch)

    def round_trip(size):
        clock.now += 2 * (1e-4 + size / 5e8)

    rate, latency = measure_link(round_trip)
    assert rate == pytest.approx(5e8)
    assert latency == pytest.approx(1e-4, rel=1e-3)  # of eight bytes


def test_compute_is_the_best_of_real_evaluations(monkeypatch):
    clock, model = Clock(monkeypatch), backbone("schnet", 2)
    graph = chain(model, 40, seed=0)
    runner = make_runner(model, TorchExecutor("cpu"), Precision.FLOAT32, exchange=False)
    durations = iter([9.0, *(3.0,) * (speeds.REPEATS - 1), 2.0])
    evaluate = runner.run

    def run(*arguments):
        clock.now += next(durations)
        return evaluate(*arguments)

    monkeypatch.setattr(runner, "run", run)
    assert measure_compute(runner, graph, 2) == pytest.approx(2.0 / (2 * len(graph.edges)))


def test_atoms_without_neighbours_cannot_be_timed():
    model = backbone("schnet", 2)
    runner = make_runner(model, TorchExecutor("cpu"), Precision.FLOAT32, exchange=False)
    with pytest.raises(StructureError, match="neighbours"):
        measure_compute(runner, chain(model, 1, seed=0), 2)


@given(st.integers(1, 300), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_an_excerpt_is_the_graph_among_some_atoms(atoms, seed):
    graph = graph_of(water(150, seed), Radius(3.0))
    few = excerpt(graph, atoms)
    assert len(few.structure) <= atoms
    # Every edge is one of the whole graph, with its own opposite.
    np.testing.assert_allclose(few.edges.vectors(few.structure), few.vectors, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(few.vectors[few.partners], -few.vectors)
    assert {tuple(v) for v in few.vectors} <= {tuple(v) for v in graph.vectors}
    if len(few.structure) == len(graph.structure):
        assert len(few.edges) == len(graph.edges)


def test_an_excerpt_keeps_its_inner_neighbourhoods():
    graph = graph_of(water(2000, 0), Radius(4.0))
    few = excerpt(graph, 400)
    whole, part = (np.bincount(g.edges.receivers).max() for g in (graph, few))
    assert len(few.structure) == 400
    assert part == whole  # the atom that it grew from


def test_an_excerpt_can_be_evaluated_on_its_own_as_a_domain():
    """Its edges have the order that parts rely on."""
    graph = graph_of(water(500, 1), Radius(4.0))
    few = excerpt(graph, 100)
    assert (np.diff(few.edges.receivers) >= 0).all()
    alone = np.arange(len(few.structure)) < 10
    assert cut_part(alone, few.edges, 2).levels[0] == 10

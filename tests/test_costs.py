"""The cost of a step: what is counted, what is predicted, and which way to treat halos follows."""

from __future__ import annotations

import re
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_partitioned import MODELS, backbone

from halocline.backends.torch.executor import TorchExecutor
from halocline.bench.structures import disordered_box
from halocline.cost.costs import choose_halo, cost_of_exchange, cost_of_recompute
from halocline.cost.loads import count_loads, predict_loads
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds
from halocline.errors import UsageError
from halocline.evaluator import Links
from halocline.evaluator.make import make_runner
from halocline.graph import Edges, NeighbourList, Radius, Structure
from halocline.model.build import build_backbone
from halocline.model.chain import chain
from halocline.partition import Cutter, build_domains
from halocline.partition.geometry import block_grid, expected_levels, growth, hop_length
from halocline.plugin import registry
from halocline.program import Precision
from halocline.testing.structures import graph_of

DENSITY = 0.1

#: Predictions against counts of real cuts, relative.
GEOMETRY = 0.10


def water(atoms, seed):
    """A box of random positions: the sites of a lattice are no longer seen in them."""
    box = disordered_box(("O", "H"), atoms, DENSITY)
    box.positions += np.random.default_rng(seed).normal(scale=0.6, size=(atoms, 3))
    return box


def counted(graph, ranks, profile, parts=None):
    parts = parts or ranks
    owners = registry().load("partitioner", "rcb")().owners(graph, parts)
    return count_loads(graph.edges, owners, parts=parts, ranks=ranks, profile=profile), owners


class Recorder(Links):
    """Counts what an exchanging rank sends."""

    def __init__(self):
        self.bytes = self.rounds = 0

    def forward(self, rows):
        self.bytes += rows[0].numel() * rows.element_size()
        self.rounds += 1

    backward = forward


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("name", sorted(registry().names("backbone")))
def test_a_profile_says_what_an_exchanging_rank_sends(name, precision):
    model = build_backbone(name, registry().load("backbone", name).example_config(), seed=0)
    graph, links, profile = chain(model, 24, seed=1), Recorder(), Profile.of(model, precision)
    if profile.refusal:
        with pytest.raises(UsageError, match=re.escape(profile.refusal)):
            make_runner(model, TorchExecutor("cpu"), precision, exchange=True)
    else:
        runner = make_runner(model, TorchExecutor("cpu"), precision, exchange=True)
        runner.run(graph, np.zeros(12, np.int64), links)
    assert (profile.bytes, profile.rounds) == (links.bytes, links.rounds)


def test_a_model_that_cannot_exchange_says_why_it_recomputes():
    profile = Profile((1, 0), (0, 0), 0, 0, refusal="It reads edges of others.")
    loads = predict_loads(1e4, DENSITY, 5.0, 8, profile)
    assert choose_halo(profile, loads, Speeds(1e-6, inf, 0.0)) == (
        "recompute",
        "Halos are recomputed, because they must be. It reads edges of others.",
    )


@pytest.mark.parametrize(("name", "depth"), MODELS)
def test_a_profile_has_the_hops_of_the_model(name, depth):
    model = backbone(name, depth)
    profile = Profile.of(model, Precision.FLOAT32)
    assert sorted(profile.levels) == list(range(model.hops))
    assert profile.reach == model.hops == len(profile.exchanged_levels)
    assert profile.exchanged_reach == model.hops // depth


def test_equal_layers_need_no_backbone():
    model = backbone("schnet", 3)
    features = model.config["features"]
    assert Profile.of(model, Precision.FLOAT32) == Profile.of_layers(3, features)
    assert Profile.of(model, Precision.FLOAT64) == Profile.of_layers(3, features, size=8)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_loads_are_those_of_the_domains(seed, parts, ranks, layers):
    structure = Structure.from_atoms(water(120, seed))
    graph = NeighbourList(Radius(3.0), skin=0.0).graph(structure)
    owners = np.random.default_rng(seed).integers(0, parts, len(structure))
    profile = Profile.of_layers(layers, 7)
    loads = count_loads(graph.edges, owners, parts=parts, ranks=ranks, profile=profile)
    for load, reach, exchange in ((loads.recompute, layers, False), (loads.exchange, 1, True)):
        domains = build_domains(
            structure,
            graph.edges,
            graph.partners,
            owners,
            parts=parts,
            ranks=ranks,
            reach=reach,
            exchange=exchange,
        )
        assert load.held == sum(len(domain.atoms) for domain in domains)
        assert load.edges == max(evaluated(domain, layers, exchange) for domain in domains)
        if exchange and layers > 1:
            rows = [(sum(map(len, domain.sends)), sum(map(len, domain.receives))) for domain in domains]
            assert load.halo == np.max(rows)
        else:
            assert load.halo == 0


def evaluated(domain, layers, exchange):
    """Edges that the layers of a domain's parts work on, found by walking."""
    total = 0
    for part in np.unique(domain.parts):
        active = np.zeros(len(domain.atoms), bool)
        active[: domain.owned] = domain.parts == part
        for _ in range(layers):
            used = active[domain.edges.receivers]
            total += int(used.sum())
            if not exchange:
                active[domain.edges.senders[used]] = True
    return total


def test_a_link_is_as_busy_as_its_busier_direction():
    """An atom of rank 0 with six neighbours of three others: rank 0 receives six rows and sends three."""
    ends = [(0, i) for i in range(1, 7)] + [(i, 0) for i in range(1, 7)]
    receivers, senders = np.array(ends).T
    star = Edges(receivers, senders, np.zeros((12, 3), np.int64))
    owners, profile = np.array([0, 1, 1, 2, 2, 3, 3]), Profile.of_layers(2, 1)
    assert count_loads(star, owners, parts=4, ranks=4, profile=profile).exchange.halo == 6


def test_one_rank_evaluates_every_edge_once_and_holds_every_atom():
    graph = graph_of(water(200, 0), Radius(4.0))
    loads, _ = counted(graph, 1, Profile.of_layers(3, 8))
    assert loads.recompute == loads.exchange
    assert loads.recompute.edges == 3 * len(graph.edges)
    assert (loads.recompute.held, loads.exchange.halo) == (200, 0)


BOXES = [(1500, 3.5, 2), (3000, 4.0, 4), (3000, 4.0, 8), (3000, 5.0, 8), (4000, 4.5, 16), (1000, 3.0, 64)]


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize(("atoms", "cutoff", "ranks"), BOXES)
def test_predicted_edges_are_those_of_really_cut_domains(atoms, cutoff, ranks, layers):
    profile = Profile.of_layers(layers, 8)
    real, _ = counted(graph_of(water(atoms, layers), Radius(cutoff)), ranks, profile)
    predicted = predict_loads(atoms, DENSITY, cutoff, ranks, profile)
    redundancy = predicted.recompute.edges / predicted.exchange.edges
    assert redundancy == pytest.approx(real.recompute.edges / real.exchange.edges, rel=GEOMETRY)
    assert predicted.recompute.edges == pytest.approx(real.recompute.edges, rel=GEOMETRY)
    assert predicted.exchange.edges == pytest.approx(real.exchange.edges, rel=GEOMETRY)


@pytest.mark.parametrize("parts", [1, 8, 27])
def test_levels_of_a_structure_are_expected_to_be_those_of_its_parts(parts):
    """Where parts are cubes, as is assumed of them."""
    graph = graph_of(water(3000, 0), Radius(4.0))
    owners = registry().load("partitioner", "rcb")().owners(graph, parts)
    cutter = Cutter(graph.edges, len(owners))
    cuts = [cutter.cut(np.flatnonzero(owners == part), 3) for part in range(parts)]
    edges, atoms = expected_levels(graph, 3, parts)
    assert edges == pytest.approx(np.mean([cut.edge_levels for cut in cuts], axis=0), rel=GEOMETRY)
    assert atoms == pytest.approx(np.mean([cut.levels for cut in cuts], axis=0), rel=GEOMETRY)


def test_vacuum_is_not_expected_to_hold_anything():
    box = water(1000, 0)
    _, liquid = expected_levels(graph_of(box, Radius(4.0)), 2, 8)
    box.cell[2] *= 3.0
    _, film = expected_levels(graph_of(box, Radius(4.0)), 2, 8)
    assert film == pytest.approx(liquid, rel=GEOMETRY)


@pytest.mark.parametrize(
    ("atoms", "cutoff", "ranks", "published"),
    [
        (27000, 5.0, 8, (1.91, 3.22, 4.98)),
        (64000, 6.0, 8, (1.82, 3.05, 4.60)),
        (64000, 6.0, 64, (2.88, 6.36, 11.6)),
    ],
)
def test_halos_grow_as_was_measured_on_jittered_lattices(atoms, cutoff, ranks, published):
    assert growth(atoms, DENSITY, cutoff, ranks, 3)[1:] == pytest.approx(published, rel=GEOMETRY)


def test_surroundings_of_a_small_block_in_a_large_cell_follow_steiner():
    """abc + 2x (ab + bc + ca) + π x² (a + b + c) + 4/3 π x³, as long as a block does not meet itself."""
    atoms, ranks = 1e6, 512
    side, hop = (atoms / DENSITY) ** (1 / 3) / 8, hop_length(DENSITY, 6.0)
    steiner = side**3 + 6 * hop * side**2 + 3 * np.pi * hop**2 * side + 4 / 3 * np.pi * hop**3
    assert growth(atoms, DENSITY, 6.0, ranks, 1)[1] == pytest.approx(steiner / side**3, rel=1e-3)  # midpoints


@given(st.integers(2, 200), st.floats(1e2, 1e7), st.floats(1.0, 9.0))
@settings(deadline=None)
def test_halos_grow_with_every_hop_and_never_beyond_the_cell(ranks, atoms, cutoff):
    ratios = growth(atoms, DENSITY, cutoff, ranks, 4)
    assert ratios[0] == pytest.approx(1.0)
    assert ratios == sorted(ratios)
    assert ratios[-1] <= ranks * (1 + 1e-9)


@given(st.integers(1, 600))
def test_a_grid_has_a_block_for_each_rank(ranks):
    assert np.prod(block_grid(ranks)) == ranks


rates = st.floats(0.0, inf, allow_nan=False)
seconds = st.floats(0.0, 1.0)


@given(
    st.sampled_from([("lennard-jones", 1), ("schnet", 1)]),
    st.integers(1, 9),
    rates,
    seconds,
    seconds,
    st.floats(0.0, 1.0),
)
@settings(max_examples=40, deadline=None)
def test_one_layer_always_recomputes(model, ranks, rate, latency, per_edge, share):
    profile = Profile.of(backbone(*model), Precision.FLOAT32)
    loads = predict_loads(1e4, DENSITY, 5.0, ranks, profile)
    choice, why = choose_halo(profile, loads, Speeds(per_edge, rate, latency, share))
    assert choice == "recompute"
    assert "no stage" in why


@given(st.integers(1, 64), st.integers(1, 6), seconds)
@settings(deadline=None)
def test_without_a_link_halos_are_recomputed(ranks, layers, latency):
    profile = Profile.of_layers(layers, 128)
    loads = predict_loads(1e4, DENSITY, 5.0, ranks, profile)
    assert choose_halo(profile, loads, Speeds(1e-6, 0.0, latency))[0] == "recompute"


@given(st.integers(1, 64), st.integers(2, 6), st.floats(0.0, 1.0))
@settings(deadline=None)
def test_with_an_instant_link_redundancy_decides(ranks, layers, share):
    """Exchange wins exactly where recomputed halos are more work than recomputed values."""
    profile = Profile.of_layers(layers, 128)
    loads = predict_loads(1e4, DENSITY, 5.0, ranks, profile)
    choice, _ = choose_halo(profile, loads, Speeds(1e-6, inf, 0.0, share))
    wins = loads.recompute.edges > loads.exchange.edges * (1.0 + share)
    assert choice == ("exchange" if wins else "recompute")


def test_both_sides_of_the_choice_occur():
    """The property above is not empty."""
    deep, shallow = Profile.of_layers(4, 128), Profile.of_layers(2, 128)
    instant = Speeds(1e-6, inf, 0.0)
    assert choose_halo(deep, predict_loads(1e4, DENSITY, 5.0, 8, deep), instant)[0] == "exchange"
    assert choose_halo(shallow, predict_loads(1e7, DENSITY, 5.0, 2, shallow), instant)[0] == "recompute"


@given(st.integers(1, 64), st.integers(2, 5), st.floats(1e6, 1e12), st.floats(1.0, 1e3))
@settings(deadline=None)
def test_a_faster_link_never_argues_for_recomputing(ranks, layers, rate, factor):
    profile = Profile.of_layers(layers, 256)
    loads = predict_loads(1e5, DENSITY, 6.0, ranks, profile)
    slow, fast = (choose_halo(profile, loads, Speeds(1e-7, value, 1e-5))[0] for value in (rate, rate * factor))
    assert (slow, fast) != ("exchange", "recompute")


@pytest.mark.parametrize(("atoms", "ranks"), [(1e4, 8), (1e5, 64), (1e6, 2)])
@pytest.mark.parametrize("floats", [512, 1152])
def test_two_layers_break_even_where_theory_says(floats, atoms, ranks):
    """Where only halos and state count: at 16 F / t bytes a second, with t seconds per atom for both layers."""
    profile, cutoff = Profile.of_layers(2, floats), 6.0
    loads = predict_loads(atoms, DENSITY, cutoff, ranks, profile)
    per_edge = 1e-7
    per_atom = 2 * per_edge * loads.exchange.edges / 2 / (atoms / ranks)
    even = 16 * floats / per_atom

    def difference(rate):
        times = Speeds(per_edge, rate, latency=0.0, value_share=0.0)
        recompute, exchange = (
            cost_of_recompute(loads.recompute, times),
            cost_of_exchange(loads.exchange, profile, times),
        )
        return recompute.compute - (exchange.compute + exchange.links)

    assert difference(even * 0.999) < 0 < difference(even * 1.001)


def test_reasons_have_numbers():
    profile = Profile.of_layers(3, 100)
    loads = predict_loads(1e5, DENSITY, 5.0, 8, profile)
    choice, why = choose_halo(profile, loads, Speeds(1e-6, 1e9, 1e-5))
    assert choice == "exchange"
    assert f"{loads.recompute.edges / loads.exchange.edges:.2f} times the edges" in why
    assert "1 GB/s" in why
    assert why.startswith("Halos are exchanged: ")


def test_the_parts_of_a_cost_add_up():
    profile = Profile.of_layers(2, 10)
    load = predict_loads(1000, DENSITY, 5.0, 4, profile).exchange
    cost = cost_of_exchange(load, profile, Speeds(1e-6, 1e6, 1e-3, value_share=0.5, seconds_per_atom=1e-5))
    assert cost.compute == pytest.approx(1.5e-6 * load.edges)
    assert cost.links == pytest.approx(2 * 10 * 4 * load.halo / 1e6 + 2e-3)
    assert cost.driver == pytest.approx((48 * load.held + 8 * 1000) / 1e6 + 2 * 4 * 1e-3)
    assert cost.serial == pytest.approx(1e-2)
    assert cost.total == pytest.approx(cost.compute + cost.links + cost.driver + cost.serial)

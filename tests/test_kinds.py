"""Whatever a stage may declare works through eager, ONNX, IPU programs, parts, ranks and batches alike."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from kinds import KINDS
from kinds.dihedrals import BETWEEN
from kinds.edges import SoftRanksOfAll
from kinds.vectors import VectorModel
from numpy_reference import angles, dihedrals
from structures import random_structure
from test_domains import on_ranks
from test_partitioned import RandomOwners, require_equal

from halocline.aggregation import Form
from halocline.backends.ipu.rehearsal import rehearse
from halocline.backends.ipu.translate import from_lowered
from halocline.backends.torch.executor import TorchExecutor
from halocline.errors import BackboneError, UsageError
from halocline.evaluator import LocalEvaluator
from halocline.graph import NeighbourList, Structure
from halocline.lowering import lower
from halocline.model.build import build_with_seed
from halocline.partition import Division, whole
from halocline.plugin import registry
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.capacity import Capacity
from halocline.program.layout import lay_out
from halocline.testing import check_backbone, check_executor
from halocline.testing.checks import BACKBONE_CHECKS

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)

#: One of each kind: the others differ in which edges are kept, which backends do not know.
COMPILED = pytest.mark.parametrize(
    "kind", ["vectors", "by-sender", "several-lists", "two-radii", "angles", "walk", "dihedrals", "soft-ranks"]
)

#: Of these, those between which the suite takes every way; it takes a minute for each.
OF_EVERY_WAY = pytest.mark.parametrize(
    "kind",
    [
        *("several-lists", "walk"),
        *(
            pytest.param(kind, marks=pytest.mark.exhaustive)
            for kind in ("vectors", "by-sender", "two-radii", "angles", "dihedrals", "soft-ranks")
        ),
    ],
)

#: Halos are recomputed, or state is exchanged, where no stage reads the state of edges of other atoms.
EVERY_HALO = pytest.mark.parametrize(
    ("kind", "exchange"),
    [(kind, exchange) for kind in KINDS for exchange in (False, True) if not (exchange and kind == "walk")],
)

#: Checks of the suite that need the backbone to be a plugin.
OF_PLUGINS = {"saving", "loading"}

#: Of the largest value: structures evaluated together, see `AGREEMENT` of `potential.many`.
TOGETHER = 1e-10


@cache
def model(kind):
    return build_with_seed(KINDS[kind], KINDS[kind].example_config(), seed=1)


def structures():
    """Cells of several periodicities, some thinner than the cutoff, one larger than halos; one atom alone."""
    found = [random_structure(seed, atoms=14, edge=(2.5, 9.0)) for seed in range(4)]
    found.append(random_structure(5, atoms=40, pbc=True, edge=(8.0, 9.0)))
    found.append(random_structure(6, atoms=5, pbc=False))
    found.append(random_structure(7, atoms=1, pbc=False))
    return [Structure.from_atoms(atoms) for atoms in found]


def evaluator(kind, division=None, *, exchange=False, executor=None):
    executor = executor or TorchExecutor("cpu")
    return LocalEvaluator(model(kind), executor, Precision.FLOAT64, division, exchange=exchange)


@cache
def alone(kind):
    whole = evaluator(kind)
    return [whole.evaluate(structure) for structure in structures()]


def onnx():
    kind = registry().load("executor", "onnx")
    if not kind.diagnose().usable:
        pytest.skip(kind.diagnose().reason)
    return kind(device="cpu", threads=1)


@pytest.mark.slow
@OF_EVERY_WAY
def test_the_suite_passes(kind):
    checks = [name for name in BACKBONE_CHECKS if name not in OF_PLUGINS]
    report = check_backbone(model(kind), checks=checks)
    assert report.ok, [result for result in report.results if result.status == "failed"]


@pytest.mark.slow
@OF_EVERY_WAY
def test_onnx_runtime_gives_the_same(kind):
    report = check_executor(onnx(), model(kind), checks=["results", "stages"])
    assert report.ok, report.results


@COMPILED
def test_ipu_programs_pass_their_rehearsal(kind):
    backbone = model(kind)
    room = Capacity(levels=(16,) * (backbone.hops + 1), width=16, transposed=16)
    lowered = lower(
        FrozenModel.freeze(backbone, Precision.FLOAT32, Capabilities.reference(Form.TABLE)), capacity=room
    )
    program = from_lowered(lowered, dict(backbone.named_parameters()))
    assert rehearse(program, backbone, room) == ()


@EVERY_HALO
def test_parts_are_the_whole(kind, exchange):
    for seed, (structure, expected) in enumerate(zip(structures(), alone(kind), strict=True)):
        for parts in (2, 40):
            division = Division("random", RandomOwners(seed), parts)
            require_equal(evaluator(kind, division, exchange=exchange).evaluate(structure), expected)


@EVERY_HALO
def test_ranks_are_the_whole(kind, exchange):
    for seed, (structure, expected) in enumerate(zip(structures(), alone(kind), strict=True)):
        owners = np.random.default_rng(seed).integers(0, 3, len(structure))
        require_equal(on_ranks(model(kind), structure, owners, 3, 2, exchange), expected)


def wire():
    """Dense, and longer than twice the halo: what a rank does not hold is really missing."""
    rng, sides, found = np.random.default_rng(0), np.array([4.0, 4.0, 36.0]), np.empty((0, 3))
    while len(found) < 80:
        trial = rng.uniform(0.0, 1.0, 3) * sides
        apart = (found - trial + sides / 2.0) % sides - sides / 2.0
        if not len(found) or np.linalg.norm(apart, axis=1).min() > 0.9:
            found = np.vstack([found, trial])
    return Structure(rng.choice([1, 8], 80).astype(np.int64), found, np.diag(sides), np.ones(3, np.bool_))


@EVERY_HALO
def test_ranks_hold_what_decides_on_their_edges(kind, exchange):
    structure, expected = wire(), evaluator(kind).evaluate(wire())
    owners = (structure.positions[:, 2] > 18.0).astype(np.int64)
    require_equal(on_ranks(model(kind), structure, owners, 2, 2, exchange), expected)


@pytest.mark.parametrize("kind", ["by-sender", "by-either", "several-lists"])
def test_without_one_more_hop_of_candidates_ranks_are_wrong(kind, monkeypatch):
    """The negative control."""
    structure, expected = wire(), evaluator(kind).evaluate(wire())
    owners = (structure.positions[:, 2] > 18.0).astype(np.int64)
    monkeypatch.setattr("test_domains.is_ranked", lambda rule: False)
    with pytest.raises(AssertionError):
        require_equal(on_ranks(model(kind), structure, owners, 2, 2, False), expected)


@EVERY_KIND
def test_batches_are_what_each_is_alone(kind):
    for found, expected in zip(evaluator(kind).evaluate_many(structures()), alone(kind), strict=True):
        for name in ("energies", "forces", "virial"):
            reference = getattr(expected, name)
            allowed = TOGETHER * max(1.0, np.abs(reference).max())
            np.testing.assert_allclose(getattr(found, name), reference, rtol=0, atol=allowed)


def test_state_of_edges_of_other_atoms_is_not_exchanged():
    with pytest.raises(UsageError, match=r"'layers.0' of 'walk' reads e of edges .* choose halo=recompute"):
        evaluator("walk", Division("random", RandomOwners(), 2), exchange=True)


def test_a_smooth_rank_below_k_is_a_hard_rank_below_2k():
    """So that the list of the model has every edge that counts, and any longer one gives the same."""
    of_all = build_with_seed(SoftRanksOfAll, SoftRanksOfAll.example_config())
    of_all.load_state_dict(model("soft-ranks").state_dict())
    longer = LocalEvaluator(of_all, TorchExecutor("cpu"), Precision.FLOAT64)
    for structure, expected in zip(structures(), alone("soft-ranks"), strict=True):
        require_equal(longer.evaluate(structure), expected)


def test_angles_are_those_of_every_pair_of_edges():
    backbone = model("angles")
    weights = {name: values.numpy() for name, values in backbone.state_dict().items()}
    for structure, found in zip(structures(), alone("angles"), strict=True):
        graph = NeighbourList(backbone.neighbours).graph(structure)
        (places,) = graph.sets.places
        kept = graph.edges.take(places)
        edges = list(zip(kept.receivers, kept.senders, graph.vectors[places], strict=True))
        expected = angles.energy(weights, structure.numbers, edges, 3.0, len(backbone.layers))
        assert found.energies.sum() == pytest.approx(expected, rel=1e-12)


def test_dihedral_angles_are_those_of_every_chain():
    backbone = model("dihedrals")
    weights = {name: values.numpy() for name, values in backbone.state_dict().items()}
    for structure, found in zip(structures(), alone("dihedrals"), strict=True):
        graph = NeighbourList(backbone.neighbours).graph(structure)
        edges = list(zip(graph.edges.receivers, graph.edges.senders, graph.vectors, strict=True))
        expected = dihedrals.energy(weights, structure.numbers, edges, 3.0, BETWEEN * 3.0, len(backbone.layers))
        assert found.energies.sum() == pytest.approx(expected, rel=1e-12)


def test_values_of_edges_are_not_passed_to_another_rule():
    backbone = build_with_seed(KINDS["angles"], KINDS["angles"].example_config())
    backbone.layers[1] = VectorModel.from_config(VectorModel.example_config()).layers[1]
    graph = NeighbourList(backbone.neighbours).graph(structures()[4])
    inputs = lay_out(graph, whole(len(graph.structure), graph.edges, 2), Form.EDGES, Precision.FLOAT64)
    with pytest.raises(BackboneError, match=r"Layer 1 of 'angles' is given e of the edges of Nearest.* Radius"):
        energies_and_gradients(backbone, inputs)


def test_edges_of_other_atoms_need_two_hops():
    backbone = build_with_seed(KINDS["walk"], KINDS["walk"].example_config())
    backbone.layers[0].spec = replace(backbone.layers[0].spec, hops=1)
    with pytest.raises(BackboneError, match=r"'layers.0' of 'walk' reads edges that end at other atoms .* 2 hops"):
        FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES))

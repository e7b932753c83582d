"""Compiled steps give the bits of those by NumPy and torch, in every cell, and stand back where there are none."""

import hashlib
import logging

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import halocline
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.evaluator.following import BackboneState
from halocline.evaluator.pull import Pull
from halocline.graph import NeighbourList, Radius, Structure
from halocline.graph import compiled as compiled_steps
from halocline.graph.compiled import Steps, steps
from halocline.graph.measure import Measure, taken
from halocline.native import libraries
from halocline.native.compiler import find_compiler
from halocline.partition import whole
from halocline.program.layout import _pairs

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")

CUTOFF = 3.5


@pytest.fixture(scope="module")
def functions():
    """Those of ``steps.cpp``, and those that keep the interpreter's lock."""
    own = Steps()
    for _ in range(compiled_steps.WORTHWHILE):
        own.of_pass()
    return own.functions, own.under_lock


@pytest.fixture
def use(monkeypatch, functions):
    """Say whether steps are compiled from now on."""

    def use(compiled):
        monkeypatch.setattr(steps, "functions", functions[0] if compiled else None)
        monkeypatch.setattr(steps, "under_lock", functions[1] if compiled else None)

    monkeypatch.setattr(steps, "_passes", compiled_steps.WORTHWHILE)  # none is compiled by itself
    return use


def systems():
    water = molecule("H2O")
    yield "one atom", molecule("H")
    yield "molecule", water
    tiny = water.copy()
    tiny.set_cell([[3.0, 0.2, 0.0], [0.0, 3.3, -0.1], [0.4, 0.0, 3.1]])
    tiny.pbc = (True, True, False)
    yield "skewed slab", tiny
    tiny = tiny.copy()
    tiny.pbc = True
    yield "small skewed cell", tiny
    crystal = bulk("Cu", cubic=True) * (5, 5, 5)  # large enough for scratch
    crystal.rattle(0.1, seed=1)
    yield "crystal", crystal


SYSTEMS = pytest.mark.parametrize("atoms", [atoms for _, atoms in systems()], ids=[name for name, _ in systems()])


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@needs_compiler
@SYSTEMS
def test_candidates_are_measured_and_taken_alike(atoms, use):
    use(False)
    structure = Structure.from_atoms(atoms)
    found = NeighbourList(Radius(CUTOFF)).search(structure)
    moved = atoms.copy()
    moved.rattle(0.05, seed=3)
    by_both = []
    for compiled in (False, True):
        use(compiled)
        measure = Measure(found.candidates, structure)
        measured = [measure.nearer(Structure.from_atoms(each), CUTOFF) for each in (atoms, moved)]
        by_both.append((measured, [taken(found.candidates, found.partners, each.inside) for each in measured]))
    (measured, edges), (others, other_edges) = by_both
    for one, other in zip(measured, others, strict=True):
        assert all(map(same, one, other))
    for (one, partners), (other, other_partners) in zip(edges, other_edges, strict=True):
        assert all(same(getattr(one, name), getattr(other, name)) for name in ("receivers", "senders", "shifts"))
        assert same(partners, other_partners)


@needs_compiler
def test_edges_without_opposites_are_taken_alike(use):
    use(False)
    structure = Structure.from_atoms(bulk("Cu", cubic=True))
    candidates = NeighbourList(Radius(CUTOFF)).search(structure).candidates
    inside = np.arange(len(candidates)) % 3 > 0
    one, nothing = taken(candidates, None, inside)
    use(True)
    other, none = taken(candidates, None, inside)
    assert nothing is none is None
    assert all(same(getattr(one, name), getattr(other, name)) for name in ("receivers", "senders", "shifts"))


@needs_compiler
@SYSTEMS
def test_pairs_are_numbered_alike(atoms, use):
    use(False)
    graph = NeighbourList(Radius(CUTOFF)).graph(Structure.from_atoms(atoms))
    alone = graph.partners.copy()
    alone[::5] = np.arange(len(alone))[::5]  # some have their opposite elsewhere, which then has it there, too
    for partners in (
        graph.partners,
        np.where(alone[graph.partners] == graph.partners, np.arange(len(alone)), alone),
    ):
        changed = type(graph)(
            *(getattr(graph, name) for name in ("structure", "edges", "vectors", "squares")), partners
        )
        part = whole(len(atoms), graph.edges, 2)
        use(False)
        plain = _pairs(changed, part)
        use(True)
        assert all(map(same, plain, _pairs(changed, part)))


@needs_compiler
@SYSTEMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_forces_and_virials_are_summed_alike(atoms, dtype, use):
    use(False)
    graph = NeighbourList(Radius(CUTOFF)).graph(Structure.from_atoms(atoms))
    gradients = torch.randn(len(graph.edges), 3, generator=torch.Generator().manual_seed(5), dtype=dtype)
    pull = Pull(graph.edges.receivers, graph.edges.senders, len(atoms))
    plain = pull.of(gradients, graph.vectors)
    use(True)
    assert all(map(same, plain, pull.of(gradients, graph.vectors)))
    assert all(map(same, plain, pull.of(gradients.T.contiguous().T, np.asfortranarray(graph.vectors))))
    product = graph.vectors.T @ gradients.double().numpy()
    np.testing.assert_allclose(plain[1], 0.5 * (product + product.T), rtol=0, atol=1e-11)


@needs_compiler
def test_a_list_is_searched_anew_alike(use):
    atoms = bulk("Cu", cubic=True) * (3, 3, 3)
    atoms.rattle(0.05, seed=2)
    for one, way in ((5, 0.249), (5, 0.251), (None, 0.1), (None, 0.26)):
        moved = atoms.copy()
        moved.positions[slice(None) if one is None else one] += (way, 0.0, 0.0)
        covered = []
        for compiled in (False, True):
            use(compiled)
            neighbours = NeighbourList(Radius(CUTOFF), skin=0.5)
            found = neighbours.search(Structure.from_atoms(atoms))
            covered.append(neighbours.search(Structure.from_atoms(moved)) is found)
        assert covered == [way < 0.25] * 2


@needs_compiler
def test_changes_of_weights_are_seen_alike(use):
    backbone = halocline.load("water-revpbe0d3-schnet").backbone
    use(True)
    state = BackboneState.of(backbone)
    assert state.is_of(backbone)
    for weight in backbone.parameters():
        last = weight.data.view(-1)[-1:]
        before = last.clone()
        last += 1.0
        assert not state.is_of(backbone)
        last.copy_(before)
        assert state.is_of(backbone)


@needs_compiler
@pytest.mark.parametrize("settings", [Settings(ensemble="nve"), Settings(ensemble="npt", pressure=0.1)], ids=str)
def test_trajectories_are_the_same(settings, use, tmp_path):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (3, 3, 3)
    digests = []
    for compiled in (False, True):
        use(compiled)
        files = RunFiles(tmp_path / str(compiled))
        calculator = halocline.load("lennard-jones-argon").calculator(device="cpu")
        run_dynamics(atoms, calculator, settings, files, steps=25)
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in (files.trajectory, files.log)])
    assert digests[0] == digests[1]


def test_nothing_is_compiled_for_a_few_evaluations(monkeypatch):
    monkeypatch.setattr(compiled_steps, "library", None)
    own = Steps()
    assert [own.of_pass() for _ in range(compiled_steps.WORTHWHILE - 1)] == [None] * (
        compiled_steps.WORTHWHILE - 1
    )


def test_one_pass_over_a_large_list_is_worth_a_compiler():
    few, many = (count * compiled_steps.MANY for count in (10, compiled_steps.WORTHWHILE))
    own = Steps()
    assert own.of_pass(few) is None
    assert own.of_pass(many) is own.functions is not None
    assert own.of_pass(many) is own.functions  # and is not compiled again


@pytest.mark.parametrize("missing", ["compiler", "home"])
def test_without_a_compiler_or_a_place_steps_go_on(missing, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(libraries, "_loaded", {})
    if missing == "compiler":
        monkeypatch.setenv("CXX", "no-such-compiler")
    else:
        monkeypatch.delenv("HALOCLINE_CACHE_DIR", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", "/dev/null")
    own = Steps()
    with caplog.at_level(logging.INFO, logger="halocline"):  # commands of other tests may have raised it
        assert [own.of_pass() for _ in range(2 * compiled_steps.WORTHWHILE)] == [None] * (
            2 * compiled_steps.WORTHWHILE
        )
    assert len([each for each in caplog.messages if "go on by NumPy" in each]) == (missing == "compiler")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]

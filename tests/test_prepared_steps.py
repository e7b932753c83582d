"""Steps that were prepared give the bits of those that were not, and nothing that changes is overlooked."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

import halocline
from halocline.errors import StructureError
from halocline.evaluator.prepared_step import PreparedStep
from halocline.graph import Structure
from halocline.graph import compiled as compiled_steps
from halocline.graph.compiled import Steps, address, steps
from halocline.graph.neighbours import DEFAULT_SKIN
from halocline.native.compiler import find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")

WATER, ARGON = "water-revpbe0d3-schnet", "lennard-jones-argon"


@pytest.fixture(scope="module")
def functions():
    own = Steps()
    for _ in range(compiled_steps.WORTHWHILE):
        own.of_pass()
    return own.functions, own.under_lock


@pytest.fixture(autouse=True)
def compiled(monkeypatch, functions, caplog):
    """Steps are compiled from the first on."""
    caplog.set_level(logging.ERROR)  # single molecules have fewer neighbours than in training
    monkeypatch.setattr(steps, "functions", functions[0])
    monkeypatch.setattr(steps, "under_lock", functions[1])
    monkeypatch.setattr(steps, "_passes", compiled_steps.WORTHWHILE)


@pytest.fixture
def repeated(monkeypatch):
    """Whether each structure that was tried was one of the same edges."""
    found = []
    plain = PreparedStep.moved

    def moved(self, structure):
        found.append((result := plain(self, structure)) is not None)
        return result

    monkeypatch.setattr(PreparedStep, "moved", moved)
    return found


def water():
    two = molecule("H2O") + molecule("H2O")
    two.positions[3:] += (2.9, 0.3, 0.2)
    return two


def argon():
    crystal = bulk("Ar", cubic=True, a=5.4) * (2, 2, 2)
    crystal.rattle(0.02, seed=0)
    return crystal


def slab():
    crystal = argon()
    crystal.pbc = (True, True, False)
    crystal.cell[0, 1] = 0.7
    return crystal


def liquid():
    """Nine molecules in a box that is thinner than the model sees: atoms see several images of each other."""
    one = molecule("H2O")
    one.cell = (3.3, 3.1, 3.2)
    box = one.repeat((3, 3, 1))
    box.pbc = True
    box.rattle(0.05, seed=4)
    return box


SYSTEMS = {
    "molecules": (WATER, water),
    "crystal": (ARGON, argon),
    "skewed slab": (ARGON, slab),
    "liquid": (WATER, liquid),
}


def numbers_of(calculator, atoms):
    """All results, as bytes."""
    calculator.calculate(atoms)
    return {name: np.asarray(value).tobytes() for name, value in calculator.results.items()}


def ready(model, atoms, **options):
    """A calculator whose next step is prepared."""
    calculator = halocline.load(model).calculator(**options)
    for seed in range(3):
        moved = atoms.copy()
        moved.rattle(1e-6, seed=seed)
        calculator.calculate(moved)
    return calculator


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_number_is_that_of_a_new_calculator(name, dtype, repeated):
    model, make = SYSTEMS[name]
    atoms = make()
    calculator = ready(model, atoms, dtype=dtype)
    for seed in range(5):
        atoms.rattle(1e-6, seed=seed)  # in place
        again = halocline.load(model).calculator(dtype=dtype)
        assert numbers_of(calculator, atoms) == numbers_of(again, atoms)
    assert any(repeated)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("liquid", {}),
        ("liquid", {"compress": True}),
        ("liquid", {"backend": "torch:kernels=off"}),
        ("skewed slab", {}),
    ],
    ids=str,
)
def test_edges_that_come_and_go_are_followed(name, options, dtype, repeated):
    model, make = SYSTEMS[name]
    atoms = make()
    calculator = ready(model, atoms, dtype=dtype, **options)
    repeated.clear()
    counts = set()
    for seed in range(6):
        atoms.rattle(0.02, seed=seed)
        again = halocline.load(model).calculator(dtype=dtype, **options)
        assert numbers_of(calculator, atoms) == numbers_of(again, atoms)
        counts.add(len(neighbor_list("i", atoms, again.potential.backbone.neighbours.cutoff)))
    assert sum(repeated) >= 4
    assert len(counts) > 2


def moved_until_edges_change(calculator, atoms):
    for seed in range(6):
        atoms.rattle(0.02, seed=seed)
        calculator.calculate(atoms)


def test_an_interrupt_while_edges_change_leaves_nothing_half_done(monkeypatch):
    atoms = liquid()
    calculator = ready(WATER, atoms)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PreparedStep, "_take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            moved_until_edges_change(calculator, atoms)
    for seed in range(4):
        assert numbers_of(calculator, atoms) == numbers_of(halocline.load(WATER).calculator(), atoms)
        atoms.rattle(0.02, seed=seed)


def test_steps_of_a_run_are_prepared(repeated):
    atoms = water()
    calculator = ready(WATER, atoms)
    repeated.clear()
    for seed in range(10):
        atoms.rattle(1e-4, seed=seed)
        calculator.calculate(atoms)
    assert repeated == [True] * 10


def elements(atoms):
    atoms.numbers[[0, 1]] = atoms.numbers[[1, 0]]


def cell(atoms):
    atoms.cell[0, 0] *= 1.001


def periodicity(atoms):
    atoms.pbc[2] = not atoms.pbc[2]


def one_atom_less(atoms):
    del atoms[-1]


def one_atom_more(atoms):
    atoms += atoms[:1]
    atoms.positions[-1] += 2.5


def far_move(atoms):
    atoms.positions[0] += 0.4


def crossing(atoms):
    atoms.positions[3:] += (1.2, 0.0, 0.0)


CHANGES = [elements, cell, periodicity, one_atom_less, one_atom_more, far_move, crossing]


@pytest.mark.parametrize(
    ("name", "change"),
    # The model of argon knows one element.
    [(name, each) for name in SYSTEMS for each in CHANGES if name == "molecules" or each is not elements],
)
def test_changes_in_place_are_seen(name, change):
    model, make = SYSTEMS[name]
    atoms = make()
    if not atoms.cell.any():
        atoms.cell = [20.0, 20.0, 20.0]
    calculator = ready(model, atoms)
    calculator.calculate(atoms)
    before = atoms.copy()
    change(atoms)
    for each in (atoms, before, atoms):
        assert numbers_of(calculator, each) == numbers_of(halocline.load(model).calculator(), each)


def test_a_cell_that_is_not_that_of_the_search_is_no_reason_to_miss_an_edge():
    """It brings images nearer, and what atoms may move is less by that."""
    length, cutoff = 20.0, halocline.load(ARGON).backbone.neighbours.cutoff
    gap = cutoff + DEFAULT_SKIN + 0.05  # through the boundary: no candidate
    atoms = Atoms("Ar4", [(0, 7, 7), (3.5, 7, 7), (length - gap, 7, 7), (length - gap - 3.5, 7, 7)], pbc=True)
    atoms.cell = [length, 40.0, 40.0]
    calculator = ready(ARGON, atoms)
    atoms.cell[0, 0] -= 0.1  # near enough for the search before
    for seed in range(3):
        atoms.rattle(1e-6, seed=seed)
        calculator.calculate(atoms)
    atoms.positions[:2, 0] -= 0.24  # each by less than half of the skin
    atoms.positions[2:, 0] += 0.24
    assert atoms.get_distance(0, 2, mic=True) < cutoff
    assert numbers_of(calculator, atoms) == numbers_of(halocline.load(ARGON).calculator(), atoms)


@pytest.mark.parametrize("atom", range(3))
def test_an_atom_that_is_nowhere_is_the_farthest(functions, atom):
    then = np.zeros((3, 3))
    now = then + 0.1
    now[atom, 1] = np.nan
    assert np.isnan(functions[0].farthest(3, address(now), address(then)))


@pytest.mark.parametrize("place", [np.nan, np.inf, 0.0])
def test_what_no_step_can_be_made_of_is_refused(place):
    """Not finite, or one atom upon another."""
    atoms = water()
    calculator = ready(WATER, atoms)
    good = numbers_of(calculator, atoms)
    bad = atoms.copy()
    bad.positions[1] = bad.positions[0] + place
    with pytest.raises(StructureError):
        calculator.calculate(bad)
    assert numbers_of(calculator, atoms) == good


def test_atoms_that_meet_within_the_skin_are_refused():
    atoms = water()
    atoms.positions[1] = atoms.positions[0] + (0.0, 0.0, 0.2)
    calculator = ready(WATER, atoms)
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(StructureError, match="sit on one point"):
        calculator.calculate(atoms)


@pytest.mark.parametrize("array", ["cell", "pbc", "positions"])
def test_structures_may_be_written_to(array):
    """Whoever has an evaluator and one structure of its own changes the arrays of that."""
    potential = halocline.load(ARGON)
    evaluator = potential.evaluator("torch", "float32", "cpu", "none", "recompute")
    structure = Structure.from_atoms(slab())
    for _ in range(3):
        evaluator.evaluate(structure)
    values = getattr(structure, array)
    values[:] = ~values if array == "pbc" else values * 1.0005
    other = potential.evaluator("torch", "float32", "cpu", "none", "recompute")
    one, two = evaluator.evaluate(structure), other.evaluate(structure.copy())
    assert one.forces.tobytes() == two.forces.tobytes()
    assert one.virial.tobytes() == two.virial.tobytes()


def test_outputs_of_another_kind_are_summed_the_long_way(monkeypatch):
    atoms = water()
    calculator = ready(WATER, atoms)
    expected = numbers_of(calculator, atoms)
    other = ready(WATER, atoms)
    monkeypatch.setattr(PreparedStep, "sums", lambda self, outputs, moved: None)
    assert numbers_of(other, atoms) == expected


def test_results_that_are_kept_stay_as_they_are():
    """Contacts are measured later, from edges of that very step."""
    potential = halocline.load(WATER)
    evaluator = potential.evaluator("torch", "float32", "cpu", "none", "recompute")
    atoms = water()
    results = []
    for seed in range(6):
        atoms.rattle(5e-3, seed=seed)
        results.append((evaluator.evaluate(Structure.from_atoms(atoms)), atoms.copy()))
    for result, at in results:
        again = potential.evaluator("torch", "float32", "cpu", "none", "recompute").evaluate(
            Structure.from_atoms(at)
        )
        assert result.contacts.shortest.tobytes() == again.contacts.shortest.tobytes()
        assert result.forces.tobytes() == again.forces.tobytes()

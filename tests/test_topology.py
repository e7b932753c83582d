"""Steps that stay on the device give the numbers of the way by NumPy, which is the reference for all of them.

CUDA is not needed: torch computes on the CPU with the same operations.
"""

from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from structures import random_structure

import halocline
from halocline.aggregation import Form
from halocline.errors import NotFiniteError, StructureError
from halocline.evaluator import device_search, local
from halocline.evaluator.device_search import pairs_within
from halocline.evaluator.topology import Topology
from halocline.graph import Edges, NeighbourList, Radius, Structure
from halocline.graph.radius import radius_edges
from halocline.model.build import build_backbone
from halocline.native.compiler import find_compiler
from halocline.partition import whole
from halocline.plugin import registry
from halocline.program import Precision
from halocline.program.layout import lay_out

STEPS = 5
#: Of virials, by their largest number: products of matrices round with where their numbers lie in memory.
VIRIAL = 1e-13


@pytest.fixture
def stay(monkeypatch):
    """From here on evaluators on the CPU do as on a GPU."""
    return lambda: monkeypatch.setattr(local, "STAY_ON", ("cpu", "cuda"))


def model(backbone):
    made = build_backbone(backbone, registry().load("backbone", backbone).example_config())
    return halocline.Potential(made, dict.fromkeys(made.species, 1.0), {})


def walk(atoms):
    """Atoms move a little, and farther than the skin; the cell changes, and so does an element."""
    rng = np.random.default_rng(1)
    for step in range(STEPS):
        atoms.positions += rng.normal(size=atoms.positions.shape) * (0.0, 0.02, 0.3, 0.02, 0.02)[step]
        if step == 3 and atoms.pbc.any():
            atoms.set_cell(atoms.cell.array * [[1.01], [0.99], [1.02]], scale_atoms=True)
        if step == 4:
            atoms.numbers[0] = 1
        yield atoms.copy()


def same(one, other):
    for name in ("energies", "forces"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_allclose(one.virial, other.virial, rtol=0, atol=VIRIAL * np.abs(other.virial).max())
    for name in ("elements", "shortest", "pairs", "fewest", "most"):
        np.testing.assert_array_equal(getattr(one.contacts, name), getattr(other.contacts, name))


@pytest.mark.parametrize("pbc", list(product((False, True), repeat=3)), ids=str)
@pytest.mark.parametrize("backbone", ["schnet", "m3gnet", "mace"])
def test_results_are_those_of_the_reference(backbone, pbc, stay):
    potential = model(backbone)
    reference = potential.evaluator("torch", "float32", "cpu", "none", "auto")
    stay()
    staying = potential.evaluator("torch", "float32", "cpu", "none", "auto")
    for step in walk(random_structure(3, pbc=pbc)):
        one, other = (potential.evaluate_with(evaluator, step) for evaluator in (staying, reference))
        same(one, other)


@pytest.mark.parametrize("skin", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("precision", Precision)
def test_inputs_are_those_of_the_reference_to_the_bit(precision, skin):
    neighbours, hops = NeighbourList(Radius(3.0), skin), 3
    for step in walk(random_structure(5, pbc=(True, True, False))):
        structure = Structure.from_atoms(step)
        pairs = pairs_within(structure, 3.0 + skin, "cpu")
        geometry = Topology.of(structure, pairs, 3.0, hops, precision).geometry(structure)
        graph = neighbours.graph(structure)
        expected = lay_out(graph, whole(len(structure), graph.edges, hops), Form.EDGES, precision)
        for name in type(expected).__dataclass_fields__:
            found, wanted = getattr(geometry.inputs, name), getattr(expected, name)
            assert torch.equal(found, wanted) if isinstance(found, torch.Tensor) else found == wanted
        np.testing.assert_array_equal(geometry.vectors.numpy(), graph.vectors)
        np.testing.assert_array_equal(geometry.squares.numpy(), graph.squares)


FOUND = {
    "triclinic": lambda: random_structure(7, pbc=True),
    "slab": lambda: random_structure(8, pbc=(True, False, True)),
    "molecule": lambda: molecule("C6H6"),
    "only images": lambda: Atoms("O", cell=[2.0] * 3, pbc=True),
    "skewed": lambda: Atoms("OH", [(0, 0, 0), (1, 1, 1)], cell=[[3, 0, 0], [29, 3, 0], [-17, 31, 3]], pbc=True),
    "long and thin": lambda: Atoms("HHH", [(0, 0, 0), (0, 0, 1), (0, 0, 5e5)], cell=[4, 4, 1e6], pbc=True),
    "too many bins": lambda: Atoms("HHH", [(0, 0, 0), (0, 0, 1), (1e8, 1e8, 1e8)]),
    "out of its cell": lambda: Atoms("HO", [(-31.7, 44.4, 0), (-31.0, 44.9, 90.3)], cell=[5, 6, 7], pbc=True),
    "one atom": lambda: Atoms("H"),
    "apart": lambda: Atoms("OH", [(0, 0, 0), (0, 0, 9)]),
}


@pytest.mark.parametrize("at_once", [1, 2**22])
@pytest.mark.parametrize("kind", FOUND)
def test_a_search_on_the_device_finds_what_a_tree_finds(kind, at_once, monkeypatch):
    monkeypatch.setattr(device_search, "_AT_ONCE", at_once)
    structure = Structure.from_atoms(FOUND[kind]())
    found, expected = pairs_within(structure, 4.1, "cpu"), radius_edges(structure, 4.1)
    shifts = np.zeros((len(found.shifts), 3), np.int64)
    shifts[:, structure.pbc] = found.shifts.numpy()
    for ours, theirs in zip((found.receivers, found.senders), (expected.receivers, expected.senders), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    np.testing.assert_array_equal(shifts, expected.shifts)
    np.testing.assert_array_equal(found.partners.numpy(), Edges.partners(expected))


def test_absurd_cells_are_refused_alike(stay):
    tiny = Atoms("Ar", cell=[1e-3] * 3, pbc=True)
    stay()
    with pytest.raises(StructureError, match="far too small"):
        halocline.load("lennard-jones-argon")(tiny, device="cpu")


def test_a_topology_is_made_once_for_each_search(stay, monkeypatch):
    made = []
    of = Topology.of
    monkeypatch.setattr(Topology, "of", lambda *arguments: made.append(1) or of(*arguments))
    stay()
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 2
    atoms.rattle(0.05, seed=0)
    atoms.calc = halocline.load("lennard-jones-argon").calculator(device="cpu")
    for _ in range(STEPS):
        atoms.get_forces()
        atoms.positions[0] += 1e-3
    assert len(made) == 1
    atoms.positions[0] += 1.0
    atoms.get_forces()
    assert len(made) == 2


@pytest.mark.slow  # compiles
@pytest.mark.parametrize("compiler", ["inductor", pytest.param("aot", marks=pytest.mark.exhaustive)])
def test_compiled_programs_stay(compiler, stay):
    if find_compiler() is None:
        pytest.skip("no C++ compiler")
    potential, options = (
        model("schnet"),
        {"device": "cpu", "dtype": "float64", "backend": f"torch:compile={compiler}"},
    )
    steps = list(walk(random_structure(4, pbc=(True, False, True))))
    expected = [potential(step, **options) for step in steps]
    stay()
    again = model("schnet")
    for step, reference in zip(steps, expected, strict=True):
        same(again(step, **options), reference)


def test_what_cannot_stay_does_not(stay):
    """Parts and state that is exchanged go the other way, with the same numbers."""
    atoms = random_structure(2, pbc=True)
    potential = model("schnet")
    expected = potential(atoms, device="cpu", dtype="float64")
    stay()
    for options in (
        {"partition": "rcb:2"},
        {"halo": "exchange"},
        {"memory": "8GiB"},
        {"backend": "onnx:threads=1"},
    ):
        result = potential(atoms, device="cpu", dtype="float64", **options)
        np.testing.assert_allclose(result.forces, expected.forces, atol=1e-10)


@pytest.mark.parametrize(
    "atoms",
    [Atoms("H"), Atoms("OH", [(0, 0, 0), (0, 0, 9)]), molecule("H2O"), Atoms("O", cell=[2.0] * 3, pbc=True)],
    ids=["one atom", "no edges", "molecule", "only images"],
)
def test_small_systems(atoms, stay):
    potential = model("schnet")
    expected = potential(atoms, device="cpu")
    stay()
    same(model("schnet")(atoms, device="cpu"), expected)


def test_faults_are_named_alike(stay):
    coincident = Atoms("OHH", [(0, 0, 0), (0, 0, 1), (0, 0, 1 + 1e-5)])
    argon, near = halocline.load("lennard-jones-argon"), Atoms("Ar2", [(0, 0, 0), (0, 0, 0.002)])

    def texts():
        for potential, atoms in ((model("schnet"), coincident), (halocline.load("lennard-jones-argon"), near)):
            with pytest.raises(StructureError) as caught:
                potential(atoms, device="cpu")
            yield str(caught.value)
        assert caught.type is NotFiniteError

    expected = list(texts())
    stay()
    assert list(texts()) == expected
    assert argon(Atoms("Ar2", [(0, 0, 0), (0, 0, 3.8)]), device="cpu").energy < 0

"""Many structures at once are what each of them is alone, and one that fails harms no other."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from structures import random_structure

from halocline.aggregation import Form
from halocline.backends.torch.executor import TorchExecutor
from halocline.errors import NotFiniteError, StructureError, UnknownElementError, UsageError
from halocline.evaluator import LocalEvaluator, batches
from halocline.evaluator.recompute import RecomputeRunner
from halocline.executor import Capabilities, Executor
from halocline.graph import Contacts, Nearest, NeighbourList, Radius, Structure, joint_graph
from halocline.memory.live_bytes import is_out_of_memory
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential import many
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.program.capacity import Capacity, power_of_two

NAMES = ("lennard-jones", "schnet", "m3gnet")
LARGER = ("chgnet", "escaip", "nequip", "tensornet")

#: Executors that take many structures in one call, in edges, in a table and padded; and options that divide.
OPTIONS = {
    "torch": {},
    "exchange": {"halo": "exchange"},
    "parts": {"partition": "rcb:3"},
    "onnx": {"backend": "onnx:threads=1"},
    "onnx in parts": {"backend": "onnx:threads=1", "partition": "rcb:2"},
    "memory": {"memory": "2GiB"},
}


def potential(name):
    backbone = build_backbone(name, registry().load("backbone", name).example_config(), seed=1)
    return Potential(backbone, {symbol: -10.0 * at for at, symbol in enumerate(backbone.species)}, {})


def kinds_of_structures(model):
    """Every periodicity, some thinner than the cutoff; atoms that are far apart; one atom; a large molecule."""
    species, scale = model.species, model.cutoff / 3.5
    found = []
    for seed, pbc in enumerate(itertools.product((False, True), repeat=3)):
        found.append(random_structure(seed, symbols=species, atoms=3 + 2 * seed, pbc=pbc, edge=(2.5, 7.0)))
    found += [Atoms(species[0]), Atoms(species[0] * 2, positions=[(0, 0, 0), (0, 0, 90)])]
    found += [random_structure(9, symbols=species, atoms=70, pbc=False, edge=(9.0, 12.0))]  # not small
    found += [
        Atoms(species[-1], cell=np.eye(3) * 2.4, pbc=True),
        Atoms(species[-1], cell=np.eye(3) * 60, pbc=True),
    ]
    for atoms in found:
        atoms.set_cell(atoms.cell * scale, scale_atoms=False)
        atoms.positions *= scale
    return found


def require_equal(found, alone, dtype="float64"):
    """But for the rounding that is promised."""
    largest = many.AGREEMENT[dtype]
    scales = {"energies": np.abs(alone.energies).sum(), "forces": np.abs(alone.forces).max()}
    scales["virial"] = np.abs(alone.virial).max()
    for name, scale in scales.items():
        difference = np.abs(getattr(found, name) - getattr(alone, name)).max()
        assert difference <= largest * max(1.0, scale), name
    assert found.volume == alone.volume
    assert found.outside == alone.outside
    for each in fields(Contacts):
        assert np.array_equal(getattr(found.contacts, each.name), getattr(alone.contacts, each.name)), each.name


#: The larger backbones on one executor: what differs between executors is what the smaller ones show.
CASES = (*itertools.product(NAMES, OPTIONS), *((name, "torch") for name in LARGER))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_together_is_as_alone(name, options):
    model = potential(name)
    structures = kinds_of_structures(model)
    if options != "torch" or name in LARGER:
        structures = structures[::3]
    asked = OPTIONS[options] | {"dtype": "float64"}
    alone = [model(atoms, dtype="float64") for atoms in structures]
    for found, expected in zip(model(structures, **asked), alone, strict=True):
        require_equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_within_its_own_tolerance(name):
    model = potential(name)
    structures = kinds_of_structures(model)
    for found, atoms in zip(model(structures), structures, strict=True):
        require_equal(found, model(atoms), "float32")


class ShapeByShape(Executor):
    """Runs tables as they are written down, and remembers their shapes, as if it had to compile each."""

    capabilities = Capabilities(
        devices=("cpu",),
        precisions=tuple(Precision),
        form=Form.TABLE,
        many_structures=True,
        shape_by_shape=True,
    )
    device = "cpu"

    def __init__(self):
        self.shapes = []

    @classmethod
    def diagnose(cls):
        return TorchExecutor.diagnose()

    def prepare(self, frozen):
        run = TorchExecutor("cpu").prepare(frozen)

        def session(inputs):
            self.shapes.append(Capacity.of(inputs))
            return run(inputs)

        return session


@pytest.mark.parametrize("limit", [1, 3000])
def test_few_shapes_serve_structures_of_any_size(monkeypatch, limit):
    monkeypatch.setattr(batches, "MOST_AT_ONCE", limit)
    model = potential("schnet")
    structures = kinds_of_structures(model) * 3
    executor = ShapeByShape()
    evaluator = LocalEvaluator(model.backbone, executor, Precision.FLOAT64)
    assert evaluator.together
    found = model.evaluate_many_with(evaluator, [model.prepare(atoms) for atoms in structures])
    for each, atoms in zip(found, structures, strict=True):
        require_equal(each, model(atoms, dtype="float64"))
    largest = power_of_two(max(map(len, structures)))
    for shape in executor.shapes:
        assert shape.levels[-1] * shape.width <= limit or shape.levels[-1] <= largest  # which is one structure
        assert all(size.bit_count() <= 1 for size in (*shape.levels, shape.width, shape.transposed))
    if limit == 1:
        assert len(executor.shapes) == len(structures)
    else:
        assert len(executor.shapes) < len(structures) / 3
        assert len(set(executor.shapes)) < 8


@pytest.mark.parametrize("size", range(70))
def test_powers_of_two(size):
    found = power_of_two(size)
    assert size <= found < 2 * max(size, 1)
    assert found.bit_count() <= 1


@pytest.mark.slow  # each shape is compiled
def test_programs_of_fixed_shape_take_many_structures():
    model = potential("schnet")
    structures = kinds_of_structures(model)[:6]
    for found, atoms in zip(model(structures, backend="ipu:target=cpu"), structures, strict=True):
        require_equal(found, model(atoms), "float32")


@pytest.mark.slow
@pytest.mark.exhaustive  # the matrix has others on this backend, together
def test_a_compiled_program_takes_many_structures():
    model = potential("schnet")
    structures = kinds_of_structures(model)
    options = {"backend": "torch:compile=inductor", "dtype": "float64"}
    assert model.evaluator(device="cpu", partition="none", halo="auto", **options).together
    for found, atoms in zip(model(structures, **options), structures, strict=True):
        require_equal(found, model(atoms, dtype="float64"))


@pytest.mark.parametrize("rule", [Radius(3.1), Nearest(4)], ids=str)
def test_graphs_are_to_the_bit_those_of_each_alone(rule):
    cases = [random_structure(seed, atoms=2 + seed, pbc=seed % 3 == 0) for seed in range(9)]
    structures = [Structure.from_atoms(atoms) for atoms in cases]
    joint, failures = joint_graph(rule, structures)
    assert not failures
    for place, structure in enumerate(structures):
        found, alone = joint.some(place, place + 1).graph, NeighbourList(rule).graph(structure)
        for name in ("receivers", "senders", "shifts"):
            assert np.array_equal(getattr(found.edges, name), getattr(alone.edges, name))
        assert np.array_equal(found.vectors, alone.vectors)
        if alone.partners is not None:
            assert np.array_equal(found.partners, alone.partners)


@pytest.mark.parametrize("limit", [1, 40, 300])
def test_the_size_of_batches_changes_no_result(monkeypatch, limit):
    model = potential("schnet")
    structures = kinds_of_structures(model)
    alone = [model(atoms, dtype="float64") for atoms in structures]
    monkeypatch.setattr(batches, "MOST_AT_ONCE", limit)
    for found, expected in zip(potential("schnet")(structures, dtype="float64"), alone, strict=True):
        require_equal(found, expected)


def test_an_object_may_come_twice_and_a_list_may_be_empty():
    model, water = potential("schnet"), molecule("H2O")
    first, other, again = model([water, molecule("H2"), water])
    require_equal(first, model(water), "float32")
    require_equal(again, first, "float32")
    assert len(other.energies) == 2
    assert model([]) == []
    assert list(model.map(iter(()))) == []


BAD = {
    "no atoms": (Atoms(), StructureError, "no atoms"),
    "unknown element": (Atoms("Au"), UnknownElementError, "Au"),
    "coincident molecule": (Atoms("H2"), StructureError, "Atoms 0 and 1 sit on one point"),
    "coincident crystal": (
        Atoms("HOH", positions=[(0, 0, 0), (2, 2, 2), (2, 2, 2)], cell=[4] * 3, pbc=True),
        StructureError,
        "Atoms 1 and 2 sit on one point",
    ),
    "not finite": (Atoms("H", positions=[(0, 0, np.nan)]), StructureError, "not finite"),
    "flat": (Atoms("H", cell=[1, 0, 1], pbc=True), StructureError, "no volume"),
    "tiny cell": (Atoms("H", cell=[1e-3] * 3, pbc=True), StructureError, "too small"),
    "occupied in part": (Atoms("H", info={"occupancy": {"0": {"H": 0.5}}}), StructureError, "in part"),
}


@pytest.mark.parametrize("options", [{}, {"backend": "onnx:threads=1"}], ids=["together", "in turn"])
def test_a_structure_that_fails_fails_alone_and_is_named(options):
    model, water = potential("schnet"), molecule("H2O")
    structures = [water]
    for bad, _, _ in BAD.values():
        structures += [bad, water]
    found = list(model.map(structures, errors="yield", **options))
    for place, (_, kind, words) in enumerate(BAD.values()):
        error = found[2 * place + 1]
        assert type(error) is kind
        assert str(error).startswith(f"Structure {2 * place + 1}: ")
        assert words in str(error)
    for result in found[::2]:
        require_equal(result, model(water), "float32")


@pytest.mark.parametrize(("bad", "kind", "words"), BAD.values(), ids=BAD)
def test_a_list_raises_the_first_failure_by_its_place(bad, kind, words):
    model, water = potential("schnet"), molecule("H2O")
    with pytest.raises(kind, match=f"Structure 2: .*{words}"):
        model([water, water, bad, water, Atoms("Au")])
    results = model.map([water, water, bad])
    assert len([next(results), next(results)]) == 2
    with pytest.raises(kind, match="Structure 2: "):
        next(results)


def test_numbers_that_are_not_finite_are_the_matter_of_one():
    model = potential("lennard-jones")
    near = Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 2e-3)])
    fine = bulk("Ar", "fcc", 5.2, cubic=True)
    first, error, last = model.map([fine, near, fine], errors="yield")
    assert isinstance(error, NotFiniteError)
    assert "Structure 1: Ar2: " in str(error)
    require_equal(first, model(fine), "float32")
    require_equal(last, first, "float32")


@pytest.mark.parametrize("wrong", [None, "H2O", 3, [molecule("H2O"), "H2O"], {"a": 1}], ids=str)
def test_what_is_no_structure_is_refused(wrong):
    with pytest.raises(UsageError, match=r"Atoms"):
        potential("schnet")(wrong)


def test_a_stream_is_read_as_it_is_needed_and_objects_may_be_used_again(monkeypatch):
    monkeypatch.setattr(many, "WINDOW_STRUCTURES", 8)
    model, read = potential("schnet"), []

    def frames():
        water = molecule("H2O")
        for number in itertools.count():
            read.append(number)
            water.positions[0, 2] += 0.01
            yield water

    results = model.map(frames(), dtype="float64")
    assert not read
    found = list(itertools.islice(results, 20))
    assert len(read) <= 20 + 8
    expected = molecule("H2O")
    for result in found:
        expected.positions[0, 2] += 0.01
        require_equal(result, model(expected, dtype="float64"))
    results.close()
    assert next(results, None) is None


def test_what_a_stream_raises_comes_after_the_structures_before_it():
    def frames():
        yield from [molecule("H2O"), molecule("H2")]
        raise OSError("the disk is gone")

    results = potential("schnet").map(frames())
    assert [len(next(results).energies) for _ in range(2)] == [3, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_a_wrong_way_with_errors_is_refused_at_once():
    with pytest.raises(UsageError, match="raise or yield"):
        potential("schnet").map([], errors="ignore")


ERRORS = {
    "numpy": MemoryError("Unable to allocate 7 TiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: 7 bytes"),
    "cuda": torch.cuda.OutOfMemoryError("CUDA out of memory."),
}


def shortage(monkeypatch, most, error):
    """Let calls of the program with more atoms than that fail; returns their sizes."""
    whole, sizes = RecomputeRunner.run_together, []

    def run(self, joint):
        sizes.append(len(joint.graph.structure))
        if sizes[-1] > most:
            raise error
        return whole(self, joint)

    monkeypatch.setattr(RecomputeRunner, "run_together", run)
    return sizes


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_batches_are_halved_when_memory_runs_out(monkeypatch, error):
    model, water = potential("schnet"), molecule("H2O")
    sizes = shortage(monkeypatch, 30, error)
    large = random_structure(3, atoms=40, pbc=False)
    found = list(model.map([water] * 50 + [large] + [water] * 50, errors="yield"))
    assert "Structure 50: Its 40 atoms and their neighbours do not fit into memory" in str(found.pop(50))
    assert len({result.energy for result in found}) <= 2  # the same but for the last bits
    before = len([size for size in sizes if size > 30])
    list(model.map([water] * 50))
    assert len([size for size in sizes if size > 30]) == before  # the size that fits is remembered


def test_the_allocator_of_the_cpu_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_other_errors_are_no_shortage_of_memory(monkeypatch):
    shortage(monkeypatch, 1, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        potential("schnet")([molecule("H2O")])


def test_a_bound_on_memory_makes_batches_smaller_and_divides_what_exceeds_it(monkeypatch):
    model = potential("schnet")
    small, large = bulk("H", "fcc", 3.0, cubic=True), random_structure(1, atoms=700, pbc=True, edge=(14.0, 15.0))
    whole, calls = RecomputeRunner.run_together, []
    monkeypatch.setattr(
        RecomputeRunner, "run_together", lambda self, joint: calls.append(len(joint)) or whole(self, joint)
    )
    found = model([small, small, large, small], dtype="float64", memory="470MiB")
    assert sum(calls) == 3  # the large one was divided
    for result, atoms in zip(found, (small, small, large, small), strict=True):
        require_equal(result, model(atoms, dtype="float64"))


def test_slabs_and_molecules_mix():
    model = potential("lennard-jones")
    slab = fcc111("Ar", (2, 2, 3), a=5.2, vacuum=8.0)
    require_equal(model([Atoms("Ar"), slab, bulk("Ar", "fcc", 5.2)])[1], model(slab), "float32")

"""ONNX Runtime computes what the eager definition computes, whatever the size, the threads and the padding."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")
from onnx_programs import backbone, evaluator, lowered, model, reference
from structures import random_structure

from halocline.aggregation import Form
from halocline.backends.onnx.engine import Engine, Engines, sizes_of
from halocline.backends.onnx.executor import OnnxExecutor
from halocline.backends.onnx.prepare import require_reproduction
from halocline.backends.onnx.session import OnnxSession
from halocline.backends.onnx.target import Target
from halocline.errors import LoweringError
from halocline.graph import NeighbourList, Structure
from halocline.lowering import flatten
from halocline.partition import cut_part, whole
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.capacity import Capacity
from halocline.program.layout import lay_out

#: Of the sum of energies and of the largest force (at least 1 eV/Å): sums run over up to a hundred neighbours.
FLOAT64 = 1e-10

#: Of the largest force, plus a floor in eV/Å.
FLOAT32, FLOOR = 1e-5, 1e-6

#: Two plans of the same additions: of the largest value.
ROUNDING = {Precision.FLOAT64: 1e-13, Precision.FLOAT32: 1e-5}

#: Central differences at 1e-4 Å: truncation is h² f'''/6, 1e-7 for third derivatives of 60 eV/Å⁴.
STEP, DIFFERENCE = 1e-4, 1e-6

#: Lowering a network of three layers takes several seconds.
EVERY_BACKBONE = pytest.mark.parametrize("name", ["lennard-jones", pytest.param("schnet", marks=pytest.mark.slow)])

CPU = Target("cpu", "cpu")
REPEATS = 20


def symbols(name):
    return backbone(name).species


def structures(name):
    """From one atom to cells smaller than the cutoff."""
    random = {"symbols": symbols(name), "edge": (9.0, 12.0) if name == "lennard-jones" else (4.0, 9.0)}
    first, second = symbols(name)
    return {
        "one atom": Atoms(first, positions=[(0.1, 0.2, 0.3)]),
        "no edges": Atoms([first, second], positions=[(0, 0, 0), (0, 0, 50.0)]),
        "dimer": Atoms([first, second], positions=[(0, 0, 0), (0.3, 0.4, 2.4)]),
        "cluster": random_structure(1, atoms=9, pbc=False, **random),
        "liquid": random_structure(2, atoms=30, pbc=True, **random),
        "slab": random_structure(3, atoms=14, pbc=(True, True, False), **random),
        "one atom in a small cell": bulk(first, "fcc", 3.6 if name == "lennard-jones" else 2.2),
        "small triclinic cell": Atoms(
            [first, second],
            positions=[(0, 0, 0), (1.1, 1.3, 1.2)],
            cell=[(2.6, 0.1, 0), (0.4, 2.8, 0), (-0.3, 0.5, 2.7)],
            pbc=True,
        ),
    }


def require_equal(result, expected, precision):
    energy, force = np.abs(expected.energies).sum(), np.abs(expected.forces).max(initial=0.0)
    if precision is Precision.FLOAT64:
        energies, forces = FLOAT64 * max(1.0, energy), FLOAT64 * max(1.0, force)
        virial = FLOAT64 * max(1.0, np.abs(expected.virial).max())
    else:
        energies, forces = FLOAT32 * energy + FLOOR, FLOAT32 * force + FLOOR
        virial = FLOAT32 * max(1.0, np.abs(expected.virial).max())
    np.testing.assert_allclose(result.energies, expected.energies, rtol=0.0, atol=energies)
    np.testing.assert_allclose(result.forces, expected.forces, rtol=0.0, atol=forces)
    np.testing.assert_allclose(result.virial, expected.virial, rtol=0.0, atol=virial)


@pytest.mark.parametrize("precision", Precision)
@EVERY_BACKBONE
def test_results(name, precision):
    for atoms in structures(name).values():
        structure = Structure.from_atoms(atoms)
        result = evaluator(name, precision).evaluate(structure)
        require_equal(result, reference(name).evaluate(structure), precision)


@pytest.mark.slow
def test_results_of_a_pruned_model():
    for atoms in structures("schnet").values():
        structure = Structure.from_atoms(atoms)
        result = evaluator("schnet", Precision.FLOAT64, layers=1).evaluate(structure)
        require_equal(result, reference("schnet", layers=1).evaluate(structure), Precision.FLOAT64)


@EVERY_BACKBONE
def test_forces_and_virial_are_derivatives_of_the_energy(name):
    atoms = structures(name)["liquid"]
    evaluate = evaluator(name, Precision.FLOAT64).evaluate
    result = evaluate(Structure.from_atoms(atoms))

    def slope(move):
        """dE/dx along a change of the structure."""
        energies = []
        for step in (STEP, -STEP):
            moved = atoms.copy()
            move(moved, step)
            energies.append(evaluate(Structure.from_atoms(moved)).energies.sum())
        return (energies[0] - energies[1]) / (2 * STEP)

    scale = max(1.0, np.abs(result.forces).max())
    for atom, axis in ((0, 0), (3, 1), (7, 2)):

        def shift(moved, step, atom=atom, axis=axis):
            moved.positions[atom, axis] += step

        assert slope(shift) == pytest.approx(-result.forces[atom, axis], abs=DIFFERENCE * scale)
    for row, column in ((0, 0), (1, 2)):

        def strain(moved, step, row=row, column=column):
            deformation = np.eye(3)
            deformation[row, column] += step / 2
            deformation[column, row] += step / 2
            moved.set_cell(moved.cell.array @ deformation, scale_atoms=False)
            moved.positions = moved.positions @ deformation

        scale = max(1.0, np.abs(result.virial).max())
        assert slope(strain) == pytest.approx(result.virial[row, column], abs=DIFFERENCE * scale)


def table_inputs(name, precision, atoms, owned=None):
    graph = NeighbourList(backbone(name).neighbours).graph(Structure.from_atoms(atoms))
    hops = backbone(name).hops
    part = whole(len(atoms), graph.edges, hops) if owned is None else cut_part(owned, graph.edges, hops)
    return lay_out(graph, part, Form.TABLE, precision)


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", [Precision.FLOAT32, pytest.param(Precision.FLOAT64, marks=pytest.mark.exhaustive)]
)
def test_runs_repeat_bit_for_bit_whatever_the_threads(precision):
    atoms = random_structure(5, atoms=120, pbc=True, edge=(8.0, 9.5))  # 5000 edges: kernels do use their threads
    inputs = table_inputs("schnet", precision, atoms)
    firsts = []
    for threads in (1, 2):
        session = OnnxExecutor(device="cpu", threads=threads).prepare(
            FrozenModel.freeze(backbone("schnet"), precision, Capabilities.reference(Form.TABLE))
        )
        energies, gradients = session(inputs)
        for _ in range(REPEATS):
            again = session(inputs)
            assert again.energies.equal(energies)
            assert again.gradients.equal(gradients)
        firsts.append((energies.numpy(), gradients.numpy()))
    for one, two in zip(*firsts, strict=True):
        np.testing.assert_allclose(one, two, rtol=0.0, atol=ROUNDING[precision] * np.abs(one).max())


@EVERY_BACKBONE
def test_padding_changes_nothing(name):
    precision = Precision.FLOAT64
    program = lowered(name, precision)
    arguments = (model(name, precision).SerializeToString(), program.manifest, CPU, 1)
    exact, padded = Engine(*arguments, {}), OnnxSession(Engines(*arguments))
    liquid = structures(name)["liquid"]
    owned = np.arange(len(liquid)) % 5 == 0
    for inputs in (table_inputs(name, precision, liquid), table_inputs(name, precision, liquid, owned)):
        assert Capacity.bucket(inputs) != Capacity.of(inputs)
        expected = energies_and_gradients(backbone(name), inputs)
        for result, other, value in zip(exact(flatten(inputs)), padded(inputs), expected, strict=True):
            scale = ROUNDING[precision] * max(1.0, float(value.abs().max()))
            np.testing.assert_allclose(result, value, rtol=0.0, atol=scale)
            np.testing.assert_allclose(other, value, rtol=0.0, atol=scale)


def test_sizes_can_be_fixed():
    name, precision = "lennard-jones", Precision.FLOAT64
    inputs = table_inputs(name, precision, structures(name)["cluster"])
    program = lowered(name, precision)
    sizes = sizes_of(program.manifest, flatten(inputs))
    engine = Engine(model(name, precision).SerializeToString(), program.manifest, CPU, 1, sizes)
    expected = energies_and_gradients(backbone(name), inputs)
    for result, value in zip(engine(flatten(inputs)), expected, strict=True):
        np.testing.assert_allclose(result, value, rtol=0.0, atol=ROUNDING[precision])


def test_a_part_that_owns_nothing():
    name, precision = "lennard-jones", Precision.FLOAT64
    inputs = table_inputs(name, precision, structures(name)["cluster"], np.zeros(9, bool))
    program = lowered(name, precision)
    session = OnnxSession(Engines(model(name, precision).SerializeToString(), program.manifest, CPU, 1))
    energies, gradients = session(inputs)
    assert energies.shape == (0,)
    assert gradients.shape == inputs.vectors.shape


@pytest.mark.parametrize("precision", Precision)
@EVERY_BACKBONE
def test_models_hold_to_the_rules(name, precision):
    proto = model(name, precision)
    operators = {node.op_type for node in proto.graph.node}
    assert not any("Scatter" in operator for operator in operators)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 18)]
    manifest = lowered(name, precision).manifest
    for side, values in ((proto.graph.input, manifest.inputs), (proto.graph.output, manifest.outputs)):
        named = [
            (value.name, tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim))
            for value in side
        ]
        assert named == [(value.name, value.shape) for value in values]


def test_an_operation_without_kernel_is_an_error():
    name, precision = "lennard-jones", Precision.FLOAT64
    proto = type(model(name, precision))()
    proto.CopyFrom(model(name, precision))
    node = next(node for node in proto.graph.node if node.op_type == "Sqrt")
    node.op_type = "Erf"  # ONNX Runtime has it in float32 only
    with pytest.raises(LoweringError, match=r"CPUExecutionProvider.*Erf"):
        Engine(proto.SerializeToString(), lowered(name, precision).manifest, CPU, 1, {})


@pytest.mark.parametrize("precision", Precision)
def test_a_session_that_computes_something_else_is_refused(precision):
    program = lowered("lennard-jones", precision)
    inputs = flatten(table_inputs("lennard-jones", precision, structures("lennard-jones")["cluster"]))
    require_reproduction(lambda tensors: program(*tensors), program, inputs, CPU)

    def slightly_wrong(tensors):
        energies, gradients = program(*tensors)
        return energies, 1.001 * gradients  # as TF32 would round

    def not_a_number(tensors):
        return tuple(output * np.nan for output in program(*tensors))

    for wrong in (slightly_wrong, not_a_number):
        with pytest.raises(LoweringError, match="wrongly"):
            require_reproduction(wrong, program, inputs, CPU)

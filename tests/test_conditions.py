"""What models are told of structures: charge, temperature and head, everywhere the same."""

import dataclasses
import json

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read
from structures import random_structure
from told_model import CONDITIONS, HEADS, told
from told_plugin import install_in

from halocline.aggregation import Form
from halocline.backends.ipu.executor import compile_program, fixed_capacity
from halocline.backends.ipu.rehearsal import require_rehearsal
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.errors import BackboneError, DynamicsError, StructureError, UsageError
from halocline.graph import NeighbourList
from halocline.lowering import Manifest
from halocline.model import Condition
from halocline.native.compiler import find_compiler
from halocline.partition import whole
from halocline.plugin import registry
from halocline.potential import many
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.layout import lay_out
from halocline.testing.stages import require_stages

OPTIONS = {
    "eager": {},
    "onnx": {"backend": "onnx:threads=1"},
    "parts": {"partition": "rcb:3"},
    "exchange": {"halo": "exchange"},
    "exchanging parts": {"partition": "rcb:3", "halo": "exchange"},
    "onnx in exchanging parts": {"backend": "onnx:threads=1", "partition": "rcb:3", "halo": "exchange"},
    "memory": {"memory": "2GiB"},
}
STATES = (
    {"charge": 1, "head": "PBE"},
    {"charge": -2, "head": "r2SCAN", "electrons": 0.3},
    {"total_charge": 2.0, "head": "PBE", "electrons": 3},
    {"head": "wB97M"},
)


@pytest.fixture(scope="module")
def model():
    return told()


def structures():
    """The same atoms in states of all kinds, and others."""
    found = []
    for seed, state in enumerate(STATES * 2):
        atoms = random_structure(seed // 4, symbols=("H", "O"), atoms=12, pbc=seed > 3, edge=(3.0, 6.0))
        atoms.info.update(state)
        found.append(atoms)
    return found


def require_equal(found, expected, largest=many.AGREEMENT["float64"]):
    for name in ("energies", "forces", "virial"):
        reference = getattr(expected, name)
        scale = max(1.0, np.abs(expected.energies).sum() if name == "energies" else np.abs(reference).max())
        np.testing.assert_allclose(getattr(found, name), reference, rtol=0, atol=largest * scale)


def usable(options):
    if options.get("backend", "").startswith("onnx"):
        diagnosis = registry().load("executor", "onnx").diagnose()
        if not diagnosis.usable:
            pytest.skip(diagnosis.reason)
    return options | {"dtype": "float64"}


@pytest.mark.parametrize("options", OPTIONS)
def test_a_batch_of_different_states_is_each_of_them_alone(model, options):
    asked = usable(OPTIONS[options])
    alone = [model(atoms, dtype="float64") for atoms in structures()]
    assert len({round(float(result.energy), 6) for result in alone}) == len(alone)
    for found, expected in zip(model(structures(), **asked), alone, strict=True):
        require_equal(found, expected)


def test_forces_are_derivatives_in_every_state(model):
    for atoms in structures()[2:6]:
        forces, step = model(atoms, dtype="float64").forces, 1e-4
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[3, 1] += sign * step
            energies.append(model(moved, dtype="float64").energy)
        assert (energies[1] - energies[0]) / (2 * step) == pytest.approx(forces[3, 1], abs=1e-6)


def test_a_call_chooses_the_head(model):
    atoms = molecule("H2O")
    stated = [model(with_info(atoms, head=head)).energy for head in HEADS]
    assert [model(atoms, head=head).energy for head in HEADS] == stated
    assert [model.calculator(head=head).get_potential_energy(atoms) for head in HEADS] == stated
    assert [next(model.map([atoms], head=head)).energy for head in HEADS] == stated
    assert model(with_info(atoms, head="PBE"), head="r2SCAN").energy == stated[1]  # the call counts


def with_info(atoms, **info):
    atoms = atoms.copy()
    atoms.info.update(info)
    return atoms


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, r"needs its head \(PBE, r2SCAN, wB97M\): set atoms.info\['head'\], or head='PBE'"),
        ({"head": "r2scan"}, "no head named 'r2scan'; did you mean 'r2SCAN'"),
        ({"head": 1}, "head must be the name of one"),
        ({"head": "PBE", "charge": 3}, "charge is 3; the model was made for values from -2 to 2"),
        ({"head": "PBE", "charge": 0.5}, "charge must be a whole number, not 0.5"),
        ({"head": "PBE", "charge": True}, "charge must be a whole number, not True"),
        ({"head": "PBE", "charge": "one"}, "charge must be a whole number, not 'one'"),
        ({"head": "PBE", "charge": np.array([1, 2])}, "charge must be a whole number"),
        ({"head": "PBE", "electrons": np.nan}, "temperature must be a number, not nan"),
        ({"head": "PBE", "charge": 1, "total_charge": 2}, "contradicts itself: charge is 1, total_charge is 2"),
    ],
)
def test_what_is_not_stated_or_impossible_is_refused_for_that_structure_alone(model, info, words):
    good, bad = with_info(molecule("H2O"), head="PBE"), with_info(molecule("H2O"), **info)
    with pytest.raises(StructureError, match=words):
        model(bad)
    found = list(model.map([good, bad, good], errors="yield"))
    assert isinstance(found[1], StructureError)
    assert "Structure 1" in str(found[1])
    assert found[0].energy == found[2].energy


def test_heads_that_are_not_there_are_refused_by_the_call(model):
    for call in (model, model.map, model.calculator):
        given = () if call == model.calculator else ([molecule("H2O")],)
        with pytest.raises(UsageError, match="no head named 'r2scan'; did you mean 'r2SCAN'"):
            call(*given, head="r2scan")
        with pytest.raises(UsageError, match="must be text"):
            call(*given, head=1)
    with pytest.raises(UsageError, match="no heads to choose from"):
        told(told=["charge"])(molecule("H2O"), head="PBE")


def test_whatever_is_taken_is_not_called_unused(model, caplog):
    model(with_info(molecule("H2O"), head="PBE", charge=1, total_charge=1))
    assert not caplog.records
    told(told=["head"])(with_info(molecule("H2O"), head="PBE", charge=1))
    assert "charge = 1, which the model does not take" in caplog.text


def test_a_calculator_follows_what_structures_state(model):
    atoms, calculator = with_info(molecule("H2O"), head="PBE"), model.calculator(dtype="float64")
    atoms.calc = calculator
    energies = [atoms.get_potential_energy()]
    for state in ({"charge": 1}, {"electrons": 2.5}, {"head": "r2SCAN"}, {"charge": 0}):
        atoms.info.update(state)
        energies.append(atoms.get_potential_energy())
        assert energies[-1] == model(atoms, dtype="float64").energy
    assert len(set(energies)) == len(energies)
    del atoms.info["head"]
    with pytest.raises(StructureError, match="needs its head"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "species", "kind": "integer"},
        {"name": "d_charge", "kind": "integer"},
        {"name": "rule_0", "kind": "integer"},
        {"name": "two words", "kind": "real"},
        {"name": "head", "kind": "choice"},
        {"name": "charge", "kind": "integer", "choices": ("a",)},
        {"name": "head", "kind": "choice", "choices": ("a", "a")},
        {"name": "charge", "kind": "integer", "least": 0, "default": -1},
        {"name": "head", "kind": "choice", "choices": ("a",), "default": "b"},
    ],
)
def test_contradictory_declarations_are_refused(declared):
    with pytest.raises(BackboneError):
        Condition(**declared)


def test_two_conditions_of_one_name_are_refused(model):
    backbone = told().backbone
    backbone.conditions = (*backbone.conditions, CONDITIONS["charge"])
    with pytest.raises(BackboneError, match="names of their own"):
        dataclasses.replace(model, backbone=backbone)(with_info(molecule("H2O"), head="PBE"))


def test_declarations_are_plain_json():
    for condition in CONDITIONS.values():
        json.dumps(condition.to_json(), allow_nan=False)


@pytest.mark.parametrize("halo", ["exchange", pytest.param("recompute", marks=pytest.mark.slow)])
def test_ranks_are_told_too_and_told_anew(model, halo, tmp_path, monkeypatch):
    install_in(tmp_path, monkeypatch)
    evaluator = model.evaluator("ddp:ranks=2,oversubscribe=true", "float64", "cpu", "none", halo)
    try:
        for atoms in structures()[:3]:  # of the same atoms: nothing is searched anew
            require_equal(model.evaluate_with(evaluator, atoms), model(atoms, dtype="float64"))
    finally:
        evaluator.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["inductor", pytest.param("aot", marks=pytest.mark.exhaustive)])
def test_compiled_programs_are_told_too(model, way):
    if find_compiler() is None:
        pytest.skip("compiling needs a C++ compiler")
    asked = {"backend": f"torch:compile={way}", "dtype": "float64"}
    for found, atoms in zip(model(structures(), **asked), structures(), strict=True):
        require_equal(found, model(atoms, dtype="float64"))


def test_an_exported_model_has_one_input_more_for_each_condition(model, tmp_path):
    pytest.importorskip("onnx", reason="the exporter needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")
    path = tmp_path / "model.onnx"
    manifest = registry().load("exporter", "onnx")().export(model, Precision.FLOAT64, path)
    assert [(value.name, value.shape) for value in manifest.inputs[-3:]] == [(name, (1,)) for name in CONDITIONS]
    assert manifest.inputs[-1].meaning.endswith("0 PBE, 1 r2SCAN, 2 wB97M")
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    backbone = model.backbone
    for atoms in structures()[:4]:
        structure = model.prepare(atoms).structure
        graph = NeighbourList(backbone.neighbours).graph(structure)
        inputs = lay_out(graph, whole(len(atoms), graph.edges, backbone.hops), Form.TABLE, Precision.FLOAT64)
        values = {
            "positions": structure.positions,
            "cell": structure.cell,
            "species": structure.numbers,
            "neighbours": inputs.neighbours.numpy(),
            "shifts": np.zeros((*inputs.mask.shape, 3)),
            "mask": inputs.mask.numpy(),
            "transposed": inputs.transposed.numpy(),
            **{name: values[:1] for name, values in structure.conditions.items()},
        }
        outputs = dict(zip([value.name for value in manifest.outputs], session.run(None, values), strict=True))
        expected = model(atoms, dtype="float64")
        np.testing.assert_allclose(outputs["energies"], expected.energies, rtol=0, atol=1e-10)
        np.testing.assert_allclose(outputs["forces"], expected.forces, rtol=0, atol=1e-10)


def test_dynamics_go_on_in_the_state_in_which_they_began_and_in_no_other(model, tmp_path):
    atoms = with_info(molecule("H2O"), head="PBE", charge=1)
    settings = Settings(ensemble="nve", timestep=0.1)

    def run(atoms, steps, **options):
        calculator = model.calculator(dtype="float64", **options.pop("calculator", {}))
        return run_dynamics(atoms, calculator, settings, RunFiles(tmp_path / "md"), steps=steps, **options)

    run(atoms, 2)
    assert run(atoms, 4, resume=True).step == 4
    frames = read(tmp_path / "md.extxyz", ":")
    assert {(frame.info["head"], frame.info["charge"]) for frame in frames} == {("PBE", 1)}
    for other, words in (
        (with_info(atoms, charge=0), "charge was 1, now 0"),
        (with_info(atoms, head="r2SCAN"), "head was PBE, now r2SCAN"),
    ):
        with pytest.raises(DynamicsError, match=words):
            run(other, 5, resume=True)
    with pytest.raises(DynamicsError, match="head was PBE, now wB97M"):
        run(atoms, 5, resume=True, calculator={"head": "wB97M"})


def test_the_memory_bound_and_stages_know_of_conditions(model):
    require_stages(registry().load("executor", "torch")(device="cpu"), _frozen(model))


def _frozen(model):
    return FrozenModel.freeze(model.backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES))


def test_programs_for_ipus_are_told_too(model):
    atoms = with_info(molecule("H2O"), charge=1, head="r2SCAN")
    require_equal(model(atoms, backend="ipu:target=cpu"), model(atoms), many.AGREEMENT["float32"])
    frozen = FrozenModel.freeze(model.backbone, Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    capacity = fixed_capacity(frozen, 8, 8)
    require_rehearsal(compile_program(frozen, capacity), model.backbone, capacity)

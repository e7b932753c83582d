"""Rehearsals of IPU programs pass for what the box lowers, and fail for everything they are there to find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ipu_programs import BACKBONES, backbone, call, capacity, handmade, lowered, ref

from halocline.backends.ipu import exporter
from halocline.backends.ipu.rehearsal import check_dispatched, rehearse, require_rehearsal
from halocline.backends.ipu.rehearsal.coercion import rehearse_coercion
from halocline.backends.ipu.rehearsal.dispatch import rehearse_dispatch
from halocline.backends.ipu.rehearsal.numerics import rehearse_numerics
from halocline.backends.ipu.rehearsal.padding import littered, rehearse_padding
from halocline.backends.ipu.rehearsal.rehearse import rehearse_meta
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram
from halocline.backends.ipu.runner import PackedLoss
from halocline.errors import LoweringError, UsageError
from halocline.model.chain import chain
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.program.capacity import Capacity, pad

NAME = "lennard-jones"


def subject(program):
    model = backbone(NAME)
    return RehearsedProgram(program, model, capacity(model.hops))


def changed(*operations, energies=None, gradients=None):
    """The program with more operations, and with other outputs."""
    program = lowered(NAME)
    old = program.outputs
    return replace(
        program,
        operations=(*program.operations, *operations),
        outputs=(energies or old[0], gradients or old[1]),
    )


def output(number):
    return ref(lowered(NAME).outputs[number])


@pytest.mark.parametrize("name", BACKBONES)
def test_lowered_backbones_pass(name):
    model = backbone(name)
    assert rehearse(lowered(name), model, capacity(model.hops)) == ()


def test_what_goes_wrong_is_said():
    model = backbone(NAME)
    wrong = changed(call("neg.default", output(1), to=("bad",)), gradients="bad")
    with pytest.raises(LoweringError, match=r"forces: Forces and minus the gradient .* \[numerics\]"):
        require_rehearsal(wrong, model, capacity(model.hops))


def test_rehearsals_look_at_a_structure_with_forces():
    found = subject(lowered(NAME))
    assert len(found.graph.structure) == 24
    assert np.abs(found.evaluate(found.graph).forces).max() > 0


def test_capacity_must_hold_an_atom():
    model = backbone(NAME)
    with pytest.raises(LoweringError, match="give it more room"):
        RehearsedProgram(lowered(NAME), model, Capacity((0,) * (model.hops + 1), 1, 1))


def test_structures_beyond_the_capacity_are_refused():
    large = subject(lowered(NAME))
    inputs = large.lay_out(chain(large.backbone, 25, seed=0))
    with pytest.raises(UsageError, match="needs room for 25"):
        large.run(inputs)


def test_inputs_of_another_capacity_are_refused():
    model = backbone(NAME)
    other = RehearsedProgram(lowered(NAME), model, capacity(model.hops, atoms=32))
    with pytest.raises(ValueError, match="must be int64 of shape"):
        other.run(other.lay_out(other.graph))


NUMERICS = {
    "negated gradients": (
        {"float64", "forces"},
        lambda: changed(call("neg.default", output(1), to=("bad",)), gradients="bad"),
    ),
    "energies that depend on the axes": (
        {"float64", "rotation"},
        lambda: changed(
            call("select.int", ref("vectors"), 2, 0, to=("x",)),
            call("sum.dim_IntList", ref("x"), [1], to=("sums",)),
            call("add.Tensor", output(0), ref("sums"), to=("bad",)),
            energies="bad",
        ),
    ),
    "energies that depend on the place in the list": (
        {"float64", "permutation", "packing"},
        lambda: with_constant(
            changed(call("add.Tensor", output(0), ref("places"), to=("bad",)), energies="bad"),
            "places",
            np.arange(24, dtype=np.float32),
        ),
    ),
    "gradients of another energy": (
        {"float64", "forces"},
        lambda: changed(call("add.Tensor", output(1), ref("vectors"), alpha=0.1, to=("bad",)), gradients="bad"),
    ),
    "energies that are not numbers": (
        {"float64", "forces", "sum of forces", "rotation", "permutation", "packing"},
        lambda: changed(call("mul.Scalar", output(0), {"float": "nan"}, to=("bad",)), energies="bad"),
    ),
}


def with_constant(program, name, array):
    return replace(program, constants={**program.constants, name: array})


@pytest.mark.parametrize("what", NUMERICS)
def test_wrong_results_are_found(what):
    expected, make = NUMERICS[what]
    violations = list(rehearse_numerics(subject(make())))
    assert {violation.rule for violation in violations} == {"numerics"}
    assert {violation.where for violation in violations} == expected


@pytest.mark.parametrize("output_name", ["energies", "gradients"])
def test_outputs_that_see_padding_are_found(output_name):
    seeing = {
        "energies": lambda: changed(
            call("sum.dim_IntList", ref("vectors"), [1, 2], to=("sums",)),
            call("add.Tensor", output(0), ref("sums"), to=("bad",)),
            energies="bad",
        ),
        "gradients": lambda: changed(call("add.Tensor", output(1), ref("vectors"), to=("bad",)), gradients="bad"),
    }[output_name]()
    assert {violation.rule for violation in rehearse_padding(subject(seeing))} == {"padding"}


def test_garbage_fills_the_padding_and_nothing_else():
    found = subject(lowered(NAME))
    inputs = found.lay_out(found.graph)
    clean, dirty = pad(inputs, found.capacity), littered(found, inputs, seed=0)
    real = clean.mask == 1
    assert torch.equal(dirty.vectors[real], clean.vectors[real])
    assert torch.equal(dirty.neighbours[real], clean.neighbours[real])
    assert dirty.vectors[~real].abs().min() > 0
    assert torch.equal(dirty.species, clean.species)  # every place is taken
    alone = found.lay_out(chain(found.backbone, 1, seed=3))
    assert littered(found, alone, seed=0).species[0] == alone.species[0]


def test_integers_beyond_32_bits_are_found():
    program = changed(call("mul.Scalar", ref("neighbours"), 2**30, to=("huge",)))
    (violation,) = rehearse_coercion(subject(program))
    assert violation.rule == "coercion"
    assert "aten.mul.Scalar" in violation.where


def test_results_that_need_float64_are_found():
    program = changed(
        call("to.dtype", output(0), {"dtype": "float64"}, to=("wide",)),
        call("mul.Scalar", ref("wide"), 1e6, to=("large",)),
        call("sin.default", ref("large"), to=("sine",)),
        call("to.dtype", ref("sine"), {"dtype": "float32"}, to=("bad",)),
        energies="bad",
    )
    assert [violation.where for violation in rehearse_coercion(subject(program))] == ["bad"]


def test_composite_operations_are_judged_by_their_parts():
    program = changed(call("one_hot.default", ref("neighbours"), 24, to=("classes",)))
    rules = {violation.rule for violation in rehearse_dispatch(subject(program))}
    assert "in-place" in rules


@pytest.mark.parametrize(
    ("rule", "function"),
    [
        ("accumulate", lambda x, i: x.index_put((i,), x[:2], accumulate=True)),
        ("data-dependent", lambda x, i: x.nonzero()),
        ("dtype", lambda x, i: x.double()),
        ("factory", lambda x, i: torch.ops.aten.zeros.default([3])),
        ("forbidden", lambda x, i: x.index_add(0, i, x[:2])),
        ("handler", lambda x, i: x.erfinv()),
        ("in-place", lambda x, i: x.clone().add_(1.0)),
        ("random", lambda x, i: torch.rand_like(x)),
    ],
)
def test_what_is_dispatched_is_judged(rule, function):
    violations = check_dispatched(function, (torch.ones(4, 3), torch.tensor([0, 2])))
    assert {violation.rule for violation in violations} == {rule}


def test_training_objective_is_made_of_operations_that_poptorch_has():
    found = subject(lowered(NAME))
    atoms, structures = 24, 2
    energies = (torch.ones(structures, atoms), torch.ones(structures), torch.ones(structures))
    tensors = (*found.tensors(found.lay_out(found.graph)), *energies, torch.ones(atoms, 3), torch.ones(atoms))
    assert list(check_dispatched(PackedLoss(found.replay), tensors)) == []


def test_shapes_that_depend_on_values_are_found():
    program = handmade()
    program = replace(program, operations=(*program.operations, call("nonzero.default", ref("x"))))
    (violation,) = rehearse_meta(program)
    assert violation.rule == "shape-inference"


def test_outputs_of_other_shapes_are_found():
    (violation,) = rehearse_meta(replace(handmade(), outputs=("scaled",)))
    assert violation.rule == "signature"


def test_nothing_is_exported_that_fails_its_rehearsal(monkeypatch, tmp_path):
    model = backbone(NAME)
    wrong = changed(call("neg.default", output(1), to=("bad",)), gradients="bad")
    monkeypatch.setattr(exporter, "compile_program", lambda program, capacity: wrong)
    monkeypatch.setattr(exporter, "fixed_capacity", lambda program, *sizes: capacity(model.hops))
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {"name": "wrong"})
    path = tmp_path / "model.ipu.zip"
    with pytest.raises(LoweringError, match="does not do on the CPU"):
        exporter.IpuExporter().export(potential, Precision.FLOAT32, path)
    assert not path.exists()

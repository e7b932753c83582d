"""The whole program: energies per atom and their gradient by every edge vector, as one graph."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.errors import LoweringError
from halocline.lowering.arguments import (
    block_tensors,
    describe,
    describe_condition,
    describe_output,
    describe_pooled_weights,
    flatten,
    markers,
    unflatten,
)
from halocline.lowering.check import require_equal
from halocline.lowering.example import example_inputs, other_inputs, whole_inputs
from halocline.lowering.manifest import Manifest, Value
from halocline.lowering.program import Program
from halocline.lowering.rules import custom_operators
from halocline.lowering.trace import trace
from halocline.model.pooled import POOLED_WEIGHTS
from halocline.program import FrozenModel, ProgramInputs, TableInputs, energies_and_gradients
from halocline.program.capacity import Capacity, pad

#: Chains tried to check a program of fixed capacity; the largest that fits is used.
_LARGEST_CHAIN = 8


@in_evaluation_context
def lower(frozen: FrozenModel, capacity: Capacity | None = None) -> Program:
    """Turn a frozen model into a program.

    Args:
        frozen: its weights are frozen in.
        capacity: fixed sizes, for the table form; by default all sizes stay free.

    Returns:
        The program, checked against the backbone on inputs that it was not traced with.

    Raises:
        LoweringError: the backbone cannot be lowered, or its graph does not reproduce it.
    """
    backbone, form, precision = frozen.backbone, frozen.form, frozen.precision
    if capacity is None:
        example = example_inputs(backbone, form, precision)
        others = other_inputs(backbone, form, precision)
    else:
        example, others = _padded_examples(frozen, capacity)
    sizes = markers(example, first=1)
    tensors = {"species": example.species, **example.conditions, **block_tensors(example), "seeds": example.seeds}
    # A size that is fixed needs no input to carry it.
    arguments, fixed = (tensors | sizes, {}) if capacity is None else (tensors, sizes)
    names, outer, head = tuple(arguments), f"n_{backbone.hops}", backbone.pooled_head
    told = {each.name: describe_condition(each, outer, precision) for each in backbone.conditions}
    if head is not None:
        told[POOLED_WEIGHTS] = describe_pooled_weights(head, outer, precision)

    def evaluate(*values: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(names, values, strict=True)) | fixed
        outermost, innermost, asked = named["species"], named["seeds"], backbone.neighbours
        inputs = unflatten(form, backbone.hops, named, outermost, innermost, asked, tuple(told))
        return tuple(energies_and_gradients(backbone, inputs))

    graph = trace(frozen, evaluate, names, tuple(arguments.values()), free=capacity is None)
    for case, inputs in others.items():
        expected = energies_and_gradients(backbone, inputs)
        require_equal(graph, flatten(inputs)[: len(names)], expected, frozen, case)
    signature = [told[name] if name in told else describe(name, backbone.hops, precision, form) for name in names]
    results = [describe(name, backbone.hops, precision, form) for name in ("energies", "gradients")]
    results += [describe_output(*each, "n_0", precision) for each in list(backbone.shapes.items())[1:]]
    if capacity is not None:
        signature, results = ([_fix_sizes(value, capacity) for value in side] for side in (signature, results))
    operators = custom_operators(graph)
    return Program(graph, Manifest.of(frozen, "program", tuple(signature), tuple(results), operators=operators))


def _padded_examples(frozen: FrozenModel, capacity: Capacity) -> tuple[ProgramInputs, dict[str, ProgramInputs]]:
    """One atom to trace with, and the largest chain that fits to check with.

    Raises:
        LoweringError: the model is not frozen in table form, or the capacity holds nothing.
    """
    backbone, precision = frozen.backbone, frozen.precision
    if frozen.form is not Form.TABLE:
        raise LoweringError("Only programs in table form have a fixed capacity; flat edges are for free sizes.")
    fitting = []
    for atoms in range(1, _LARGEST_CHAIN + 1):
        inputs = whole_inputs(backbone, frozen.form, precision, atoms)
        assert isinstance(inputs, TableInputs)
        if len(capacity.levels) == backbone.hops + 1 and capacity.holds(inputs):
            fitting.append(pad(inputs, capacity))
    if not fitting:
        raise LoweringError(
            f"{capacity} holds no structure for the {backbone.hops} hops of {backbone.name!r}; it needs "
            f"{backbone.hops + 1} hop levels, one atom in each, and one slot in each row."
        )
    return fitting[0], {"one atom": fitting[0], "the largest chain that fits": fitting[-1]}


def _fix_sizes(value: Value, capacity: Capacity) -> Value:
    """Put the numbers of a capacity in the place of names."""
    sizes = {f"n_{h}": size for h, size in enumerate(capacity.levels)}
    sizes |= {"k": capacity.width, "t": capacity.transposed}
    shape = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in value.shape)
    return dataclasses.replace(value, shape=shape)

"""One stage at a time: its value, and its vector-Jacobian product.

Halo exchange runs stages one after another and sends state between them, forward, and cotangents, backward. The
product computes the value again instead of keeping what autograd would keep, so that it too is a plain graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from halocline.lowering.arguments import block_tensors, describe, markers, state_value, unflatten
from halocline.lowering.check import require_equal
from halocline.lowering.lowered import Lowered
from halocline.lowering.manifest import Manifest, Value
from halocline.lowering.stage_example import stage_inputs
from halocline.lowering.trace import trace
from halocline.model.stage import Stage, State
from halocline.program import Program, ProgramInputs


@final
@dataclass(frozen=True, slots=True)
class StagePrograms:
    """A stage as two graphs.

    Attributes:
        value: state and edges in, state out.
        vjp: state, edges and a cotangent of each float of the state out (``d_NAME``) in; cotangents of each float
            of the state in and of the edge vectors out.
    """

    value: Lowered
    vjp: Lowered


def lower_stage(program: Program, name: str) -> StagePrograms:
    """Lower one stage of a program.

    Args:
        program: in either form.
        name: as in `Backbone.stages`: ``embed``, ``layers.0``, ``readouts.3``.

    Raises:
        KeyError: there is no such stage.
        LoweringError: the stage cannot be lowered, or its graphs do not reproduce it.
    """
    stage = _Stage(program, name)
    (example_state, example_blocks), *others = stage_inputs(program, name)
    state, outcome = dict(example_state.atoms), stage.run(example_state, example_blocks)
    blocks = stage.block_arguments(example_blocks)
    cotangents = {f"d_{key}": torch.ones_like(value) for key, value in _floats(outcome).items()}
    value_names, vjp_names = (*state, *blocks), (*state, *blocks, *cotangents)
    states = tuple(state)

    def value(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(stage.value(states, dict(zip(value_names, tensors, strict=True))).values())

    def vjp(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(stage.vjp(states, dict(zip(vjp_names, tensors, strict=True))).values())

    examples = (*state.values(), *blocks.values())
    value_graph = trace(program, value, value_names, examples, free=True)
    vjp_graph = trace(program, vjp, vjp_names, (*examples, *cotangents.values()), free=True)
    for other_state, other_blocks in others:
        case = f"{name} with {len(next(iter(other_state.atoms.values())))} atoms"
        arguments = (*other_state.atoms.values(), *stage.block_arguments(other_blocks).values())
        require_equal(value_graph, arguments, value(*arguments), program, case)
        seeds = tuple(torch.ones_like(result) for result in _floats(stage.run(other_state, other_blocks)).values())
        require_equal(vjp_graph, (*arguments, *seeds), vjp(*arguments, *seeds), program, case)
    inputs = stage.describe_inputs(state, blocks)
    outputs = tuple(state_value(key, tensor, "n_0", "state of atoms written") for key, tensor in outcome.items())
    seeded = tuple(
        state_value(f"d_{key}", tensor, "n_0", f"cotangent of {key}") for key, tensor in _floats(outcome).items()
    )
    derivatives = stage.vjp(states, state | blocks | cotangents)
    products = tuple(stage.describe_product(key, tensor) for key, tensor in derivatives.items())
    return StagePrograms(
        Lowered(value_graph, Manifest.of(program, "value", inputs, outputs, stage=name)),
        Lowered(vjp_graph, Manifest.of(program, "vjp", (*inputs, *seeded), products, stage=name)),
    )


class _Stage:
    """Runs one stage on named tensors."""

    def __init__(self, program: Program, name: str) -> None:
        self.module: Stage = dict(program.backbone.stages())[name]
        self.program, self.hops = program, self.module.spec.hops

    def block_arguments(self, inputs: ProgramInputs) -> dict[str, Tensor]:
        """Tensors that describe the stage's blocks; none for a stage without hops."""
        return {**block_tensors(inputs), **markers(inputs, first=0)} if self.hops else {}

    def run(self, state: State, inputs: ProgramInputs) -> dict[str, Tensor]:
        """The state that the stage writes."""
        blocks = [inputs.block(level, inputs.vectors) for level in range(self.hops - 1, -1, -1)]
        return self.module(state, *blocks).atoms

    def value(self, states: tuple[str, ...], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same from named tensors."""
        atoms = {key: tensors[key] for key in states}
        if not self.hops:
            return self.module(State(atoms, {})).atoms
        outermost = next(iter(atoms.values()))
        innermost = tensors.get("level_0", tensors.get("neighbours"))
        assert innermost is not None
        inputs = unflatten(self.program.form, self.hops, tensors, outermost, innermost)
        return self.run(State(atoms, {}), inputs)

    def vjp(self, states: tuple[str, ...], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cotangents of the floats that the stage reads, by name with ``d_`` before it."""
        names = [
            key for key in (*states, *(("vectors",) if self.hops else ())) if tensors[key].is_floating_point()
        ]
        if not names:
            return {}
        leaves = {key: tensors[key].detach().requires_grad_(True) for key in names}
        with torch.enable_grad():
            outcome = _floats(self.value(states, {**tensors, **leaves}))
            reached = {key: result for key, result in outcome.items() if result.requires_grad}
            if not reached:
                return {f"d_{key}": torch.zeros_like(leaf) for key, leaf in leaves.items()}
            products = torch.autograd.grad(
                list(reached.values()),
                list(leaves.values()),
                [tensors[f"d_{key}"] for key in reached],
                materialize_grads=True,
            )
        return {f"d_{key}": product for key, product in zip(leaves, products, strict=True)}

    def describe_inputs(self, state: Mapping[str, Tensor], blocks: Mapping[str, Tensor]) -> tuple[Value, ...]:
        """State first, then edges."""
        level = f"n_{self.hops}"
        read = (state_value(key, tensor, level, "state of atoms read") for key, tensor in state.items())
        edges = (describe(key, self.hops, self.program.precision, self.program.form) for key in blocks)
        return (*read, *edges)

    def describe_product(self, name: str, tensor: Tensor) -> Value:
        """A cotangent of what the stage reads."""
        read = name.removeprefix("d_")
        if read == "vectors":
            shape = describe(read, self.hops, self.program.precision, self.program.form).shape
            return Value(name, self.program.precision.value, shape, "", "cotangent of vectors")
        return state_value(name, tensor, f"n_{self.hops}", f"cotangent of {read}")


def _floats(atoms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in atoms.items() if value.is_floating_point()}

"""One stage as a function of named tensors, with its vector-Jacobian product."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import final

import torch
from torch import Tensor

from halocline.context import in_evaluation_context
from halocline.errors import LoweringError
from halocline.lowering.arguments import block_tensors, describe, markers, unflatten
from halocline.lowering.manifest import Value
from halocline.model.stage import OF_EDGES, Stage, State
from halocline.program import FrozenModel, ProgramInputs
from halocline.program.evaluate import stage_may_be_constant, vector_jacobian_product

#: Before the name of a tensor: its cotangent, the derivative by it of whatever is differentiated.
COTANGENT = "d_"


@final
class StageFunction:
    """Runs one stage of a frozen model on named tensors: state, edges, and cotangents of the state it writes.

    Args:
        frozen: in either form.
        name: of the stage.
        state: an example of what it reads.
        inputs: the edges of that example.
    """

    def __init__(self, frozen: FrozenModel, name: str, state: State, inputs: ProgramInputs) -> None:
        self.module: Stage = dict(frozen.backbone.stages())[name]
        self.frozen, self.hops, self.reads = frozen, self.module.spec.hops, tuple(state.named())
        written = self._run(state, inputs)
        self.writes = tuple(_floats(written))
        _require_outermost(name, written, inputs)

    def arguments(self, state: State, inputs: ProgramInputs) -> dict[str, Tensor]:
        """Everything that value and product take, by name; cotangents that no symmetry makes vanish."""
        edges = {**block_tensors(inputs), **markers(inputs, first=0)} if self.hops else {}
        outcome = _floats(self._run(state, inputs))
        waves = {
            name: torch.arange(1, x.numel() + 1, dtype=torch.float64).sin().view(x.shape).to(x.dtype)
            for name, x in outcome.items()
        }
        return {**state.named(), **edges, **{COTANGENT + name: wave for name, wave in waves.items()}}

    def value(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state that the stage writes."""
        state = State.of({name: tensors[name] for name in self.reads})
        if not self.hops:
            return self.module(state).named()
        innermost = tensors["level_0"] if "level_0" in tensors else tensors["neighbours"]
        asked = self.frozen.backbone.neighbours
        outermost = tensors[self.reads[0]]
        return self._run(state, unflatten(self.frozen.form, self.hops, tensors, outermost, innermost, asked))

    @in_evaluation_context
    def product(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cotangents of the floats that the stage reads, vectors among them."""
        read = (*self.reads, "vectors") if self.hops else self.reads
        leaves = {name: tensors[name].detach() for name in read if tensors[name].is_floating_point()}
        if not leaves:
            return {}
        leaves = {name: leaf.requires_grad_(True) for name, leaf in leaves.items()}
        products = vector_jacobian_product(
            self.value({**tensors, **leaves}),
            {name: tensors[COTANGENT + name] for name in self.writes},
            leaves,
            f"Outputs of the stage {type(self.module).__name__}",
            constant=partial(
                stage_may_be_constant, {name: tensors[name] for name in self.reads}, leaves.get("vectors")
            ),
        )
        return {COTANGENT + name: product for name, product in products.items()}

    def describe_input(self, name: str, tensor: Tensor) -> Value:
        """State is read on the outermost level; cotangents are those of the state written."""
        if name.startswith(COTANGENT):
            return self._state(name, tensor, 0, f"cotangent of {name.removeprefix(COTANGENT)}")
        if name in self.reads:
            return self._state(name, tensor, self.hops, "state that is read")
        return describe(name, self.hops, self.frozen.precision, self.frozen.form)

    def describe_output(self, name: str, tensor: Tensor) -> Value:
        """State is written on the innermost level; cotangents are those of what was read."""
        if not name.startswith(COTANGENT):
            return self._state(name, tensor, 0, "state that is written")
        return self._state(name, tensor, self.hops, f"cotangent of {name.removeprefix(COTANGENT)}")

    def _state(self, name: str, tensor: Tensor, level: int, meaning: str) -> Value:
        """Values of atoms have a row for each atom of a level; those of edges belong to the outermost block."""
        dtype, what = str(tensor.dtype).removeprefix("torch."), name.removeprefix(COTANGENT)
        if what == "vectors" or what.startswith(OF_EDGES):
            edges = describe("vectors", self.hops, self.frozen.precision, self.frozen.form).shape[:-1]
            return Value(name, dtype, (*edges, *tensor.shape[len(edges) :]), "", meaning)
        return Value(name, dtype, (f"n_{level}", *tensor.shape[1:]), "", meaning)

    def _run(self, state: State, inputs: ProgramInputs) -> dict[str, Tensor]:
        blocks = inputs.blocks(self.module.spec.neighbours, range(self.hops - 1, -1, -1), inputs.vectors)
        return self.module(state, *blocks).named()


def _require_outermost(name: str, written: Mapping[str, Tensor], inputs: ProgramInputs) -> None:
    """Refuse values of edges that belong to an inner block: whoever runs the next stage could not tell.

    Raises:
        LoweringError: there are some.
    """
    slots = inputs.vectors.shape[:-1]
    for key, values in written.items():
        if len(slots) == 2 and key.startswith(OF_EDGES) and values.shape[:2] != slots:
            raise LoweringError(
                f"Stage {name!r} returns {key.removeprefix(OF_EDGES)!r} of edges of an inner block; by itself it "
                "can be run only if it returns those of its outermost block."
            )


def _floats(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values for name, values in state.items() if values.is_floating_point()}

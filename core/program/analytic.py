"""Evaluation without autograd: stages that have their derivatives by name run forward, and then back.

Of a small structure most of the time goes into what torch does to call anything and to keep it for a derivative. A
kernel that knows the derivative of its stage says so by `AnalyticStage`. Where all stages that depend on positions
do, nothing is recorded: each is called once, and then what it gave is called in the opposite order.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, Protocol, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from halocline.aggregation import Block
from halocline.context import in_evaluation_context
from halocline.errors import HaloclineError
from halocline.model.backbone import Backbone, Output
from halocline.model.pooled import POOLED_WEIGHTS
from halocline.model.stage import Stage, State
from halocline.program.evaluate import atom_outputs, energies_and_gradients
from halocline.program.inputs import ProgramInputs, ProgramOutputs


class Pull(Protocol):
    """Pulls cotangents of what a stage wrote back to what it read."""

    def __call__(
        self, cotangents: Mapping[str, Tensor], by_vectors: Tensor, *, by_state: bool
    ) -> dict[str, Tensor]:
        """Called once at most.

        Args:
            cotangents: of floats that the stage wrote, by their names in `State.named`; zero where missing.
            by_vectors: (E, 3), in one piece of memory. The cotangents of the vectors of the outermost block's
                edges are added to its first rows, in place.
            by_state: whether those of the state are wanted.

        Returns:
            Cotangents of floats that it read, likewise; whatever is missing is zero.
        """


class AnalyticStage(Stage):
    """A stage that is differentiated without autograd. Its `forward` computes the same, for everybody else."""

    @abstractmethod
    def linearized(self, state: State, *blocks: Block) -> tuple[State, Pull] | None:
        """What `forward` writes, and its derivative there. Autograd is off.

        Returns:
            The state, and the function that pulls cotangents back. None where blocks are like none that it can
            take: then `forward` runs and autograd differentiates it, and all other stages with it.
        """


def is_analytic(backbone: Backbone) -> bool:
    """Whether a model may be evaluated without autograd: all stages from the first with hops on can be."""
    stages = [stage for _, stage in backbone.stages()]
    moving = next((place for place, stage in enumerate(stages) if stage.spec.hops), len(stages))
    return backbone.derives_forces and all(isinstance(stage, AnalyticStage) for stage in stages[moving:])


def linearized(stage: Stage, state: State, inputs: ProgramInputs | None) -> tuple[State, Pull] | None:
    """What one stage by itself writes, and its derivative there; None where that is left to autograd.

    Args:
        stage: any one, of h hops.
        state: that it reads.
        inputs: a part of h hop levels; None for a stage without hops.
    """
    if not isinstance(stage, AnalyticStage) or watched() or (inputs is not None and inputs.sets.asked is not None):
        return None
    blocks: list[Block] = []
    if inputs is not None:
        levels = range(stage.spec.hops - 1, -1, -1)
        blocks = inputs.blocks(stage.spec.neighbours, levels, inputs.vectors)
    with torch.no_grad():
        return stage.linearized(state, *blocks)


def pulled_back(
    pull: Pull,
    read: Mapping[str, Tensor],
    vectors: Tensor | None,
    cotangents: Mapping[str, Tensor],
    *,
    by_state: bool = True,
) -> dict[str, Tensor]:
    """The vector-Jacobian product of one stage by itself.

    Args:
        pull: its derivative, from `linearized`.
        read: floats of its state.
        vectors: (E, 3), of a stage with hops.
        cotangents: of what it wrote.
        by_state: whether products by the state are wanted.

    Returns:
        Cotangents of what was read, like it; and of ``vectors``.
    """
    with torch.no_grad():
        by_vectors = torch.empty(0) if vectors is None else vectors.new_zeros(vectors.shape)
        found = pull(cotangents, by_vectors, by_state=by_state)
        products = {name: found[name] if name in found else torch.zeros_like(read[name]) for name in read}
    return products if vectors is None else products | {"vectors": by_vectors}


def watched() -> bool:
    """Whether a dispatch mode of torch is on, as those of profiles, which see operators and no compiled code."""
    return torch._C._len_torch_dispatch_stack() > 0


@in_evaluation_context
def outputs_without_autograd(backbone: Backbone, inputs: ProgramInputs) -> ProgramOutputs:
    """What `energies_and_gradients` gives, of a model that `is_analytic`.

    That function itself is called where a stage cannot take its blocks, where the model has several lists of
    neighbours, and where operators are `watched`.

    Args:
        backbone: as there, and so are the inputs.
        inputs: of one part.
    """
    if inputs.sets.asked is None and not watched():
        try:
            with torch.no_grad():
                return _Tape(backbone, inputs).outputs()
        except _NotTakenError:
            pass
    return energies_and_gradients(backbone, inputs)


class _NotTakenError(HaloclineError):
    """A stage cannot take its blocks."""


class _Step(NamedTuple):
    """A stage that ran.

    Attributes:
        pull: its derivative.
        reads_out: whether it is a readout.
        rows: of what it wrote, by name.
    """

    pull: Pull
    reads_out: bool
    rows: dict[str, int]


@final
class _Tape:
    """One evaluation: what ran that depends on positions, in its order."""

    def __init__(self, backbone: Backbone, inputs: ProgramInputs) -> None:
        self._backbone, self._inputs = backbone, inputs
        self._readouts = frozenset(map(id, backbone.readouts.values()))
        self._steps: list[_Step] = []
        self._blocks: dict[tuple[int, int], Block] = {}

    def outputs(self) -> ProgramOutputs:
        """Forward and back."""
        inputs = self._inputs
        energies, *others = atom_outputs(self._backbone, inputs, inputs.vectors, run=self._run).values()
        if not self._steps:
            raise _NotTakenError
        by_vectors, cotangents = inputs.vectors.new_zeros(inputs.vectors.shape), dict[str, Tensor]()
        seeds = self._seeds()
        for place in range(len(self._steps) - 1, -1, -1):
            pull, reads_out, _ = self._steps[place]
            if reads_out:
                written = self._steps[place - 1].rows
                _add(cotangents, pull(seeds, by_vectors, by_state=True), written)
            else:
                cotangents = pull(cotangents, by_vectors, by_state=place > 0)
        return ProgramOutputs(energies, by_vectors, *others)

    def _run(self, stage: Stage, state: State, level: int) -> State:
        """Run a stage that writes what is within a level, and keep its derivative if it has one."""
        blocks = [self._block(outer) for outer in range(level + stage.spec.hops - 1, level - 1, -1)]
        if not blocks and not self._steps:
            return stage(state)
        found = stage.linearized(state, *blocks) if isinstance(stage, AnalyticStage) else None
        if found is None:
            raise _NotTakenError
        written, pull = found
        rows = {name: values.shape[0] for name, values in written.atoms.items()}
        self._steps.append(_Step(pull, id(stage) in self._readouts, rows))
        return written

    def _block(self, level: int) -> Block:
        """The block that writes a level; of a whole structure all are the same."""
        sizes = self._inputs.levels[level + 1], self._inputs.levels[level]
        if sizes not in self._blocks:
            self._blocks[sizes] = self._inputs.block(level, self._inputs.vectors)
        return self._blocks[sizes]

    def _seeds(self) -> dict[str, Tensor]:
        """Cotangents of what readouts say."""
        seeds = {str(Output.ENERGIES): self._inputs.seeds}
        if Output.POOLED in self._backbone.outputs:
            weights = self._inputs.conditions[POOLED_WEIGHTS][: self._inputs.levels[0]]
            seeds[str(Output.POOLED)] = self._inputs.seeds.unsqueeze(1) * weights
        return seeds


def _add(cotangents: dict[str, Tensor], further: Mapping[str, Tensor], rows: Mapping[str, int]) -> None:
    """Add cotangents of the first rows of a state to those of all its rows."""
    for name, values in further.items():
        missing = rows[name] - len(values)
        whole = pad(values, (0, 0) * (values.ndim - 1) + (0, missing)) if missing else values
        cotangents[name] = cotangents[name] + whole if name in cotangents else whole

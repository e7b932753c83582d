"""Stage after stage, with state sent between ranks: no atom is evaluated twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.errors import UsageError
from halocline.evaluator.runner import Contribution, Links, Runner, Tally
from halocline.executor import Executor, StageSession
from halocline.graph import Graph
from halocline.model.backbone import Output
from halocline.model.chain import chain
from halocline.model.pooled import POOLED_WEIGHTS
from halocline.model.stage import OF_EDGES, StageSpec
from halocline.partition import Part, whole
from halocline.partition.division import divide
from halocline.program import FrozenModel, ProgramInputs, energies_and_gradients
from halocline.program.layout import condition_tensors, gather_edges, lay_out
from halocline.shares import timed

#: Atoms of a chain that has edges, whatever the model.
_CHAIN: Final = 4

#: State of all n atoms that a rank holds: name → (n, ...).
Sheet = dict[str, Tensor]


@final
class ExchangeRunner(Runner):
    """Runs every stage on all parts of the rank before the next stage starts.

    Args:
        frozen: for this executor.
        executor: where to run it; it must be able to prepare single stages.

    Raises:
        UsageError: state of the model cannot be exchanged, see `Backbone.exchange_refusal`, or the executor cannot
            prepare single stages.
        BackboneError: energies have lost their dependence on edges.
    """

    def __init__(self, frozen: FrozenModel, executor: Executor) -> None:
        self._executor, self._precision, self.replaced = executor, frozen.precision, frozen.replaced
        backbone = frozen.backbone
        self._shapes = backbone.shapes
        self._outputs, self._derives = backbone.outputs, backbone.derives_forces
        if backbone.exchange_refusal:
            raise UsageError(backbone.exchange_refusal)
        if self._derives:
            _require_forces(frozen)
        sessions = executor.prepare_stages(frozen)
        self._stages = {name: _Stage(sessions[name], stage.spec) for name, stage in frozen.backbone.stages()}
        self._path = ["embed", *(f"layers.{layer}" for layer in range(len(backbone.layers)))]
        self._readouts = {depth: f"readouts.{depth}" for depth in backbone.readouts}

    @timed("layout")  # whatever is neither a session nor the sums
    def run(self, graph: Graph, parts: NDArray[np.int64], links: Links) -> Contribution:
        """See `Runner.run`."""
        rows = _Rows(graph, parts, links, self._lay_out(graph, parts))
        tally = Tally(graph, len(parts), self._shapes)
        species = torch.from_numpy(graph.structure.numbers).to(self._executor.device)
        told = condition_tensors(graph.structure, self._precision, self._executor.device)
        weights = told.pop(POOLED_WEIGHTS, None)
        self._forwards_and_back(rows, _Point({"species": species, **told}, complete=True), tally, weights)
        for reads, blocks in rows.blocks.items():
            for block, gradients in zip(blocks, rows.gradients[reads], strict=True):
                tally.add_gradients(
                    block.part, gather_edges(gradients, block.part, self._executor.capabilities.form)
                )
        return tally.contribution()

    def _lay_out(self, graph: Graph, parts: NDArray[np.int64]) -> dict[_Reads, list[_Block]]:
        """The parts once for each way in which stages read."""
        return {
            reads: [self._block(graph, part, reads) for part in divide(graph, parts, sum(reads))]
            for reads in sorted({stage.reads for stage in self._stages.values() if stage.hops})
        }

    def _block(self, graph: Graph, part: Part, reads: _Reads) -> _Block:
        executor, owned = self._executor, part.levels[0]
        part = part.widened(reads.incomplete)
        inputs = lay_out(graph, part, executor.capabilities.form, self._precision, executor.device)
        return _Block(part, owned, torch.from_numpy(part.atoms).to(executor.device), inputs)

    def _forwards_and_back(self, rows: _Rows, point: _Point, tally: Tally, weights: Tensor | None) -> None:
        """Every stage in turn, then its vector-Jacobian products in the opposite order.

        Args:
            rows: the atoms.
            point: the first state.
            tally: to add to.
            weights: (n, C), see `POOLED_WEIGHTS`; None without a pooled head.
        """
        points, seeds = [point], dict[int, Sheet]()
        for depth, name in enumerate(self._path):
            points.append(self._stages[name].forward(rows, points[-1]))
            if depth in self._readouts:
                result = self._stages[self._readouts[depth]].forward(rows, points[-1])
                found = {name: values[: rows.owned].detach() for name, values in result.sheet.items()}
                seeds[depth] = self._seeds(rows, found, weights)
                if Output.ENERGIES in found:
                    tally.add_energies(np.arange(rows.owned), found[Output.ENERGIES])
                if Output.POOLED in found and weights is not None:
                    products = (found[Output.POOLED] * weights[: rows.owned]).sum(-1)
                    tally.add_energies(np.arange(rows.owned), products)
                others = {str(name): found[name] for name in self._outputs[1:] if name in found}
                tally.add_others(np.arange(rows.owned), others)
        if not self._derives:
            return
        cotangents = _Cotangents({})
        for depth, name in reversed(list(enumerate(self._path))):
            after = points.pop()
            if seeds.get(depth):
                readout = self._stages[self._readouts[depth]]
                _add(cotangents.sheet, readout.backward(rows, after, _Cotangents(seeds[depth])).sheet)
            cotangents = self._stages[name].backward(rows, points[-1], cotangents)

    def _seeds(self, rows: _Rows, found: Sheet, weights: Tensor | None) -> Sheet:
        """Cotangents of what a readout says: of owned atoms alone, all others are zero."""
        seeds: Sheet = {}
        if Output.ENERGIES in found:
            seeds["energies"] = torch.zeros(rows.atoms, dtype=self._precision.torch, device=self._executor.device)
            seeds["energies"][: rows.owned] = 1.0
        if Output.POOLED in found and weights is not None:
            seeds["pooled"] = torch.zeros_like(weights)
            seeds["pooled"][: rows.owned] = weights[: rows.owned]
        return seeds


def _require_forces(frozen: FrozenModel) -> None:
    """Refuse energies that have lost their dependence on edges.

    The whole tells it at every evaluation. Stages one by one do not: each may pass on what others have read.

    Raises:
        BackboneError: they have.
    """
    graph = chain(frozen.backbone, _CHAIN, seed=0)
    part = whole(_CHAIN, graph.edges, frozen.backbone.hops)
    energies_and_gradients(frozen.backbone, lay_out(graph, part, frozen.form, frozen.precision))


class _Reads(NamedTuple):
    """Hops of a stage, and how many of the outermost ones that it writes are incomplete; see `StageSpec`."""

    hops: int
    incomplete: int


@final
@dataclass(frozen=True, slots=True)
class _Block:
    """A part as a stage is given it, the rows that it reads, and its edges laid out.

    Attributes:
        part: whose owned atoms are all those that the stage writes, the incomplete ones included.
        owned: how many of them are complete: those that are owned in earnest.
        reads: rows of the rank's atoms.
        inputs: see `ProgramInputs`.
    """

    part: Part
    owned: int
    reads: Tensor
    inputs: ProgramInputs

    @property
    def writes(self) -> Tensor:
        return self.reads[: self.owned]


@final
@dataclass(slots=True)
class _Point:
    """State between two stages.

    Attributes:
        sheet: the rows of halo atoms are zero unless one of the following holds.
        complete: the rank computed the rows of halo atoms itself, from their species alone.
        fetched: their owners sent them. Cotangents of such rows go back the same way.
        edges: for each block, its values of edges. The rank computes those of its halo itself, from the state of
            atoms that it fetches: nothing about edges is sent.
    """

    sheet: Sheet
    complete: bool
    fetched: bool = False
    edges: list[Sheet] = field(default_factory=list)


@final
@dataclass(slots=True)
class _Cotangents:
    """Of the state between two stages, laid out like it."""

    sheet: Sheet
    edges: list[Sheet] = field(default_factory=list)


@final
class _Rows:
    """The atoms of a rank: how they are divided, and the cotangents of their edge vectors so far."""

    def __init__(
        self, graph: Graph, parts: NDArray[np.int64], links: Links, blocks: dict[_Reads, list[_Block]]
    ) -> None:
        self.atoms, self.owned, self.links, self.blocks = len(graph.structure), len(parts), links, blocks
        self.gradients = {
            reads: [torch.zeros_like(block.inputs.vectors) for block in read] for reads, read in blocks.items()
        }


@final
@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage, over all parts of a rank."""

    session: StageSession
    spec: StageSpec

    @property
    def hops(self) -> int:
        return self.spec.hops

    @property
    def reads(self) -> _Reads:
        return _Reads(self.spec.hops, self.spec.incomplete)

    def forward(self, rows: _Rows, point: _Point) -> _Point:
        """The state after the stage; what is needed of other ranks is fetched into ``point`` first."""
        if not self.hops:
            count = rows.atoms if point.complete else rows.owned
            written = self.session.value(_first(point.sheet, count), None)
            return _Point({name: _extend(values, rows.atoms) for name, values in written.items()}, point.complete)
        if not (point.complete or point.fetched):
            for _, values in sorted(point.sheet.items()):
                rows.links.forward(values)
            point.fetched = True
        after = _Point({}, complete=False)
        blocks = rows.blocks[self.reads]
        for block, edges in zip(blocks, _each(point.edges, blocks), strict=True):
            written = self.session.value(_take(point.sheet, block.reads) | edges, block.inputs)
            of_edges, of_atoms = _split(written)
            after.edges.append(of_edges)
            for name, values in of_atoms.items():
                _room(after.sheet, name, values, rows.atoms)[block.writes] = values[: block.owned]
        return after

    def backward(self, rows: _Rows, point: _Point, cotangents: _Cotangents) -> _Cotangents:
        """Cotangents of the state before the stage; those of edge vectors are added to ``rows``."""
        if not self.hops:
            count = rows.atoms if point.complete else rows.owned
            read = self.session.product(_first(point.sheet, count), None, _first(cotangents.sheet, count))
            return _Cotangents({name: _extend(values, rows.atoms) for name, values in read.items()})
        before = _Cotangents({})
        blocks = rows.blocks[self.reads]
        for number, (block, edges) in enumerate(zip(blocks, _each(point.edges, blocks), strict=True)):
            pulls = _take(cotangents.sheet, block.writes)
            pulls = {name: _extend(values, block.part.levels[0]) for name, values in pulls.items()}
            pulls |= cotangents.edges[number] if cotangents.edges else {}
            read = self.session.product(_take(point.sheet, block.reads) | edges, block.inputs, pulls)
            rows.gradients[self.reads][number] += read.pop("vectors")
            of_edges, of_atoms = _split(read)
            before.edges.append(of_edges)
            for name, values in of_atoms.items():
                _room(before.sheet, name, values, rows.atoms).index_add_(0, block.reads, values)
        if not point.complete:
            for _, values in sorted(before.sheet.items()):
                rows.links.backward(values)
        return before


def _split(state: Sheet) -> tuple[Sheet, Sheet]:
    """Values of edges, and of atoms."""
    edges = {name: values for name, values in state.items() if name.startswith(OF_EDGES)}
    return edges, {name: values for name, values in state.items() if name not in edges}


def _each(edges: list[Sheet], blocks: list[_Block]) -> list[Sheet]:
    """The edge values of each block; the first stage with hops finds none."""
    return edges or [{} for _ in blocks]


def _first(sheet: Sheet, rows: int) -> Sheet:
    return {name: values[:rows] for name, values in sheet.items()}


def _take(sheet: Sheet, rows: Tensor) -> Sheet:
    return {name: values.index_select(0, rows) for name, values in sheet.items()}


def _extend(values: Tensor, rows: int) -> Tensor:
    """Add rows of zeros."""
    missing = rows - len(values)
    return torch.cat([values, values.new_zeros((missing, *values.shape[1:]))]) if missing else values


def _room(sheet: Sheet, name: str, values: Tensor, rows: int) -> Tensor:
    """The tensor of that name, for all rows; zeros if nothing has been written to it."""
    if name not in sheet:
        sheet[name] = values.new_zeros((rows, *values.shape[1:]))
    return sheet[name]


def _add(sheet: Sheet, other: Sheet) -> None:
    for name, values in other.items():
        sheet[name] = sheet[name] + values if name in sheet else values

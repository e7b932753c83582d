"""Programs of fixed capacity as captured graphs: recorded once on the device, replayed with other structures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from ase import Atoms
from matrix.axes import potential
from torch import Tensor

from gpu.clock import seconds_of
from gpu.report import Record
from halocline.aggregation import Form
from halocline.backends.torch.graph import compilable
from halocline.bench.structures import disordered_box
from halocline.graph import Graph, NeighbourList, Structure
from halocline.lowering import flatten, lower
from halocline.model import Backbone
from halocline.partition import whole
from halocline.program import Capabilities, FrozenModel, Precision, TableInputs, energies_and_gradients
from halocline.program.capacity import Capacity, pad
from halocline.program.layout import lay_out
from halocline.testing import tolerances

#: Atoms/Å³ of the boxes: liquid water.
DENSITY = 0.1

#: Å by which atoms are moved for a replay: neighbours come and go.
MOVED = 0.1

#: Calls before the capture, in which libraries take what memory they need.
WARM_UP = 3

#: Room for atoms and neighbours beyond those of the structure that is captured with, as a part of them.
ROOM = 1.25


class Captured:
    """A function of tensors on the device, recorded once; the CPU, which has no such graphs, calls it.

    Args:
        run: takes tensors on the device; does nothing that waits for it.
        inputs: to record with; only tensors of the same shapes can be given later.
    """

    def __init__(self, run: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> None:
        self._run, self._inputs = run, [tensor.clone() for tensor in inputs]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Sequence[Tensor] = ()
        if inputs[0].device.type == "cuda":
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP):
                    run(*self._inputs)
            torch.cuda.current_stream().wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = run(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The outputs, which the next call overwrites."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        if self._graph is None:
            self._outputs = self._run(*self._inputs)
        else:
            self._graph.replay()
        return self._outputs


def captured(device: str, quick: bool) -> Iterator[Record]:
    """Each model, dtype and size: replays beside the definition in float64, and times of both."""
    for name in ("lennard-jones",) if quick else ("lennard-jones", "schnet", "m3gnet"):
        backbone = potential(name).backbone
        for dtype in Precision:
            for atoms in (100,) if quick else (100, 1_000, 10_000):
                yield {"model": name, "dtype": dtype.value, "atoms": atoms} | _one(backbone, dtype, atoms, device)


def _one(backbone: Backbone, dtype: Precision, atoms: int, device: str) -> Record:
    box = disordered_box(backbone.species, atoms, DENSITY)
    inputs = _inputs(backbone, box, dtype)
    capacity = _with_room(inputs)
    program = lower(FrozenModel.freeze(backbone, dtype, Capabilities.reference(Form.TABLE)), capacity)
    run, count = compilable(program, device), len(program.manifest.inputs)

    def given(each: TableInputs) -> list[Tensor]:
        return [tensor.to(device) for tensor in flatten(pad(each, capacity))[:count]]

    with torch.no_grad():
        replay, apart = Captured(run, given(inputs)), []
        for seed in range(2):
            box.rattle(MOVED, seed=seed)
            moved = _inputs(backbone, box, dtype)
            energies, gradients = replay(*given(moved))
            apart.append(_apart(backbone, box, dtype, capacity, energies, gradients))
        tensors = given(inputs)
        plain, replayed = (seconds_of(lambda r=r: r(*tensors), device) for r in (run, replay))
    return {
        "of_tolerance": max(apart),
        "ok": max(apart) <= 1.0,
        "us_per_atom": 1e6 * plain / atoms,
        "us_per_atom_replayed": 1e6 * replayed / atoms,
    }


def _inputs(backbone: Backbone, box: Atoms, dtype: Precision) -> TableInputs:
    graph = _graph(backbone, box)
    inputs = lay_out(graph, whole(len(box), graph.edges, backbone.hops), Form.TABLE, dtype)
    assert isinstance(inputs, TableInputs)
    return inputs


def _graph(backbone: Backbone, box: Atoms) -> Graph:
    return NeighbourList(backbone.neighbours).graph(Structure.from_atoms(box))


def _with_room(inputs: TableInputs) -> Capacity:
    """For whole structures of as many atoms, with some more neighbours each."""
    exact = Capacity.of(inputs)
    return Capacity(exact.levels, int(ROOM * exact.width) + 1, int(ROOM * exact.transposed) + 1)


def _apart(
    backbone: Backbone, box: Atoms, dtype: Precision, capacity: Capacity, energies: Tensor, gradients: Tensor
) -> float:
    """How far a replay is from the eager definition in float64 on the CPU, by what is allowed."""
    inputs = _inputs(backbone, box, Precision.FLOAT64)
    expected = energies_and_gradients(
        FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE)).backbone, inputs
    )
    shares = []
    found = energies, gradients[:, : inputs.neighbours.shape[1]]
    right = [each.detach().numpy() for each in expected]
    scales = max(float(np.abs(right[0]).sum()), len(box)), max(1.0, float(np.abs(right[1]).max()))
    for values, true, scale, most in zip(found, right, scales, _allowed(dtype), strict=True):
        shares.append(float(np.abs(values.double().cpu().numpy() - true).max()) / (most * scale))
    return float(np.max(shares))


def _allowed(dtype: Precision) -> tuple[float, float]:
    """Of energies by their sum, and of gradients by the largest."""
    if dtype is Precision.FLOAT64:
        return tolerances.ENERGY, tolerances.FORCE
    return tolerances.FLOAT32_ENERGY, tolerances.FLOAT32_FORCE

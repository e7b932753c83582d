"""Evaluate a structure in any form and any division into parts, with nothing but core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.evaluator.result import Result
from halocline.graph import Graph
from halocline.model import Output
from halocline.partition import Part, cut_part, whole
from halocline.program import Precision, ProgramInputs, ProgramOutputs
from halocline.program.geometry import forces_from_gradients, virial_from_gradients
from halocline.program.layout import gather_edges, lay_out

#: A prepared program: an executor's session, or the eager definition.
ProgramFunction = Callable[[ProgramInputs], ProgramOutputs]


def divide(graph: Graph, hops: int, owners: NDArray[np.int64] | None) -> list[Part]:
    """Cut a graph into parts.

    Args:
        graph: of N atoms.
        hops: the receptive field.
        owners: (N,) the part of each atom; part numbers without atoms give empty parts. None: one part, uncut.
    """
    if owners is None:
        return [whole(len(graph.structure), graph.edges, hops)]
    return [cut_part(owners == part, graph.edges, hops) for part in range(int(owners.max()) + 1)]


@in_evaluation_context
def sum_parts(
    run: ProgramFunction,
    graph: Graph,
    parts: list[Part],
    form: Form,
    precision: Precision,
    device: str = "cpu",
    shapes: Mapping[Output, tuple[int, ...]] = MappingProxyType({}),
) -> Result:
    """Evaluate part by part and add up energies, forces and virial, and whatever else is among the outputs."""
    atoms = len(graph.structure)
    energies = np.zeros(atoms)
    gradients = torch.zeros((len(graph.edges), 3), dtype=torch.float64)
    others = {name: np.zeros((atoms, *shape)) for name, shape in list(shapes.items())[1:]}
    for part in parts:
        found = run(lay_out(graph, part, form, precision, device))
        owned = part.atoms[: part.levels[0]]
        energies[owned] += found.energies.detach().double().cpu().numpy()
        for name, values in zip(others, found.others, strict=True):
            others[name][owned] += values.detach().double().cpu().numpy()
        rows = gather_edges(found.gradients.detach().cpu(), part, form).double()
        gradients.index_add_(0, torch.from_numpy(part.edges), rows)
    receivers, senders = torch.from_numpy(graph.edges.receivers), torch.from_numpy(graph.edges.senders)
    return Result.made_of(
        energies,
        forces_from_gradients(gradients, receivers, senders, atoms).numpy(),
        virial_from_gradients(gradients, torch.from_numpy(graph.vectors)).numpy(),
        {str(name): values for name, values in others.items()},
        graph.structure.volume,
    )

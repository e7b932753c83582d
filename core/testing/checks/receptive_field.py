"""Nothing reaches an atom's energy from beyond the declared hops."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.evaluator.frame import forces_from_gradients
from halocline.graph import Graph
from halocline.partition import cut_part, whole
from halocline.program import Precision, atom_energies
from halocline.program.layout import gather_edges, lay_out
from halocline.testing.report import Failure, Remark
from halocline.testing.subject import Subject


def check_receptive_field(subject: Subject) -> None:
    """The energy of one atom, by the positions of all others: exactly zero beyond, not all zero at the last hop.

    The box is longer than twice the receptive field; in a smaller one every atom would be within reach.
    """
    graph = subject.graph(subject.samples.wire)
    hops = subject.backbone.hops
    gradient = _gradient(subject, graph, atom=0)
    distance = hop_distance(graph, atom=0, most=hops)
    beyond = np.flatnonzero((distance > hops) & gradient.any(axis=1))
    if len(beyond):
        worst = float(np.abs(gradient[beyond]).max())
        raise Failure(
            f"The energy of one atom depends on {len(beyond)} atoms beyond the declared {hops} hops "
            f"(gradients up to {worst:.2g} eV/Å): declare more hops."
        )
    if not gradient[distance == hops].any():
        raise Remark(
            f"Nothing depends on the last of the {hops} declared hops: declare fewer, and parts get smaller."
        )


def hop_distance(graph: Graph, atom: int, most: int) -> NDArray[np.int64]:
    """Hops from one atom to every other, (N,); ``most + 1`` if farther."""
    distance = np.full(len(graph.structure), most + 1)
    part = cut_part(np.arange(len(distance)) == atom, graph.edges, most)
    for hop, (start, end) in enumerate(zip((0, *part.levels), part.levels, strict=False)):
        distance[part.atoms[start:end]] = hop
    return distance


def _gradient(subject: Subject, graph: Graph, atom: int) -> NDArray[np.float64]:
    """Derivative (N, 3) of one atom's energy by all positions, eV/Å, from the whole graph."""
    form, atoms = subject.forms[0], len(graph.structure)
    part = whole(atoms, graph.edges, subject.backbone.hops)
    inputs = lay_out(graph, part, form, Precision.FLOAT64)
    vectors = inputs.vectors.clone().requires_grad_(True)
    energy = atom_energies(subject.program(form).backbone, inputs, vectors)[atom]
    (gradients,) = torch.autograd.grad(energy, vectors)
    ends = torch.from_numpy(graph.edges.receivers), torch.from_numpy(graph.edges.senders)
    return -forces_from_gradients(gather_edges(gradients, part, form), *ends, atoms).numpy()

"""The runner interface: the parts of one rank, evaluated one after another, and the links between ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.graph import Contacts, Graph
from halocline.model.backbone import Output
from halocline.partition import Part
from halocline.program.geometry import forces_from_gradients, virial_from_gradients
from halocline.program.replacement import Replacement
from halocline.shares import timed


class Contribution(NamedTuple):
    """The share of one rank in a result, all in float64.

    Attributes:
        energies: (n_0,) eV, of the atoms that it owns.
        forces: (n, 3) eV/Å, what its energies do to every atom that it holds; they are added up over ranks.
        virial: (3, 3) eV, likewise.
        contacts: of the atoms that it owns.
        others: name → (n_0, ...), what else the model says of the atoms that it owns; see `Output`.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    contacts: Contacts
    others: dict[str, NDArray[np.float64]]


class Runner(ABC):
    """A model on one executor, ready for the parts of one rank.

    Attributes:
        replaced: stages that faster ones have taken the place of.
    """

    replaced: tuple[Replacement, ...] = ()

    @abstractmethod
    def run(self, graph: Graph, parts: NDArray[np.int64], links: Links) -> Contribution:
        """Evaluate what the rank owns.

        Args:
            graph: of the n atoms that the rank holds, those that it owns first.
            parts: (n_0,) int64, the part of each atom that it owns.
            links: to the other ranks.
        """


@final
class Tally:
    """The sum of what parts contribute.

    Args:
        graph: of the n atoms that the rank holds.
        owned: how many of them it owns.
        shapes: of the outputs of the backbone.
    """

    def __init__(self, graph: Graph, owned: int, shapes: Mapping[Output, tuple[int, ...]]) -> None:
        self._graph = graph
        self._energies = np.zeros(owned)
        self._forces = np.zeros((len(graph.structure), 3))
        self._virial = np.zeros((3, 3))
        self._others = {str(output): np.zeros((owned, *shape)) for output, shape in list(shapes.items())[1:]}

    @timed("sums")
    def add_energies(self, atoms: NDArray[np.int64], energies: Tensor) -> None:
        """Add energies (a,) in eV to atoms (a,)."""
        self._energies[atoms] += energies.double().cpu().numpy()

    def add_others(self, atoms: NDArray[np.int64], others: Mapping[str, Tensor]) -> None:
        """Add what else the model says of atoms (a,), by name."""
        for name, values in others.items():
            self._others[name][atoms] += values.double().cpu().numpy()

    @timed("sums")
    def add_gradients(self, part: Part, gradients: Tensor) -> None:
        """Add what the gradients (E, 3) by a part's edges, in eV/Å, mean for forces and virial."""
        pulls = gradients.cpu().double()
        receivers, senders = map(torch.from_numpy, (part.receivers, part.senders))
        # Halo atoms feel this part as well: what they feel is added up over parts.
        forces = forces_from_gradients(pulls, receivers, senders, len(part.atoms)).numpy()
        self._forces[part.atoms] += forces
        self._virial += virial_from_gradients(pulls, torch.from_numpy(part.of_edges(self._graph.vectors))).numpy()

    def contribution(self) -> Contribution:
        """The contribution of all parts that were added."""
        contacts = Contacts.of(self._graph, len(self._energies))
        return Contribution(self._energies, self._forces, self._virial, contacts, self._others)


class Links(ABC):
    """The connections of one rank. Every rank calls the same methods in the same order."""

    @abstractmethod
    def forward(self, rows: Tensor) -> None:
        """Fill the halo rows of (n, ...) with those of their owners, in place."""

    @abstractmethod
    def backward(self, rows: Tensor) -> None:
        """Add the halo rows of (n, ...) to their owners' rows, in the order of ranks, and clear them, in place."""


@final
class NoLinks(Links):
    """The links of a rank that is alone, which has no halo: nothing is sent."""

    def forward(self, rows: Tensor) -> None:
        """See `Links.forward`."""

    def backward(self, rows: Tensor) -> None:
        """See `Links.backward`."""

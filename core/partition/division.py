"""How a structure is divided: a partitioner and a number of parts."""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import PluginError, UsageError
from halocline.graph import Graph
from halocline.partition.part import Cutter, Part, whole
from halocline.partition.size import parse_size
from halocline.plugin import registry
from halocline.spec import Spec

#: The partition that needs no number of parts.
UNDIVIDED = "none"

#: Of a number of parts; a thousand million parts are more than any machine has memory for.
_DIGITS = 9


class Partitioner(ABC):
    """Says which part owns which atom, and nothing else.

    Halos, trimming and communication follow from the owners and the model's hops in one place, for all
    partitioners alike.
    """

    @abstractmethod
    def owners(self, graph: Graph, parts: int) -> NDArray[np.int64]:
        """Assign each atom to a part.

        Args:
            graph: the structure with its edges; balancing edges balances the work.
            parts: how many parts there are; some may stay empty.

        Returns:
            (N,) int64, between 0 and ``parts - 1``.
        """


@final
@dataclass(frozen=True, slots=True)
class Division:
    """Says which part owns which atom.

    Attributes:
        name: of the partitioner.
        partitioner: assigns owners.
        parts: how many parts it is asked for; those that stay empty are left out.
        memory: bytes that the process may take; it decides on the number of parts once there is a structure.
        options: of the partitioner, ``key=value,...``.
    """

    name: str
    partitioner: Partitioner
    parts: int
    memory: int | None = None
    options: str = ""

    @classmethod
    def parse(cls, text: str, memory: str | None = None) -> Self:
        """Read ``none`` or ``NAME:PARTS``, such as ``grid:8``; options follow as ``grid:8,key=value``.

        With a bound on memory, such as ``8GiB``, it is ``NAME`` or ``NAME:key=value`` without a number of parts,
        and ``none`` stands for the partitioner that is the default.

        Raises:
            UsageError: the text does not follow the grammar, both a bound and a number of parts are given, or no
                plugin brings this partitioner.
        """
        if not isinstance(text, str):
            example = divided(4)
            raise UsageError(
                f"A partition is 'none', or a name and a number of parts, such as {example!r}, not {text!r}."
            )
        name, colon, rest = text.partition(":")
        number, _, options = ("", "", rest) if "=" in rest.partition(",")[0] else rest.partition(",")
        if memory is not None:
            if colon and (number or not options):
                raise UsageError(
                    f"A bound on memory chooses the number of parts; say {name!r} instead of {text!r}."
                )
            name = registry().default("partitioner").name if name == UNDIVIDED else name
            return cls(name, _partitioner(name, options), 1, parse_size(memory), options)
        if not colon and name == UNDIVIDED:
            number = "1"
        partitioner = _partitioner(name, options)
        if not number.isascii() or not number.isdigit() or len(number) > _DIGITS or int(number) < 1:
            raise UsageError(
                f"A partition is a name and a number of parts, such as {name}:4, not {reprlib.repr(text)}."
            )
        return cls(name, partitioner, int(number), options=options)

    @property
    def divides(self) -> bool:
        """Whether there can be more than one part."""
        return self.parts > 1 or self.memory is not None

    def share(self, ranks: int) -> str:
        """The text by which each of so many ranks divides what it holds, into as many parts on all of them.

        Where a bound on memory decides on the number of parts, it is 1 here.
        """
        each = -(-self.parts // ranks)
        if each == 1 and self.memory is None:
            return UNDIVIDED
        return ",".join(filter(None, (f"{self.name}:{each}", self.options)))

    def owners(self, graph: Graph) -> NDArray[np.int64]:
        """The part of each atom, (N,) int64; parts may stay empty.

        Raises:
            PluginError: the partitioner returns nonsense.
        """
        atoms = len(graph.structure)
        owners = self.partitioner.owners(graph, self.parts)
        if owners.shape != (atoms,) or owners.dtype != np.int64 or owners.min() < 0 or owners.max() >= self.parts:
            raise PluginError(
                f"The partitioner {self.name!r} must give an owner from 0 to {self.parts - 1} to each of {atoms} "
                f"atoms, as int64; it gave {owners.dtype} {owners.shape} from {owners.min()} to {owners.max()}. "
                "Use another one, and tell its author."
            )
        return owners


def divided(parts: int) -> str:
    """The text that asks for so many parts without a choice of the partitioner, such as ``grid:4``."""
    return f"{registry().default('partitioner').name}:{parts}"


def _partitioner(name: str, options: str) -> Partitioner:
    """Make a partitioner with its options, ``key=value,...``."""
    spec = Spec.parse(f"{name}:{options}")
    partitioner: Partitioner = spec.build(registry().load("partitioner", name))
    return partitioner


def is_undivided(parts: NDArray[np.int64], atoms: int) -> bool:
    """Whether one part owns all of so many atoms.

    Args:
        parts: (n,) int64, the part of each of the first n atoms.
        atoms: N, at least n.
    """
    return len(parts) == atoms and bool((parts == parts[:1]).all())


def divide(graph: Graph, parts: NDArray[np.int64], hops: int) -> Iterator[Part]:
    """The parts that own atoms, in the order of their numbers, each cut out when it is asked for.

    Args:
        graph: of N atoms.
        parts: (n,) int64, the part of each of the first n atoms; the others belong to nobody here.
        hops: receptive field of what is to be evaluated.
    """
    atoms = len(graph.structure)
    if is_undivided(parts, atoms):
        yield whole(atoms, graph.edges, hops)
        return
    order = np.argsort(parts, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(parts[order])) + 1)
    cutter = Cutter(graph.edges, atoms)
    for owned in groups:
        yield cutter.cut(owned, hops)

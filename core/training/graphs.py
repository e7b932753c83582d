"""Graphs of the frames of a fit: kept, or made again whenever one is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import final

from halocline.data.duplicates import Shapes
from halocline.data.frames import Frames
from halocline.errors import within
from halocline.graph import Contacts, Graph, NeighbourList, Structure
from halocline.model import Backbone
from halocline.model.condition import under_conditions

#: Contacts of single graphs that are merged together.
_TOGETHER = 256


@final
class Graphs(Mapping[int, Graph]):
    """Exact graphs of frames by their numbers. Each is made once to learn what is to be known of all of them.

    Args:
        backbone: which neighbours there are.
        frames: of packed files the graphs are made anew whenever they are asked for; others are kept.
        numbers: of the frames.
        fitted: those of them whose contacts count.

    Attributes:
        edges: of all graphs together.
        contacts: how near atoms come in the fitted frames, and how many neighbours they have; None if there are
            none.
        duplicates: groups of frames that show the same structure; see `halocline.data.duplicates`.

    Raises:
        StructureError: a structure has no graph.
    """

    def __init__(
        self, backbone: Backbone, frames: Frames, numbers: Sequence[int], fitted: Collection[int] = ()
    ) -> None:
        self._backbone, self._frames, self._numbers = backbone, frames, numbers
        self._kept: dict[int, Graph] = {}
        self.edges = 0
        self.contacts: Contacts | None = None
        fitted = frozenset(fitted)
        shapes, latest = Shapes(), list[Contacts]()
        for number in numbers:
            graph = self._make(number)
            self.edges += len(graph.edges)
            shapes.add(number, graph)
            if number in fitted:
                latest.append(Contacts.of(graph))
            if len(latest) == _TOGETHER:
                latest = [self._with(latest)]
            if not frames.packed:
                self._kept[number] = graph
        if latest:
            self.contacts = self._with(latest)
        self.duplicates = shapes.groups(self)

    def __getitem__(self, number: int) -> Graph:
        return self._kept[number] if number in self._kept else self._make(number)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def _make(self, number: int) -> Graph:
        backbone, frame = self._backbone, self._frames[number]
        with within(f"{frame}, neighbours by {backbone.neighbours}"):
            atoms = frame.atoms
            structure = under_conditions(Structure.from_atoms(atoms), backbone.conditions, atoms.info)
            # Each structure is searched once, so no skin is needed; threads do not share a list.
            return NeighbourList(backbone.neighbours, skin=0.0).graph(structure)

    @staticmethod
    def _with(contacts: Sequence[Contacts]) -> Contacts:
        return Contacts.merge(contacts).measured()

"""Kinds of work that a step of a potential consists of, as profiles show them."""

from __future__ import annotations

from enum import StrEnum


class Work(StrEnum):
    """What an operator is run for.

    A stage says so of its submodules and methods in `Stage.profiled_as`; what the core itself does for stages,
    such as gathering and summing, is known anyway.
    """

    NEIGHBOURS = "neighbours"
    EMBEDDING = "embedding"
    RADIAL = "radial"
    ANGULAR = "angular"
    MESSAGES = "messages"
    SUM = "sum"
    PRODUCT = "product"
    UPDATE = "update"
    READOUT = "readout"

    @property
    def meaning(self) -> str:
        """A few words that say what the work is, for listings."""
        return _MEANINGS[self]


_MEANINGS = {
    Work.NEIGHBOURS: "search for neighbours, vectors to them, and their tensors",
    Work.EMBEDDING: "first features of atoms",
    Work.RADIAL: "distances, and functions of them",
    Work.ANGULAR: "directions, and functions of them",
    Work.MESSAGES: "features gathered at edges and weighted",
    Work.SUM: "messages added up at atoms",
    Work.PRODUCT: "products of an atom's sums with themselves",
    Work.UPDATE: "maps of the features of single atoms or edges",
    Work.READOUT: "energies from features",
}

"""What each of many ranks holds of a structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Edges, Graph, NeighbourRule, Structure, cut_candidates
from halocline.partition.part import Cutter, Part


@final
@dataclass(frozen=True, slots=True)
class Domain:
    """The atoms of a rank with all that they depend on, for as long as a neighbour list holds.

    Attributes:
        atoms: (n,) int64, global ids; those that this rank owns come first.
        owned: how many it owns.
        decided: the first so many have all their candidates, and so have their neighbours.
        parts: (owned,) int64, the part of each; parts of one rank run one after another.
        numbers: (n,) int64, atomic numbers.
        conditions: name → (n,), what the model is told of the structure; see `Structure`.
        edges: candidates, with local indices, sorted by receiver. Halo atoms that only send have none.
        partners: (E,) int64, the opposite of each candidate, itself where that lies outside the domain; None
            where the list is not symmetric.
        sends: for each rank, the local rows whose state it needs from this one. Empty where halos are recomputed.
        receives: for each rank, the local rows whose state comes from it, in the order in which it sends them.
    """

    atoms: NDArray[np.int64]
    owned: int
    decided: int
    parts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    conditions: dict[str, NDArray[Any]]
    edges: Edges
    partners: NDArray[np.int64] | None
    sends: tuple[NDArray[np.int64], ...]
    receives: tuple[NDArray[np.int64], ...]


def build_domains(
    structure: Structure,
    candidates: Edges,
    partners: NDArray[np.int64] | None,
    owners: NDArray[np.int64],
    *,
    parts: int,
    ranks: int,
    reach: int,
    exchange: bool,
    ranked: bool = False,
) -> list[Domain]:
    """Give every rank its share; ranks without atoms are legal.

    Args:
        structure: the N atoms.
        candidates: their edges, within the cutoff and a skin.
        partners: the opposite of each candidate, or None.
        owners: (N,) int64, the part of each atom.
        parts: how many parts there are; each rank takes equally many, neighbours in number staying together.
        ranks: how many ranks there are.
        reach: hops of the halo: those of the model, or of its farthest-reaching stage where state is exchanged.
        exchange: whether ranks send state to each other.
        ranked: whether candidates are ranked among those of both their ends, so that a rank holds one more hop.
    """
    rank_of = owners * ranks // parts
    cutter = Cutter(candidates, len(structure))
    hops = reach + ranked
    pieces = [cutter.cut(np.flatnonzero(rank_of == rank), hops) for rank in range(ranks)]
    receives = [_receives(piece, reach, rank_of, ranks, exchange) for piece in pieces]
    return [
        domain_of(
            piece,
            structure,
            candidates,
            partners,
            owners[piece.atoms[: piece.levels[0]]],
            reach,
            sends=tuple(_rows(piece, pieces[to].atoms[receives[to][rank]]) for to in range(ranks)),
            receives=receives[rank],
        )
        for rank, piece in enumerate(pieces)
    ]


def domain_of(
    piece: Part,
    structure: Structure,
    candidates: Edges,
    partners: NDArray[np.int64] | None,
    parts: NDArray[np.int64],
    reach: int,
    *,
    sends: tuple[NDArray[np.int64], ...],
    receives: tuple[NDArray[np.int64], ...],
) -> Domain:
    """The domain of a rank that holds a piece of a structure.

    Args:
        piece: its atoms and candidates.
        structure: that they are a piece of.
        candidates: of the structure.
        partners: the opposite of each, or None.
        parts: (owned,) int64, of the atoms that the rank owns.
        reach: hops of the halo.
        sends: see `Domain`.
        receives: likewise.
    """
    return Domain(
        atoms=piece.atoms,
        owned=piece.levels[0],
        decided=piece.levels[max(0, reach - 1)],
        parts=parts,
        numbers=structure.numbers[piece.atoms],
        conditions={name: values[piece.atoms] for name, values in structure.conditions.items()},
        edges=Edges(piece.receivers, piece.senders, candidates.shifts[piece.edges]),
        partners=None if partners is None else _partners_within(piece, partners),
        sends=sends,
        receives=receives,
    )


def _receives(
    piece: Part, reach: int, rank_of: NDArray[np.int64], ranks: int, exchange: bool
) -> tuple[NDArray[np.int64], ...]:
    """For each rank, the halo rows of a piece that it owns, up to so many hops."""
    if not exchange:
        return (np.empty(0, np.int64),) * ranks
    owner = rank_of[piece.atoms[piece.levels[0] : piece.levels[reach]]]
    return tuple(piece.levels[0] + np.flatnonzero(owner == rank) for rank in range(ranks))


def _rows(piece: Part, atoms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a piece holds atoms that it owns."""
    return np.searchsorted(piece.atoms[: piece.levels[0]], atoms)


def _partners_within(piece: Part, partners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Opposite edges by their place in the piece; an edge whose opposite lies outside is its own."""
    here = np.arange(len(piece.edges))
    local = np.full(len(partners), -1)
    local[piece.edges] = here
    found = local[partners[piece.edges]]
    return np.where(found < 0, here, found)


def domain_graph(
    domain: Domain,
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    rule: NeighbourRule,
) -> Graph:
    """Cut the candidates of a domain to what the rule keeps.

    Args:
        domain: of n atoms.
        positions: (n, 3) Å, of its atoms.
        cell: (3, 3) Å, of the whole structure.
        pbc: (3,), of the whole structure.
        rule: of the model.

    Raises:
        StructureError: two atoms sit on one point.
    """
    structure = Structure(domain.numbers, positions, cell, pbc, domain.conditions)
    return cut_candidates(rule, domain.edges, domain.partners, structure, domain.atoms, domain.decided)

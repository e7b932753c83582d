"""Which neighbours a stage asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final, get_args

from halocline.errors import UsageError

#: Whose list of nearest neighbours an edge must be in to be kept.
Keeper = Literal["receiver", "sender", "either", "both"]

#: Those of them that keep an edge and its opposite, or neither.
_SYMMETRIC = ("either", "both")


@final
@dataclass(frozen=True, slots=True)
class Radius:
    """All neighbours nearer than a cutoff, periodic images included.

    Attributes:
        cutoff: Å; a pair at exactly this distance is no neighbour.
    """

    cutoff: float

    def __post_init__(self) -> None:
        if not 0.0 < self.cutoff < math.inf:
            raise UsageError(f"A cutoff must be a positive length in Å, not {self.cutoff!r}.")


@final
@dataclass(frozen=True, slots=True)
class Nearest:
    """The k nearest neighbours of each atom, periodic images included.

    Of neighbours at one distance, to the last bit, those come first that have the lower number, then the lower
    shift. Energies jump where the k-th and the next neighbour change places, unless the model weights them down
    to zero before.

    Attributes:
        count: k. Atoms with fewer neighbours have all of them.
        cutoff: Å, beyond which nothing is a neighbour; infinite by default.
        kept_by: whose k nearest an edge must be among. ``receiver``: each atom collects from its k nearest.
            ``sender``: each atom sends to its k nearest. ``either`` or ``both`` of them: lists that are symmetric.
    """

    count: int
    cutoff: float = math.inf
    kept_by: Keeper = "receiver"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"A list of nearest neighbours needs at least one of them, not {self.count!r}.")
        if not self.cutoff > 0.0:
            raise UsageError(f"A cutoff must be a positive length in Å, not {self.cutoff!r}.")
        if self.kept_by not in get_args(Keeper):
            raise UsageError(
                f"Edges are kept by {', '.join(get_args(Keeper))} of their ends, not by {self.kept_by!r}."
            )

    @property
    def is_plain(self) -> bool:
        """Whether each atom has its own k nearest, and that is all: then nothing else needs to be searched."""
        return self.kept_by == "receiver" and self.cutoff == math.inf


@final
@dataclass(frozen=True, slots=True)
class Triplets:
    """Pairs of different edges that share an atom.

    Attributes:
        written: the rule of the edges that messages go to; each such edge j → i is met with every edge of the
            other rule that shares the atom.
        read: the rule of the edges that messages come from.
        at: ``receiver``: edges k → i, which end where j → i ends. ``sender``: edges k → j, which end where j → i
            begins, without its opposite. ``opposite``: i → j, the opposite of j → i, alone. A stage that reads
            edges of either latter kind has two hops.
    """

    written: Radius | Nearest
    read: Radius | Nearest
    at: Literal["receiver", "sender", "opposite"] = "receiver"

    def __post_init__(self) -> None:
        if self.at not in ("receiver", "sender", "opposite"):
            raise UsageError(f"Triplets are at the receiver, sender or opposite of an edge, not at {self.at!r}.")

    @property
    def rules(self) -> tuple[Radius | Nearest, ...]:
        """Of the edges."""
        return self.written, self.read

    @property
    def reaches_out(self) -> bool:
        """Whether edges are read that end at other atoms than those that are written."""
        return self.at != "receiver"


@final
@dataclass(frozen=True, slots=True)
class Quadruplets:
    """Chains of three edges l → k → i ← j, whose four atoms span a dihedral angle about the one in the middle.

    k → i is another edge than j → i, and l → k is not its opposite; l and j may be one atom, in a triangle. A
    stage that reads them has two hops.

    Attributes:
        written: the rule of the edges j → i, which messages go to.
        between: the rule of the edges k → i.
        read: the rule of the edges l → k, which messages come from.
    """

    written: Radius | Nearest
    between: Radius | Nearest
    read: Radius | Nearest

    @property
    def rules(self) -> tuple[Radius | Nearest, ...]:
        """Of the edges."""
        return self.written, self.between, self.read

    @property
    def reaches_out(self) -> bool:
        """See `Triplets.reaches_out`."""
        return True


#: What stages declare as `StageSpec.index_sets`.
IndexSet = Triplets | Quadruplets


@final
@dataclass(frozen=True, slots=True)
class Several:
    """Several lists in one model, and index sets of their edges.

    The graph of such a model has every edge that one of the rules keeps, and with each edge its opposite.

    Attributes:
        rules: different ones.
        index_sets: different ones, of edges of these rules.
    """

    rules: tuple[Radius | Nearest, ...]
    index_sets: tuple[IndexSet, ...] = ()

    def __post_init__(self) -> None:
        if not self.rules or len(set(self.rules)) < len(self.rules):
            raise UsageError(f"Several neighbour rules must be there and differ, not {self.rules!r}.")


NeighbourRule = Radius | Nearest | Several


def single_rules(rule: NeighbourRule | None) -> tuple[Radius | Nearest, ...]:
    """The rules that a stage or a model names."""
    if rule is None:
        return ()
    return rule.rules if isinstance(rule, Several) else (rule,)


def together(rules: Iterable[Radius | Nearest], index_sets: Iterable[IndexSet] = ()) -> NeighbourRule:
    """One rule for everything that some rules and index sets ask for; each of them counts once."""
    index_sets = tuple(dict.fromkeys(index_sets))
    different = tuple(dict.fromkeys((*rules, *(rule for each in index_sets for rule in each.rules))))
    return different[0] if len(different) == 1 and not index_sets else Several(different, index_sets)


def reach(rule: NeighbourRule) -> float:
    """Å, beyond which no atom is a neighbour; infinite where k nearest ones are taken however far they are."""
    return max(each.cutoff for each in single_rules(rule))


def is_ranked(rule: NeighbourRule) -> bool:
    """Whether candidates are ranked among those of both their ends: length alone does not decide on them."""
    plain = isinstance(rule, Nearest) and rule.is_plain  # whose candidates are the neighbours
    return not plain and any(isinstance(each, Nearest) for each in single_rules(rule))


def narrower(rule: NeighbourRule) -> tuple[Radius | Nearest, ...]:
    """The rules of a model that need not keep all edges of its graph, so that each has a list of its own."""
    if isinstance(rule, Radius) or (isinstance(rule, Nearest) and (rule.is_plain or rule.kept_by in _SYMMETRIC)):
        return ()
    farthest = reach(rule)
    return tuple(each for each in single_rules(rule) if isinstance(each, Nearest) or each.cutoff < farthest)

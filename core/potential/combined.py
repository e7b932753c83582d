"""Several potentials as one: their sum, or a committee whose mean counts and whose spread is told."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn, final

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from torch import nn

from halocline.errors import BackboneError, UsageError
from halocline.graph.rules import NeighbourRule, reach
from halocline.model.backbone import Backbone, Output
from halocline.model.condition import Condition
from halocline.potential.term import Term
from halocline.potential.unstaged import Unstaged

if TYPE_CHECKING:
    from halocline.potential.potential import Potential

_LOG = logging.getLogger(__name__)


def sum_of(*potentials: Potential) -> Potential:
    """The sum of potentials: a network and a pair potential, say, or a dispersion correction.

    Energies, forces and virials are added up, and so are reference energies. Terms with one neighbour rule share
    their list. What lies outside of the training is told by the first one's card.

    Args:
        potentials: two or more. They agree on every condition that they share, and at most one tells magnetic
            moments, or charges.

    Raises:
        UsageError: they are fewer than two, know no common element, or contradict each other.

    Example:
        >>> import halocline
        >>> from ase import Atoms
        >>> argon = halocline.load("lennard-jones-argon")
        >>> round(sum_of(argon, argon)(Atoms("Ar2", [(0, 0, 0), (0, 0, 3.8)]), dtype="float64").energy, 4)
        -0.0206
    """
    return _combined("sum", potentials, 1.0)


def committee_of(*potentials: Potential) -> Potential:
    """The mean of potentials, with their spread in `Result.spread`.

    Args:
        potentials: two or more, which tell the same and agree on conditions.

    Raises:
        UsageError: they are fewer than two, know no common element, or contradict each other.
    """
    return _combined("committee", potentials, 1.0 / max(1, len(potentials)))


def _combined(kind: Literal["sum", "committee"], potentials: Sequence[Potential], weight: float) -> Potential:
    if len(potentials) < 2:
        raise UsageError(f"A {kind} needs two potentials or more, not {len(potentials)}.")
    first = potentials[0]
    species = [each for each in first.species if all(each in other.species for other in potentials)]
    if not species:
        raise UsageError(f"The potentials of a {kind} know no element in common.")
    if any(potential.backbone.head_energies for potential in potentials):
        raise UsageError(f"A {kind} cannot have terms whose heads have reference energies of their own.")
    energies = [[potential.reference_energies[symbol] for symbol in species] for potential in potentials]
    total = weight * np.sum(energies, axis=0)
    terms = [potential.backbone for potential in potentials]
    backbone = Combined(kind, terms, species, np.array(energies) - total)
    names = [potential.card.get("name", potential.backbone.name) for potential in potentials]
    card = first.card | {"name": f"{kind} of {', '.join(names)}"}
    _say_remarks(potentials)
    references = dict(zip(species, total.tolist(), strict=True))
    return dataclasses.replace(first, backbone=backbone, reference_energies=references, card=card)


def _say_remarks(potentials: Sequence[Potential]) -> None:
    """Warn of what speaks against adding a term to the others."""
    for potential in potentials:
        if isinstance(potential.backbone, Term):
            others = (each.card for each in potentials if each is not potential)
            for remark in filter(None, map(potential.backbone.remark, others)):
                _LOG.warning("%s", remark)


@final
class Combined(Unstaged):
    """Backbones that evaluators run one by one; it has no stages, and cannot be frozen, saved or exported.

    Args:
        kind: what becomes of their results.
        terms: two or more.
        species: that all of them know.
        references: (terms, species), eV, by which the reference energies of each differ from those of the whole.

    Attributes:
        terms: see the argument.
        offsets: (terms, 119), eV, the references by atomic number.

    Raises:
        UsageError: they contradict each other.
    """

    made: ClassVar = "Sums and committees are made of potentials"

    def __init__(
        self,
        kind: Literal["sum", "committee"],
        terms: Sequence[Backbone],
        species: Sequence[str],
        references: NDArray[np.float64],
    ) -> None:
        super().__init__()
        self.name = kind  # type: ignore[misc]  # each kind is one of its own
        self.config = {"terms": [[term.name, term.config] for term in terms], "references": references.tolist()}
        self.species = tuple(species)
        self._terms = nn.ModuleList(terms)
        self.offsets = np.zeros((len(terms), len(atomic_numbers)))
        self.offsets[:, [atomic_numbers[symbol] for symbol in species]] = references
        self.conditions, self.outputs = _agreed_conditions(terms), _outputs(kind, terms)

    @property
    def terms(self) -> list[Backbone]:
        """The backbones that are combined."""
        return [term for term in self._terms if isinstance(term, Backbone)]

    @property
    def described(self) -> str:
        """Kind and names of the backbones, for messages."""
        return f"a {self.name} of {', '.join(term.name for term in self.terms)}"

    @property
    def neighbours(self) -> NeighbourRule:
        """The rule of the term that reaches farthest."""
        rules = [term.neighbours for term in self.terms]
        return max(rules, key=reach)

    @property
    def hops(self) -> int:
        """See `Backbone.hops`."""
        return max(term.hops for term in self.terms)

    def refuse(self) -> NoReturn:
        """Say that it is no model by itself.

        Raises:
            BackboneError: always.
        """
        raise BackboneError(
            f"This is {self.described}, which has no stages of its own: save, export, prune or train its terms."
        )


def tells_spread(backbone: Backbone) -> bool:
    """Whether results have a spread: of a committee, and of a sum with one committee in it."""
    if not isinstance(backbone, Combined):
        return False
    return backbone.name == "committee" or sum(map(tells_spread, backbone.terms)) == 1


def _agreed_conditions(terms: Sequence[Backbone]) -> tuple[Condition, ...]:
    found: dict[str, Condition] = {}
    for condition in (each for term in terms for each in term.conditions):
        if found.setdefault(condition.name, condition) != condition:
            raise UsageError(f"Two potentials declare the condition {condition.name!r} differently.")
    return tuple(found.values())


def _outputs(kind: str, terms: Sequence[Backbone]) -> tuple[Output, ...]:
    told = [set(term.outputs) for term in terms]
    if kind == "committee":
        if any(each != told[0] for each in told):
            raise UsageError("The potentials of a committee do not all tell the same.")
        return tuple(output for output in terms[0].outputs if output is not Output.POOLED)
    for output in (Output.MAGMOMS, Output.CHARGES):
        if sum(output in each for each in told) > 1:
            raise UsageError(f"Two potentials tell {output}, which cannot be added up.")
    return tuple(
        output for output in Output if output is not Output.POOLED and any(output in each for each in told)
    )

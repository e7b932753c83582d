"""What a model is told of a structure as a whole: its charge, its spin, the head that is to answer.

A program finds each condition as a value of every atom, so that parts, batches and halos carry it like species.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import BackboneError, StructureError, UsageError, unknown_name
from halocline.graph.structure import Structure

#: The condition that a call, or ``--head``, may choose for all of its structures.
HEAD: Final = "head"

#: Names that a program gives to something else, and what names of its other inputs begin with.
_TAKEN: Final = {
    *("species", "vectors", "mask", "neighbours", "transposed", "senders", "receivers", "pairs", "pair_of"),
    *("seeds", "positions", "cell", "shifts", "energies", "energy", "forces", "gradients", "virial"),
}
_TAKEN_BEGINNINGS: Final = (
    *("d_", "edges_", "level_", "edge_level_", "pair_level_"),
    *("rule_", "triplets_", "quadruplets_", "pooled_"),
)

#: Whole numbers up to here are floats as well, in float32 too.
_LARGEST: Final = 2**24


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One number or name per structure, which a backbone takes beside atoms and cell.

    Stages find it under its name in the first state, (n,): int64 for whole numbers and for choices, which are told
    by their place in `choices`; else floats. Nothing is differentiated by it.

    Attributes:
        name: such as ``charge``, ``spin`` or `HEAD`.
        kind: ``integer``, ``real``, or ``choice``, one of several names.
        choices: those names.
        least: the smallest number that the model was made for; None if there is no such bound.
        most: the largest.
        default: what counts where nothing is stated; None where it has to be stated.
        keys: entries of ``atoms.info`` that state it; by default its name. If several are there they must agree.

    Raises:
        BackboneError: the declaration contradicts itself.
    """

    name: str
    kind: Literal["integer", "real", "choice"]
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    default: float | str | None = None
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        free = self.name.isidentifier() and self.name.isascii() and not keyword.iskeyword(self.name)
        if not free or self.name in _TAKEN or self.name.startswith(_TAKEN_BEGINNINGS):
            raise BackboneError(
                f"A condition cannot be called {self.name!r}; choose a word that programs do not use."
            )
        if (self.kind == "choice") != bool(self.choices) or len(set(self.choices)) != len(self.choices):
            raise BackboneError(
                f"The condition {self.name!r} needs choices, each once, if it is one and only then."
            )
        if self.default is not None:
            try:
                self.number(self.default)
            except StructureError as error:
                raise BackboneError(f"The default of a condition is impossible: {error}") from error

    @property
    def entries(self) -> tuple[str, ...]:
        """Entries of ``atoms.info`` that state it."""
        return self.keys or (self.name,)

    @property
    def dtype(self) -> type[np.int64] | type[np.float64]:
        """NumPy dtype of its values outside of programs."""
        return np.float64 if self.kind == "real" else np.int64

    def number(self, value: object) -> float:
        """The number that a program is told for a value that somebody states; of a choice its place.

        Raises:
            StructureError: the value is of another kind, out of bounds, or none of the choices.
        """
        if self.kind == "choice":
            return float(self._place(value))
        number = _plain(value)
        whole = self.kind == "integer"
        if number is None or not np.isfinite(number) or (whole and (number % 1 or abs(number) > _LARGEST)):
            raise StructureError(f"Its {self.name} must be {'a whole' if whole else 'a'} number, not {value!r}.")
        if number < (-np.inf if self.least is None else self.least) or number > (
            np.inf if self.most is None else self.most
        ):
            raise StructureError(
                f"Its {self.name} is {value}; the model was made for values from {self.least} to {self.most}."
            )
        return number

    def read(self, info: Mapping[str, Any]) -> float:
        """The number that a program is told for a structure.

        Args:
            info: ``atoms.info`` of the structure.

        Raises:
            StructureError: it is not stated although it has to be, contradicts itself, or is impossible.
        """
        stated = {key: self.number(info[key]) for key in self.entries if info.get(key) is not None}
        if len(set(stated.values())) > 1:
            raise StructureError(f"It contradicts itself: {', '.join(f'{key} is {info[key]}' for key in stated)}.")
        for number in stated.values():
            return number
        if self.default is None:
            call = f", or head={self.choices[0]!r} in the call (--head)" if self.name == HEAD else ""
            raise StructureError(
                f"The model needs its {self.name}{self._offer()}: set atoms.info[{self.entries[0]!r}]{call}."
            )
        return self.number(self.default)

    def stated(self, number: float) -> float | str:
        """The value that `number` gives this number for."""
        if self.kind == "choice":
            return self.choices[int(number)]
        return int(number) if self.kind == "integer" else number

    def example(self, seed: int) -> float:
        """A number that it may have: other seeds mostly have other ones."""
        if self.kind == "choice":
            return float(seed % len(self.choices))
        low = self.least if self.least is not None else (self.most or 0.0) - 2.0
        high = self.most if self.most is not None else low + 2.0
        return float(np.clip(np.ceil(low) + seed % 3, low, high))

    def to_json(self) -> dict[str, Any]:
        """The declaration as plain JSON values, for manifests."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def _place(self, value: object) -> int:
        if isinstance(value, str) and value in self.choices:
            return self.choices.index(value)
        if isinstance(value, str):
            raise StructureError(str(unknown_name(self.name, value, self.choices)))
        raise StructureError(f"Its {self.name} must be the name of one{self._offer()}, not {value!r}.")

    def _offer(self) -> str:
        return f" ({', '.join(self.choices)})" if self.choices else ""


def read_conditions(
    conditions: Sequence[Condition], info: Mapping[str, Any], head: str | None = None
) -> dict[str, float]:
    """The numbers that a program is told of one structure, by name of the condition.

    Args:
        conditions: those of the backbone.
        info: ``atoms.info`` of the structure.
        head: from the call, which counts before what the structure states; see `check_head`.

    Raises:
        StructureError: the structure does not say, or says something impossible; the condition is named.
    """
    chosen = dict(info) if head is None else {**info, **dict.fromkeys(_keys_of_head(conditions), head)}
    return {condition.name: condition.read(chosen) for condition in conditions}


def under_conditions(
    structure: Structure, conditions: Sequence[Condition], info: Mapping[str, Any], head: str | None = None
) -> Structure:
    """A structure with what a model is told of it; arguments and errors as for `read_conditions`."""
    if not conditions:
        return structure
    return structure.under(of_each_atom(conditions, read_conditions(conditions, info, head), len(structure)))


def taken_entries(conditions: Sequence[Condition]) -> set[str]:
    """The entries of ``atoms.info`` that state them."""
    return {key for condition in conditions for key in condition.entries}


def check_head(conditions: Sequence[Condition], head: object) -> None:
    """Refuse a head, from a call, that the model does not have; None is no head.

    Raises:
        UsageError: it is named, with those that are near.
    """
    if head is None:
        return
    if not isinstance(head, str):
        raise UsageError(f"The option head must be text, as on the command line, not {head!r}.")
    heads = [condition.choices for condition in conditions if condition.name == HEAD]
    if not heads:
        raise UsageError(f"This model has no heads to choose from; leave out head={head!r} (--head).")
    if head not in heads[0]:
        raise unknown_name(HEAD, head, heads[0])


def of_each_atom(
    conditions: Sequence[Condition], numbers: Mapping[str, float | NDArray[np.float64]], atoms: int
) -> dict[str, NDArray[Any]]:
    """The values (N,) of every condition, in its dtype.

    Args:
        conditions: of the backbone.
        numbers: of each condition, by name: one, or (N,).
        atoms: N.
    """
    return {each.name: np.full(atoms, numbers[each.name], dtype=each.dtype) for each in conditions}


def require_consistent(conditions: Sequence[Condition], name: str) -> None:
    """Refuse declarations that cannot stand beside each other.

    Args:
        conditions: of a backbone.
        name: of the backbone, for the message.

    Raises:
        BackboneError: two have one name, or a head is no choice.
    """
    names = [condition.name for condition in conditions]
    if len(set(names)) != len(names) or any(each.kind != "choice" for each in conditions if each.name == HEAD):
        raise BackboneError(f"The conditions of {name!r} need names of their own, and heads are choices: {names}.")


def _keys_of_head(conditions: Sequence[Condition]) -> tuple[str, ...]:
    return next((each.entries for each in conditions if each.name == HEAD), ())


def _plain(value: object) -> float | None:
    """A number of Python or NumPy, which truth values and text are not."""
    array = np.asarray(value)
    if isinstance(value, bool | str | bytes) or array.ndim or array.dtype.kind not in "iuf":
        return None
    return float(array)


def energies_of_heads(config: Mapping[str, Any], species: Sequence[str]) -> dict[str, dict[str, float]]:
    """What `Backbone.head_energies` is, of a config that lists them.

    Args:
        config: with ``heads``, names, and ``head_energies``, eV, of each head in turn one for each species.
        species: chemical symbols of the model.
    """
    energies, count = config["head_energies"], len(species)
    return {
        head: dict(zip(species, energies[number * count : (number + 1) * count], strict=True))
        for number, head in enumerate(config["heads"])
    }

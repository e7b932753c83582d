"""What a potential returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.applicability import Outside
from halocline.errors import NotFiniteError
from halocline.graph import Contacts
from halocline.model.backbone import Output
from halocline.shares import timed


@final
@dataclass(frozen=True, slots=True)
class Difference:
    """What a member of a committee says, less the mean of all.

    Attributes:
        energies: (N,), eV, of each atom's share.
        forces: (N, 3), eV/Å.
        virial: (3, 3), eV; None if the mean has none.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64] | None


@final
@dataclass(frozen=True, slots=True)
class Spread:
    """How far the members of a committee are from their mean: roots of mean squares over members.

    Attributes:
        energy: eV, of the total energy.
        energies: (N,), eV, of each atom's share.
        forces: (N,), eV/Å, of each atom's force, as lengths of differences.
        members: the differences themselves, in the order of the members.
    """

    energy: float
    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    members: tuple[Difference, ...]

    @classmethod
    def of(cls, members: Sequence[Difference]) -> Spread:
        """The spread that differences of members from their mean make up."""
        squares = [np.square(np.linalg.norm(each.forces, axis=1)) for each in members]
        return cls(
            energy=float(np.std([each.energies.sum() for each in members])),
            energies=np.asarray(np.std([each.energies for each in members], axis=0)),
            forces=np.sqrt(np.mean(squares, axis=0)),
            members=tuple(members),
        )


@final
@dataclass(frozen=True, slots=True)
class Result:
    """Energy, forces and stress of one structure of N atoms, all float64.

    Every number is finite, those that follow from the attributes too: nothing else can be made into a result, so
    no evaluator, whoever wrote it, returns anything else.

    Attributes:
        energies: (N,), eV, each atom's share, its element's reference energy included.
        forces: (N, 3), eV/Å, minus the gradient of the energy, or what the model says that they are.
        virial: (3, 3), eV, derivative of the energy by a uniform strain, or what the model says that it is.
            Symmetric. None of a model that says what forces are and not what the virial is.
        volume: Å³ if the structure is periodic in all three directions, else None.
        contacts: how near its atoms come, and how many neighbours they have; None if the evaluator does not say.
        outside: in what the structure lies outside of what the model was made from; empty if in nothing.
        magmoms: (N,), μB, magnetic moment of each atom; None unless the model tells them.
        charges: (N,), e, charge of each atom; None unless the model tells them.
        pooled: (N, C), of models with a pooled head, before it has been asked; nobody else is given it.
        spread: of the members if the model is a committee, of which everything else is the mean; else None.

    Raises:
        NotFiniteError: a number is infinite or none; the first such atom and quantity are named.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64] | None
    volume: float | None
    contacts: Contacts | None = None
    outside: tuple[Outside, ...] = ()
    magmoms: NDArray[np.float64] | None = None
    charges: NDArray[np.float64] | None = None
    spread: Spread | None = None
    pooled: NDArray[np.float64] | None = None

    @timed("result")
    def __post_init__(self) -> None:
        # A sum of squares is finite only if all numbers are, and then they are so small that none of the following
        # overflows: nearly always this is all there is to do.
        squares = float(_vdot(self.energies, self.energies)) + float(_vdot(self.forces, self.forces))
        for each in (self.virial, self.magmoms, self.charges):
            if each is not None:
                squares += float(_vdot(each, each))
        if not (squares < math.inf and (self.volume is None or _LEAST < self.volume < math.inf)):
            self._refuse_if_not_finite()

    def _refuse_if_not_finite(self) -> None:
        _refuse_atoms("energy", self.energies, "eV")
        _refuse_atoms("force", self.forces, "eV/Å")
        for quantity, values, unit in (("magnetic moment", self.magmoms, "μB"), ("charge", self.charges, "e")):
            if values is not None:
                _refuse_atoms(quantity, values, unit)
        with np.errstate(all="ignore"):  # what overflows is refused, which says more than a warning
            _refuse("total energy", self.energy, "eV")
            if self.virial is not None:
                _refuse("virial", self.virial, "eV")
            if self.volume is not None:
                _refuse("volume", self.volume, "Å³")
            if self.virial is not None and self.volume is not None:
                _refuse("stress", self.virial / self.volume, "eV/Å³")

    @property
    def energy(self) -> float:
        """Total energy, eV."""
        return float(self.energies.sum())

    @property
    def stress(self) -> NDArray[np.float64] | None:
        """Cauchy stress, (3, 3), eV/Å³, tension positive; None unless periodic in all three directions.

        None also of a model that has no virial.
        """
        return None if self.volume is None or self.virial is None else self.virial / self.volume

    def completed(self, reference: NDArray[np.float64], outside: tuple[Outside, ...]) -> Result:
        """The result of a model with reference energies, of one without.

        Args:
            reference: (N,), eV, to be added.
            outside: see the attribute.

        Raises:
            NotFiniteError: as the class does.
        """
        whole = object.__new__(Result)
        energies = self.energies + reference
        values = (energies, self.forces, self.virial, self.volume, self.contacts, outside)
        for name, value in zip(_NAMES, (*values, self.magmoms, self.charges, self.spread, None), strict=True):
            object.__setattr__(whole, name, value)
        if not _vdot(energies, energies) < math.inf:  # of the others that is known
            whole._refuse_if_not_finite()
        return whole

    def to_keep(self) -> Result:
        """The same object, without the edges that contacts hold on to until they are measured."""
        if self.contacts is not None:
            self.contacts.measured()
        return self

    @classmethod
    def made_of(
        cls,
        energies: NDArray[np.float64],
        forces: NDArray[np.float64],
        virial: NDArray[np.float64],
        others: Mapping[str, NDArray[np.float64]],
        volume: float | None,
        contacts: Contacts | None = None,
    ) -> Result:
        """A result of what a program and its derivatives gave.

        Args:
            energies: (N,), eV.
            forces: (N, 3), eV/Å, from gradients; those that the model says itself count instead.
            virial: (3, 3), eV, likewise.
            others: name → (N, ...), what else the model says of atoms; see `halocline.model.Output`.
            volume: see the attribute.
            contacts: see the attribute.

        Raises:
            NotFiniteError: as the class does.
        """
        if not others:
            return cls(energies, forces, virial, volume, contacts)
        return cls(
            energies=energies,
            forces=others.get(Output.FORCES, forces),
            virial=virial_told(virial, others),
            volume=volume,
            contacts=contacts,
            magmoms=others.get(Output.MAGMOMS),
            charges=others.get(Output.CHARGES),
            pooled=others.get(Output.POOLED),
        )


def virial_told(
    virial: NDArray[np.float64], others: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64] | None:
    """The virial, (3, 3) eV, that a model says itself, or else the derivative.

    None of a model that says what forces are and not what the virial is.

    Args:
        virial: (3, 3) eV, from gradients.
        others: see `Result.made_of`; of all atoms or of some, as shares add up.
    """
    if Output.VIRIALS in others:
        total = others[Output.VIRIALS].sum(axis=0)
        return np.asarray(0.5 * (total + total.T))
    return None if Output.FORCES in others else virial


def _refuse_atoms(quantity: str, values: NDArray[np.float64], unit: str) -> None:
    """Refuse numbers of atoms, (N,) or (N, 3), that are not finite."""
    if np.isfinite(values).all():
        return
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    others = f" (the first of {len(bad)} such atoms)" if len(bad) > 1 else ""
    raise NotFiniteError(
        f"The {quantity} of atom {bad[0]}{others} is {_written(values[bad[0]])} {unit}, not finite. {_REMEDY}"
    )


def _refuse(quantity: str, value: NDArray[np.float64] | float, unit: str) -> None:
    """Refuse a number or a tensor of the whole structure that is not finite."""
    if not np.isfinite(value).all():
        raise NotFiniteError(f"The {quantity} is {_written(value)} {unit}, not finite. {_REMEDY}")


def _written(value: NDArray[np.float64] | float) -> str:
    return " ".join(f"{number:.4g}" for number in np.ravel(value))


_vdot: Final = np.vdot

#: Of a result, in their order.
_NAMES: Final = tuple(each.name for each in fields(Result))

#: Å³. What may be divided by a volume above this, and stays finite, has a finite square.
_LEAST = 1e-100

_REMEDY = "Look for atoms that are too close, wrong units, or a damaged model."

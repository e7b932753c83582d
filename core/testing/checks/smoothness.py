"""Energy and forces neither jump nor kink where a pair crosses the cutoff, and end there."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from ase import Atoms

from halocline.graph import Radius
from halocline.model.result import Result
from halocline.testing import tolerances
from halocline.testing.comparison import energy_scale, force_scale, require_close
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.structures import TRIES, clearance
from halocline.testing.subject import Subject

#: Pairs of so many species are tried.
MOST_SPECIES = 3


def check_smoothness(subject: Subject) -> None:
    """An atom crosses the cutoff of another, alone and in a crowd; alone, nothing at all is left beyond."""
    rule = subject.backbone.neighbours
    if not isinstance(rule, Radius):
        raise NotApplicable(
            "Energies jump where the last of the nearest neighbours changes; that is the rule's nature."
        )
    for pair in itertools.combinations_with_replacement(subject.backbone.species[:MOST_SPECIES], 2):
        _check_pair(subject, rule.cutoff, *pair)
    _check_crowd(subject, rule)


def _check_pair(subject: Subject, cutoff: float, first: str, second: str) -> None:
    def at(shift: float) -> Atoms:
        return Atoms([first, second], positions=[[0, 0, 0], [0, 0, cutoff + shift]])

    what = f"of {first}–{second} across the cutoff"
    _check_crossing(subject, at, what)
    near, far = subject.evaluate(at(tolerances.CROSSING)), subject.evaluate(at(10.0 * cutoff))
    if near.forces.any() or not np.array_equal(near.energies, far.energies):
        raise Failure(f"{first} and {second} still interact beyond the cutoff of {cutoff} Å.")


def _check_crowd(subject: Subject, rule: Radius) -> None:
    """A probe leaves one atom of a molecule while it stays near the others."""
    molecule = subject.samples.molecule
    rng = np.random.default_rng(6)
    for _ in range(TRIES):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)

        def at(shift: float, axis: np.ndarray = axis) -> Atoms:
            place = molecule.positions[0] + (rule.cutoff + shift) * axis
            return molecule + Atoms(subject.backbone.species[:1], positions=[place])

        distances = np.linalg.norm(at(0.0).positions[-1] - molecule.positions[1:], axis=1)
        crowded = (distances < rule.cutoff).sum() >= 2 and distances.min() > 0.3 * rule.cutoff
        if crowded and clearance(at(2.0 * tolerances.CLEARANCE), rule) > tolerances.CLEARANCE:
            _check_crossing(subject, at, "of a probe that leaves one atom of a molecule")
            return
    raise Failure("No sample was found in which just one pair crosses the cutoff.")


def _check_crossing(subject: Subject, at: Callable[[float], Atoms], what: str) -> None:
    inside, outside = _limit(subject, at, -tolerances.CROSSING), _limit(subject, at, tolerances.CROSSING)
    energy = tolerances.JUMP * energy_scale(inside)
    require_close(f"Energies {what}, from either side (eV)", inside.energies, outside.energies, energy)
    force = tolerances.JUMP * force_scale(inside)
    require_close(f"Forces {what}, from either side (eV/Å)", inside.forces, outside.forces, force)


def _limit(subject: Subject, at: Callable[[float], Atoms], step: float) -> Result:
    """Extrapolate from one and two steps away to the cutoff itself."""
    one, two = subject.evaluate(at(step)), subject.evaluate(at(2.0 * step))
    return Result(
        energies=2.0 * one.energies - two.energies,
        forces=2.0 * one.forces - two.forces,
        virial=2.0 * one.virial - two.virial,
        volume=None,
    )

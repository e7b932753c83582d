"""Energy and forces neither jump nor kink where a pair crosses the cutoff, and end there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.evaluator.result import Result
from halocline.graph import NeighbourRule, Radius
from halocline.graph.rules import reach, single_rules
from halocline.testing import tolerances
from halocline.testing.comparison import energy_scale, force_scale, require_close
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.structures import TRIES, clearance
from halocline.testing.subject import Subject

#: Pairs of so many species are tried.
MOST_SPECIES = 3

#: While other pairs are looked at, the crossing one is moved out of the way, Å.
ASIDE = 2.0 * tolerances.CLEARANCE

#: A probe keeps this part of the cutoff between itself and any atom.
NEAREST = 0.3


def check_smoothness(subject: Subject) -> None:
    """An atom crosses the cutoff of another, alone and in a crowd; alone, nothing at all is left beyond.

    Raises:
        Failure: energies or forces jump there, or something is left beyond.
        NotApplicable: a rule of the model counts neighbours.
    """
    rule = subject.backbone.neighbours
    if not all(isinstance(each, Radius) for each in single_rules(rule)):
        raise NotApplicable(
            "Energies jump where the last of the nearest neighbours changes; that is the rule's nature."
        )
    for pair in itertools.combinations_with_replacement(subject.backbone.species[:MOST_SPECIES], 2):
        for each in single_rules(rule):
            at = partial(_pair, *pair, each.cutoff)
            _check_crossing(subject, at, f"of {'–'.join(pair)} across the cutoff of {each.cutoff} Å")
        _check_beyond(subject, reach(rule), *pair)
    for each in single_rules(rule):
        _check_crowd(subject, rule, each.cutoff)


def _check_beyond(subject: Subject, cutoff: float, first: str, second: str) -> None:
    at = partial(_pair, first, second, cutoff)
    near, far = subject.evaluate(at(tolerances.CROSSING)), subject.evaluate(at(10.0 * cutoff))
    if near.forces.any() or not np.array_equal(near.energies, far.energies):
        raise Failure(f"{first} and {second} still interact beyond the cutoff of {cutoff} Å.")


def _check_crowd(subject: Subject, rule: NeighbourRule, cutoff: float) -> None:
    """A probe leaves one atom of a molecule while it stays near the others."""
    molecule = subject.samples.molecule
    rng = np.random.default_rng(6)
    for _ in range(TRIES):
        axis = rng.normal(size=3)
        at = partial(_probed, molecule, subject.backbone.species[0], cutoff * axis / np.linalg.norm(axis))
        if _is_crowded(at(0.0), cutoff) and clearance(at(ASIDE), rule) > tolerances.CLEARANCE:
            _check_crossing(subject, at, "of a probe that leaves one atom of a molecule")
            return
    raise Failure("No sample was found in which just one pair crosses the cutoff.")


def _pair(first: str, second: str, cutoff: float, shift: float) -> Atoms:
    """Two atoms, ``shift`` Å farther apart than the cutoff."""
    return Atoms([first, second], positions=[[0, 0, 0], [0, 0, cutoff + shift]])


def _probed(molecule: Atoms, symbol: str, offset: NDArray[np.float64], shift: float) -> Atoms:
    """A molecule and a probe, ``shift`` Å farther from its first atom than the offset says."""
    place = molecule.positions[0] + offset * (1.0 + shift / float(np.linalg.norm(offset)))
    probed: Atoms = molecule + Atoms([symbol], positions=[place])
    return probed


def _is_crowded(probed: Atoms, cutoff: float) -> bool:
    """Whether the last atom has two more neighbours, none of them too near."""
    distances = np.linalg.norm(probed.positions[-1] - probed.positions[1:-1], axis=1)
    return bool((distances < cutoff).sum() >= 2 and distances.min() > NEAREST * cutoff)


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
        virial=None,
        volume=None,
    )

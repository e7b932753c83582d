"""Conditions under which a run is stopped, because what follows would be nonsense."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import KDTree

from halocline.applicability import Outside
from halocline.dynamics.settings import NEAREST
from halocline.dynamics.step_record import StepRecord, result
from halocline.shares import timed

_dot: Final = np.vdot

#: K above the temperature of the bath (nve: of the start). MLIPAudit judges stability by the same bound.
EXCESS_TEMPERATURE = 10_000.0
#: Å that an atom may travel in one step; a hydrogen atom at 10 000 K makes 0.2 Å in 1 fs.
LONGEST_MOVE = 1.0
#: Å between an atom of a molecule or cluster and its nearest neighbour, beyond the reach of a usual potential.
WIDEST_GAP = 10.0


@final
class Guards:
    """Looks at each step; the reason to stop comes back as text, so that the caller can add where and when.

    Args:
        atoms: the structure at the start of the run.
        temperature: K; of the bath, or of the start for nve.
        nearest: of the shortest distance of two elements in training; nearer, the run is stopped.
    """

    def __init__(self, atoms: Atoms, temperature: float, nearest: float = NEAREST) -> None:
        self.nearest = nearest
        self._hottest = temperature + EXCESS_TEMPERATURE
        self._gap = max(WIDEST_GAP, 2.0 * _widest_gap(atoms)[1])
        self._room = 0.0  # Å, by which gaps may still grow until one can be too wide
        self._previous: NDArray[np.float64] | None = None

    @timed("guards")
    def reason_to_stop(self, atoms: Atoms, sample: StepRecord) -> str | None:
        """Return why the run must stop at this step, or None."""
        return (
            self._not_finite(atoms, sample)
            or self.too_near(atoms)
            or self._too_fast(atoms, sample)
            or (self.apart(atoms) if self._room <= 0.0 else None)
        )

    def too_near(self, atoms: Atoms) -> str | None:
        """Return which atoms are too near for the model, or None; calculators other than ours do not know."""
        return nearer(getattr(atoms.calc, "outside", ()), self.nearest)

    def too_hot(self, sample: StepRecord) -> str | None:
        """Return that the temperature has run away, or None."""
        if not sample.temperature <= self._hottest:
            return f"the temperature ran away to {sample.temperature:.3g} K"
        return None

    def apart(self, atoms: Atoms) -> str | None:
        """Return which atom has flown away, or None."""
        atom, gap = _widest_gap(atoms)
        self._room = self._gap - gap
        if gap > self._gap:
            return f"atom {atom} has flown apart, {gap:.3g} Å from its nearest neighbour"
        return None

    def _not_finite(self, atoms: Atoms, sample: StepRecord) -> str | None:
        if not math.isfinite(sample.potential):
            return f"the energy is {sample.potential}"
        arrays = (
            ("force", result(atoms, "forces")),
            ("position", atoms.positions),
            ("velocity", atoms.arrays.get("momenta", atoms.positions)),
        )
        for name, values in arrays:
            if _dot(values, values) < math.inf:  # then all of them are finite
                continue
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(bad):
                return f"the {name} of atom {bad[0]} is not finite"
        if sample.pressure is not None and not math.isfinite(sample.pressure):
            return f"the pressure is {sample.pressure}"
        return None

    def _too_fast(self, atoms: Atoms, sample: StepRecord) -> str | None:
        previous, self._previous = self._previous, atoms.positions.copy()
        if hot := self.too_hot(sample):
            return hot
        if previous is None:
            return None
        moves = self._previous - previous
        farthest = math.sqrt(_dot(moves, moves))  # no atom has moved farther than all together
        self._room -= 2.0 * farthest
        if farthest > LONGEST_MOVE:
            lengths = np.linalg.norm(moves, axis=1)
            atom = int(lengths.argmax())
            return too_far(atom, float(lengths[atom]))
        return None


def nearer(remarks: Iterable[Outside], nearest: float) -> str | None:
    """Return which atoms are nearer than this fraction of the shortest distance in training, or None."""
    for remark in remarks:
        if remark.nearness is not None and remark.nearness < nearest:
            share = f"{remark.nearness:.2g} of it, where a run stops below {nearest:g}"
            return f"{remark.text}, {share} (--minimum-distance)"
    return None


def too_far(atom: int, length: float) -> str | None:
    """Return that an atom has moved farther in a step than any does, or None; lengths are in Å."""
    return f"atom {atom} moved {length:.3g} Å in one step" if length > LONGEST_MOVE else None


def why_failed(atoms: Atoms, error: Exception) -> str:
    """Say why a step has no forces: the integrator may have lost the atoms before the calculator saw them."""
    if np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all():
        return f"the calculator failed with {type(error).__name__}: {str(error).removesuffix('.')}"
    return "positions or cell are not finite"


def _widest_gap(atoms: Atoms) -> tuple[int, float]:
    """Return the loneliest atom and its distance in Å to the nearest other; 0 Å for periodic structures."""
    if atoms.pbc.any() or len(atoms) < 2:
        return 0, 0.0
    nearest = KDTree(atoms.positions).query(atoms.positions, k=2)[0][:, 1]
    atom = int(nearest.argmax())
    return atom, float(nearest[atom])

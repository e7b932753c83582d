"""The atoms of one rank, which moves them, evaluates them, and builds its domain anew when they have gone far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.messages import Gathered, Moved, Settle
from halocline.backends.ddp.resident.dividing import Dividing
from halocline.backends.ddp.resident.ensembles import build_integrator
from halocline.backends.ddp.resident.housing import house
from halocline.backends.ddp.resident.integration import Held, kinetic_energy
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import Peers
from halocline.backends.ddp.resident.regions import Regions
from halocline.dynamics.residents import StepSums
from halocline.evaluator.result import virial_told
from halocline.evaluator.runner import Contribution
from halocline.graph import Graph, NeighbourRule
from halocline.graph.neighbours import DEFAULT_SKIN
from halocline.graph.rules import reach
from halocline.graph.structure import volume_of
from halocline.model import Output
from halocline.partition import Domain, domain_graph

#: Finds what the atoms that this rank owns contribute, of the graph of a domain.
Run = Callable[[Graph], Contribution]

#: What is added up over ranks after a step: energies, virial, and what shows whether all numbers are finite.
_SUMS: Final = 12


@final
class Residence:
    """What a rank holds between two messages of the driver. All ranks call the same methods in the same order.

    Args:
        start: the atoms, and what becomes of them.
        rule: of the model.
        hops: of the halo: those of the model, or of its farthest-reaching stage where state is exchanged.
        dividing: of the atoms that this rank owns into parts.
        peers: all ranks.
        prepare: makes what evaluates a domain, for as long as that one holds.

    Raises:
        HaloclineError: they cannot be evaluated, or another rank was lost.
    """

    def __init__(
        self,
        start: Settle,
        rule: NeighbourRule,
        hops: int,
        dividing: Dividing,
        peers: Peers,
        prepare: Callable[[Domain], Run],
    ) -> None:
        self._cell = start.cell if start.cell_built is None else start.cell_built
        self._pbc, self._done, self._still = start.pbc, start.done, start.still
        self._rule, self._hops, self._exchange = rule, hops, start.exchange
        self._peers, self._prepare, self._dividing = peers, prepare, dividing
        self._integrator = build_integrator(start.settings, start.free, self._total, start.integrator)
        regions = None if start.axes is None or start.cuts is None else Regions(start.axes, start.cuts)
        atoms = self._build(start.atoms, regions)
        if start.positions is not None:  # they have moved since domains were built
            atoms.positions[:], self._cell = start.positions, start.cell
        self._before, self._farthest = atoms.positions.copy(), (0.0, -1)
        self._held = self._evaluated(atoms)
        self._latest = self._sums()

    def settled(self) -> Moved:
        """The sums of the step at which the atoms came."""
        return Moved((self._latest,))

    def advance(self, steps: int) -> Moved:
        """Make so many steps, or as many as everything is finite.

        Raises:
            HaloclineError: atoms cannot be evaluated, or another rank was lost.
        """
        found: list[StepSums] = []
        with np.errstate(all="ignore"):  # what overflows is told
            while len(found) < steps and self._latest.not_finite is None:
                self._held = self._integrator.step(self._held, self._done, self._evaluate)
                self._done += 1
                self._latest = self._sums()
                found.append(self._latest)
        return Moved(tuple(found))

    def gather(self) -> Gathered:
        """Everything, as it is now."""
        atoms, regions = self._held.atoms, self._regions
        return Gathered(
            *(atoms.ids, atoms.positions, atoms.momenta, self._held.forces, self._energies),
            built=self._built,
            axes=regions.axes,
            cuts=regions.cuts,
            cell=self._cell,
            cell_built=self._cell_built,
            integrator=self._integrator.state,
        )

    def _evaluate(self, atoms: OwnedAtoms, stretch: float = 1.0) -> Held:
        """Forces where atoms are now, after they have changed hands if they must."""
        self._cell = stretch * self._cell
        moves = np.linalg.norm(atoms.positions - stretch * self._before, axis=1)
        longest = int(moves.argmax()) if len(moves) else -1
        self._farthest = (float(moves[longest]), int(atoms.ids[longest])) if len(moves) else (0.0, -1)
        stretched = self._stretched()
        away = atoms.positions - stretched * self._built
        lengths = np.array([np.einsum("ij,ij->i", away, away).max(initial=0.0), np.abs(atoms.positions).sum()])
        squares, places = self._peers.gathered(lengths).T
        if not np.isfinite(places).all():  # no list is built of these: the sums tell
            return Held(atoms, np.zeros_like(atoms.positions))
        # Pairs that are no candidates were farther apart than these, and have been strained with the cell.
        cutoff = reach(self._rule)
        room = 0.5 * (stretched * (cutoff + DEFAULT_SKIN) - cutoff)
        if not math.sqrt(squares.max()) <= room:
            atoms = self._build(atoms)
        self._before = atoms.positions.copy()
        return self._evaluated(atoms)

    def _build(self, atoms: OwnedAtoms, regions: Regions | None = None) -> OwnedAtoms:
        """Hand atoms over, and build the domain of those that are held then.

        Args:
            atoms: of this rank until now.
            regions: of the ranks; balanced ones if they are None.
        """
        atoms, self._regions, self._domain = house(
            *(atoms, regions, self._cell, self._pbc, self._rule, self._hops, self._dividing, self._peers),
            exchange=self._exchange,
        )
        self._run = self._prepare(self._domain.domain)
        self._built, self._cell_built = atoms.positions.copy(), self._cell
        return atoms

    def _evaluated(self, atoms: OwnedAtoms) -> Held:
        domain = self._domain.domain
        positions = self._domain.positions(atoms.positions, self._peers)
        graph = domain_graph(domain, positions, self._cell, self._pbc, self._rule)
        found = self._run(graph)
        self._energies, self._contacts = found.energies, found.contacts.renumbered(domain.atoms)
        self._virial = virial_told(found.virial, found.others)
        trace, volume = 0.0 if self._virial is None else float(np.trace(self._virial)), volume_of(self._cell)
        said = found.others.get(Output.FORCES)
        if said is None:
            return Held(atoms, self._domain.forces(found.forces, self._peers), trace, volume)
        return Held(atoms, said, trace, volume, self._pull(atoms, said) if self._still else None)

    def _pull(self, atoms: OwnedAtoms, forces: NDArray[np.float64]) -> NDArray[np.float64]:
        """The acceleration of the centre of mass of all atoms by forces (n, 3) on those of this rank."""
        sums = self._peers.total(np.array([*forces.sum(axis=0), atoms.masses.sum()]))
        return np.asarray(sums[:3] / sums[3])

    def _stretched(self) -> float:
        """By which the cell has become longer since the domain was built."""
        if np.array_equal(self._cell, self._cell_built):
            return 1.0
        return float(np.cbrt(volume_of(self._cell) / volume_of(self._cell_built)))

    def _total(self, number: float) -> float:
        return float(self._peers.total(np.array([number]))[0])

    def _sums(self) -> StepSums:
        """Of the step that has just been made."""
        atoms, forces = self._held.atoms, self._held.forces
        sums = np.empty(_SUMS)
        sums[0], sums[1] = self._energies.sum(), kinetic_energy(atoms)
        sums[2:11] = 0.0 if self._virial is None else self._virial.ravel()
        sums[11] = np.abs(forces).sum() + np.abs(atoms.positions).sum()
        sums = self._peers.total(sums)
        return StepSums(
            step=self._done,
            potential=float(sums[0]),
            kinetic=float(sums[1]),
            virial=None if self._virial is None else sums[2:11].reshape(3, 3),
            cell=self._cell,
            contacts=self._contacts,
            farthest=self._farthest[0],
            farthest_atom=self._farthest[1],
            not_finite=None if np.isfinite(sums).all() else self._not_finite(),
        )

    def _not_finite(self) -> str:
        """What it is, as far as this rank can tell; empty if it has no such thing."""
        atoms = self._held.atoms
        arrays = (("position", atoms.positions), ("force", self._held.forces), ("velocity", atoms.momenta))
        for name, values in arrays:
            if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
                return f"the {name} of atom {atoms.ids[bad[0]]}"
        mine = self._energies.sum() + (0.0 if self._virial is None else self._virial.sum())
        return "" if np.isfinite(mine) else "the energy or its virial"

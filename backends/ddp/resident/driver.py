"""What the driver says to ranks that hold the atoms of a run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar, final

import numpy as np
from ase import Atoms
from ase.constraints import FixCom
from numpy.typing import NDArray

from halocline.backends.ddp.crew import Crew
from halocline.backends.ddp.halo import exchange_pays_residents, say_kept
from halocline.backends.ddp.messages import Advance, Gathered, Moved, Settle, Signal, Weigh, Weighed
from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.regions import Regions
from halocline.cost.profile import Profile
from halocline.dynamics.residents import Everything, Residents, Start, StepSums
from halocline.errors import DistributedError
from halocline.graph import Contacts
from halocline.partition.division import UNDIVIDED

T = TypeVar("T")

#: The state of the barostat, the only integrator that has one, by ASE's names.
_STATE: Final = ("p_eps", "force_eps")

#: Of sums that are not finite, where no rank can tell why.
_SUMS: Final = "the sum of all energies"


@final
class DdpResidents(Residents):
    """Ranks of ``ddp`` that hold atoms.

    Args:
        crew: gives the ranks, which are started anew after they have failed.
        ranks: how many.
        exchange: whether they send each other state at borders.
        choice: profile of the model, if that is chosen at the start of a run, and kept when it goes on; else None.
        partition: how each divides the atoms that it owns.
        memory: bytes that each may take, which then decide on the number of its parts; None for no bound.
    """

    def __init__(
        self,
        crew: Callable[[], Crew],
        ranks: int,
        *,
        exchange: bool = False,
        choice: Profile | None = None,
        partition: str = UNDIVIDED,
        memory: int | None = None,
    ) -> None:
        self._crew, self._ranks, self._exchange, self._choice = crew, ranks, exchange, choice
        self._partition, self._memory = partition, memory
        self._atoms = 0

    def settle(self, start: Start) -> StepSums:
        """See `Residents.settle`."""
        crew, atoms = self._crew(), start.atoms
        self._atoms, self._at = len(atoms), crew
        placing = _placing_for(self._ranks, start.placing)
        owners = _owners(atoms, self._ranks, placing)
        messages = [self._message(start, np.flatnonzero(owners == rank), placing) for rank in range(self._ranks)]
        if self._choice is not None:
            self._exchange = self._chosen(self._choice, crew, messages, placing)
        return _merged(crew.ask([replace(each, exchange=self._exchange) for each in messages], Moved))[0]

    def advance(self, steps: int) -> Sequence[StepSums]:
        """See `Residents.advance`."""
        return _merged(self._held_by().ask([Advance(steps)] * self._ranks, Moved))

    def gather(self) -> Everything:
        """See `Residents.gather`."""
        found = self._held_by().ask([Signal.GATHER] * self._ranks, Gathered)
        ids = np.concatenate([each.ids for each in found])
        if not np.array_equal(np.sort(ids), np.arange(self._atoms)):
            raise DistributedError("Ranks do not hold each atom once; start again.")

        def in_order(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
            whole = np.empty((self._atoms, *values[0].shape[1:]))
            whole[ids] = np.concatenate(values)
            return whole

        return Everything(
            positions=in_order([each.positions for each in found]),
            momenta=in_order([each.momenta for each in found]),
            forces=in_order([each.forces for each in found]),
            energies=in_order([each.energies for each in found]),
            cell=found[0].cell,
            integrator=dict(zip(_STATE, found[0].integrator.tolist(), strict=False)),
            placing={
                "built": in_order([each.built for each in found]),
                "axes": found[0].axes,
                "cuts": found[0].cuts,
                "cell": found[0].cell_built,
                "exchange": np.array(self._exchange),
            },
        )

    def _chosen(
        self,
        profile: Profile,
        crew: Crew,
        messages: Sequence[Settle],
        placing: Mapping[str, NDArray[Any]] | None,
    ) -> bool:
        """Whether state is exchanged, as when atoms were held before, or else by what ranks find out."""
        if placing is not None:
            exchange = bool(placing["exchange"])
            say_kept(exchange=exchange)
            return exchange
        group = secrets.token_hex(8)
        weighed = crew.ask([Weigh(each, profile, group) for each in messages], Weighed)
        return exchange_pays_residents(weighed, profile, self._atoms)

    def _message(self, start: Start, ids: NDArray[np.int64], placing: Mapping[str, NDArray[Any]] | None) -> Settle:
        """For one rank."""
        atoms = OwnedAtoms.of(start.atoms, ids, start.conditions)
        now = None if placing is None else atoms.positions
        if placing is not None:
            atoms = replace(atoms, positions=placing["built"][ids])
        return Settle(
            atoms=atoms,
            positions=now,
            axes=None if placing is None else placing["axes"],
            cuts=None if placing is None else placing["cuts"],
            cell=start.atoms.cell.array,
            cell_built=None if placing is None else placing["cell"],
            integrator=np.array([start.integrator[name] for name in _STATE if name in start.integrator]),
            pbc=start.atoms.pbc,
            settings=start.settings,
            free=start.free,
            done=start.step,
            still=any(isinstance(each, FixCom) for each in start.atoms.constraints),
            exchange=self._exchange,
            partition=self._partition,
            memory=self._memory,
        )

    def _held_by(self) -> Crew:
        if not self._at.alive:
            raise DistributedError("The ranks have ended, and with them the atoms that they held; start again.")
        return self._at


def _placing_for(ranks: int, placing: Mapping[str, NDArray[Any]] | None) -> Mapping[str, NDArray[Any]] | None:
    """How atoms were held, if as many ranks are to hold them; others divide them anew."""
    return placing if placing is not None and len(placing["cuts"]) == ranks - 1 else None


def _owners(atoms: Atoms, ranks: int, placing: Mapping[str, NDArray[Any]] | None) -> NDArray[np.int64]:
    """The rank that each atom is sent to, (N,): the one that held it, or any in equal numbers."""
    if placing is None:
        return np.arange(len(atoms)) * ranks // len(atoms)
    frame = Frame.of(placing["cell"], atoms.pbc)
    return Regions(placing["axes"], placing["cuts"]).owners(frame.wrapped(placing["built"]))


def _merged(answers: Sequence[Moved]) -> list[StepSums]:
    """Sums are the same on all ranks; each tells what it has seen of its own atoms."""
    return [_merged_step(each) for each in zip(*(answer.sums for answer in answers), strict=True)]


def _merged_step(several: Sequence[StepSums]) -> StepSums:
    farthest = max(several, key=lambda each: each.farthest)
    reasons = [each.not_finite for each in several if each.not_finite]
    return replace(
        several[0],
        contacts=Contacts.merge([each.contacts for each in several]),
        farthest=farthest.farthest,
        farthest_atom=farthest.farthest_atom,
        not_finite=None if several[0].not_finite is None else next(iter(reasons), _SUMS),
    )

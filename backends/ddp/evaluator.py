"""The driver: sends positions to ranks and adds up what they return."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.crew import Crew
from halocline.backends.ddp.device import kind_of_device
from halocline.backends.ddp.halo import BOUNDED, LOGGER, exchange_pays, open_choice
from halocline.backends.ddp.joining import serve_driver
from halocline.backends.ddp.messages import Assignment, Plan, Step
from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.muster import join_ranks, start_ranks
from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.cost.profile import Profile
from halocline.dynamics.residents import Houses, Residents
from halocline.errors import DistributedError, UsageError
from halocline.evaluator import Evaluator
from halocline.evaluator.result import Result
from halocline.evaluator.runner import Contribution
from halocline.graph import Contacts, Graph, NeighbourList, Search, Structure
from halocline.graph.rules import is_ranked
from halocline.model.backbone import Backbone
from halocline.partition import Division, Domain, build_domains
from halocline.partition.division import divided
from halocline.place import Place, refuse_crowd
from halocline.program import Precision

#: Seconds of silence that may be waited for.
MAX_TIMEOUT: Final = 1e6


class _Share(NamedTuple):
    """What the driver remembers of a domain: its atoms, of which the first so many are owned."""

    atoms: NDArray[np.int64]
    owned: int


class _Held(NamedTuple):
    """What all ranks have: their shares, from whose candidates those were cut, and the structure with its cell."""

    shares: list[_Share]
    search: Search
    structure: Structure


@final
class DdpEvaluator(Evaluator, Houses):
    """Evaluates structures on many processes, which stay alive between steps.

    The ranks are started by this object, or are the processes that torchrun has started. In the second case only
    rank 0 comes back from the constructor; the others serve it, and leave with SystemExit when it has finished.

    Args:
        backbone: taken down as it is now.
        precision: of the program; geometry and sums are always float64.
        division: into parts; one part for each rank if it is None or undivided.
        device: ``cpu``, ``cuda``, or ``auto``.
        halo: ``recompute``, ``exchange`` or ``auto``, which measures at the first structure with neighbours and
            then stays with its choice.
        compress: whether tables take the place of radial functions.
        ranks: how many; 0 stands for those of torchrun.
        oversubscribe: whether there may be more ranks than make sense on the cores of this node.
        timeout: seconds after which a rank that gives no sign of life counts as hung.
        inner: executor of the ranks, with its options.

    Raises:
        UsageError: an option is impossible, on some rank.
        DistributedError: the ranks do not come up, or do not fit together.
    """

    def __init__(
        self,
        backbone: Backbone,
        precision: Precision,
        division: Division | None,
        device: str,
        halo: str,
        compress: bool = False,
        *,
        ranks: int = 0,
        timeout: float = 60.0,
        inner: str = "torch",
        oversubscribe: bool = False,
    ) -> None:
        if not 0.0 < timeout <= MAX_TIMEOUT:
            raise UsageError(
                f"The timeout must be a number of seconds above 0 and at most {MAX_TIMEOUT:g}, not {timeout!r}."
            )
        self._place = Place.find(os.environ)
        self.restarted = self._place is not None and self._place.restarts > 0
        self._ranks = _number_of_ranks(ranks, self._place)
        kind = kind_of_device(device)
        if kind == "cpu" and not oversubscribe:
            refuse_crowd(self._place.local_size if self._place else self._ranks, "say oversubscribe=true")
        model = PortableModel.of(backbone)
        if self._place is not None and self._place.rank > 0:
            serve_driver(self._place, model.digest, inner, timeout)
            raise SystemExit(0)
        self._halo = halo
        self._choice = open_choice(backbone, precision, halo, self._ranks)
        self._assignment = Assignment(
            model, precision, inner, kind, exchange=halo == "exchange", timeout=timeout, compress=compress
        )
        self._hops = backbone.hops
        self._hops_of_stage = max(stage.spec.reach for _, stage in backbone.stages())
        if division is None or division.parts == 1:
            division = Division.parse(divided(self._ranks))
        self._division = division
        self._neighbours = NeighbourList(backbone.neighbours)
        self._held: _Held | None = None
        self._crew = self._enlist()

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`.

        Raises:
            DistributedError: a rank died, hangs or ran out of memory. The next call starts new ones.
        """
        self._living()
        search = self._neighbours.search(structure)
        # An interrupt anywhere below leaves nothing remembered: the next call tells all ranks everything.
        held, self._held = self._held, None
        if held is None or held.search is not search or not held.structure.same_conditions(structure):
            domains = self._domains(structure, search)
            shares = [_Share(domain.atoms, domain.owned) for domain in domains]
            steps = [
                Step(structure.positions[domain.atoms], structure.cell, self._plan(domain, structure))
                for domain in domains
            ]
        else:
            shares = held.shares
            cell = None if np.array_equal(structure.cell, held.structure.cell) else structure.cell
            steps = [Step(structure.positions[share.atoms], cell, None) for share in shares]
        contributions = self._crew.ask(steps, Contribution)
        self._held = _Held(shares, search, structure.copy())
        return _add_up(structure, shares, contributions)

    def residents(self, division: Division) -> Residents:
        """See `Houses.residents`. What ``auto`` has chosen for structures before, it has chosen for them."""
        partition, memory = division.share(self._ranks), division.memory
        if memory is None:
            exchange, choice = self._assignment.exchange, self._choice
            return DdpResidents(self._living, self._ranks, exchange=exchange, choice=choice, partition=partition)
        if self._halo == "exchange":
            raise UsageError("Exchanging keeps the state of all atoms; choose halo=recompute to bound memory.")
        if self._halo == "auto":
            LOGGER.info(BOUNDED)
        return DdpResidents(self._living, self._ranks, partition=partition, memory=memory)

    def _living(self) -> Crew:
        """The ranks, started anew if they have ended."""
        if not self._crew.alive:
            self._held, self._crew = None, self._enlist()
        return self._crew

    @property
    def searches(self) -> int:
        """How often the neighbour list was searched, and new shares given to the ranks."""
        return self._neighbours.searches

    def close(self) -> None:
        """Let the ranks end; so does the end of this object, and that of Python."""
        self._crew.close()

    def _enlist(self) -> Crew:
        if self._place is None:
            crew = start_ranks(self._ranks, self._assignment)
        else:
            crew = join_ranks(self._place, self._assignment)
        self.replaced = crew.replaced
        return crew

    def _domains(self, structure: Structure, search: Search) -> list[Domain]:
        _, candidates, partners = search
        owners = self._division.owners(Graph.build(structure, candidates, partners))
        if self._choice is not None:
            self._choose(self._choice, self._neighbours.cut(search, structure), owners)
        exchange = self._assignment.exchange
        return build_domains(
            structure,
            candidates,
            partners,
            owners,
            parts=self._division.parts,
            ranks=self._ranks,
            reach=self._hops_of_stage if exchange else self._hops,
            exchange=exchange,
            ranked=is_ranked(self._neighbours.rule),
        )

    def _choose(self, profile: Profile, graph: Graph, owners: NDArray[np.int64]) -> None:
        """Settle how halos are treated, unless there are no neighbours to measure with."""
        if not len(graph.edges):
            return
        parts, ranks = self._division.parts, self._ranks
        exchange = exchange_pays(self._crew, profile, graph, owners, parts=parts, ranks=ranks)
        self._assignment, self._choice = replace(self._assignment, exchange=exchange), None

    def _plan(self, domain: Domain, structure: Structure) -> Plan:
        return Plan(domain, structure.pbc, self._assignment.exchange)


def _number_of_ranks(asked: int, place: Place | None) -> int:
    if place is None:
        if asked < 1:
            raise UsageError(
                f"The number of ranks must be said, such as ddp:ranks=2, and not be {asked}: "
                "torchrun did not start this process."
            )
        return asked
    if asked not in (0, place.size):
        raise UsageError(f"torchrun has started {place.size} ranks, not {asked}; leave ranks away.")
    return place.size


def _add_up(structure: Structure, shares: Sequence[_Share], contributions: Sequence[Contribution]) -> Result:
    """Sums run in the order of ranks, so that they come out the same every time."""
    energies = np.empty(len(structure))
    forces, virial = np.zeros((len(structure), 3)), np.zeros((3, 3))
    others = {name: np.empty((len(structure), *of.shape[1:])) for name, of in contributions[0].others.items()}
    for rank, ((atoms, owned), contribution) in enumerate(zip(shares, contributions, strict=True)):
        shapes = [part.shape for part in (contribution.energies, contribution.forces, contribution.virial)]
        if shapes != [(owned,), (len(atoms), 3), (3, 3)]:
            raise DistributedError(f"Rank {rank} answered for other atoms than it was asked for; start again.")
        energies[atoms[:owned]] = contribution.energies
        for name, values in others.items():
            values[atoms[:owned]] = contribution.others[name]
        forces[atoms] += contribution.forces
        virial += contribution.virial
    pairs = zip(shares, contributions, strict=True)
    contacts = Contacts.merge([each.contacts.renumbered(share.atoms) for share, each in pairs])
    return Result.made_of(energies, forces, virial, others, structure.volume, contacts)

"""One rank against two, in one run: steps of all in turn, so that a busy machine is unfair to none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import numpy as np

from halocline.backends.ddp.messages import Settle
from halocline.backends.ddp.resident.dividing import Dividing
from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import Alone
from halocline.backends.ddp.resident.regions import Regions
from halocline.backends.ddp.resident.residence import Residence
from halocline.bench.structures import Motion, disordered_box
from halocline.dynamics.settings import Settings
from halocline.evaluator.runner import Contribution
from halocline.graph import Contacts, Graph, NeighbourList, Structure
from halocline.partition import Division, Domain, build_domains
from halocline.potential.potential import Potential

#: Steps before the clock counts.
WARM_UP = 2

#: Domains that the driver's work is measured with, and how often it is.
DRIVER_RANKS, DRIVER_REPEATS = 8, 3

Step = Callable[[], object]


def strong_and_weak(potential: Potential, atoms: int, density: float, repeats: int) -> dict[str, float]:
    """Speed-up of two ranks on the same structure, and efficiency on one of twice the size.

    Returns:
        What → the time of one process over that of two ranks, the median over pairs of steps.
    """
    with ExitStack() as stack:
        one = stack.enter_context(_stepper(potential, "torch", "auto", atoms, density))
        two = {
            (halo, size): stack.enter_context(_stepper(potential, "ddp:ranks=2", halo, size * atoms, density))
            for halo in ("recompute", "exchange")
            for size in (1, 2)
        }
        seconds = _alternate([one, *two.values()], repeats)
    names = {1: f"strong, {atoms} atoms", 2: f"weak, {atoms} atoms a rank"}
    return {
        f"{names[size]}, {halo}": median(a / b for a, b in zip(seconds[0], taken, strict=True))
        for (halo, size), taken in zip(two, seconds[1:], strict=True)
    }


def driver_seconds(potential: Potential, atoms: int, density: float, interval: int) -> float:
    """Seconds per atom and step of what only the driver does: neighbour list, owners, domains, sums.

    Processor time, which a busy machine changes little: the driver has one thread.

    Args:
        potential: gives the rule and the receptive field.
        atoms: of the structure; the best of a few searches and steps counts.
        density: atoms/Å³.
        interval: steps that share one search.
    """
    structure = Structure.from_atoms(disordered_box(potential.species, atoms, density))
    searches, steps = [], []
    for _ in range(DRIVER_REPEATS):
        neighbours = NeighbourList(potential.backbone.neighbours)
        started = time.process_time()
        domains = _search(neighbours, structure, potential.backbone.hops)
        searches.append(time.process_time() - started)
        started = time.process_time()
        neighbours.refresh(structure)  # only looks whether atoms have moved
        forces = np.zeros_like(structure.positions)
        for domain in domains:
            forces[domain.atoms] += structure.positions[domain.atoms]  # stands for what comes back
        steps.append(time.process_time() - started)
    search, step = min(searches) / atoms, min(steps) / atoms
    print(f"driver: {1e6 * search:.3g} µs per atom and search, {1e6 * step:.3g} µs per atom and step between")
    return search / interval + step


def resident_seconds(potential: Potential, atoms: int, density: float, interval: int) -> float:
    """Seconds per atom and step of what a rank does for the atoms that it holds, beside the network.

    It moves them, cuts candidates to edges, and builds its domain anew; see `driver_seconds`.
    """
    start, rule = disordered_box(potential.species, atoms, density), potential.backbone.neighbours
    frame = Frame.of(start.cell.array, start.pbc)

    def build() -> Residence:
        held = OwnedAtoms.of(start, np.arange(atoms), {})
        regions = Regions.balanced(held.positions, frame, Alone())
        settings = Settings(ensemble="nve", temperature=300.0, timestep=0.5)
        message = Settle(
            *(held, held.positions, regions.axes, regions.cuts, start.cell.array, start.cell.array),
            *(np.empty(0), start.pbc, settings, 3 * atoms, 0),
            still=False,
            exchange=False,
            partition="none",
            memory=None,
        )
        undivided, hops = Dividing(Division.parse("none")), potential.backbone.hops
        return Residence(message, rule, hops, undivided, Alone(), lambda domain: _without_network)

    builds, steps = [], []
    for _ in range(DRIVER_REPEATS):
        started = time.process_time()
        residence = build()
        builds.append(time.process_time() - started)
        started = time.process_time()
        residence.advance(1)
        steps.append(time.process_time() - started)
    step, build_ = min(steps) / atoms, min(builds) / atoms
    print(f"a rank: {1e6 * build_:.3g} µs per atom and list, {1e6 * step:.3g} µs per atom and step between")
    return build_ / interval + step


def _without_network(graph: Graph) -> Contribution:
    """Atoms that feel nothing; a single rank owns all of them."""
    atoms = len(graph.structure)
    return Contribution(np.zeros(atoms), np.zeros((atoms, 3)), np.zeros((3, 3)), Contacts.of(graph), {})


def _search(neighbours: NeighbourList, structure: Structure, hops: int) -> list[Domain]:
    """List, owners and domains."""
    neighbours.refresh(structure)
    candidates, partners = neighbours.candidates, neighbours.partners
    owners = Division.parse(f"rcb:{DRIVER_RANKS}").owners(Graph.build(structure, candidates, partners))
    return build_domains(
        structure,
        candidates,
        partners,
        owners,
        parts=DRIVER_RANKS,
        ranks=DRIVER_RANKS,
        reach=hops,
        exchange=False,
    )


@contextmanager
def _stepper(potential: Potential, backend: str, halo: str, atoms: int, density: float) -> Iterator[Step]:
    """A function that does a step of dynamics; processes that it needs end with the context."""
    evaluator = potential.evaluator(backend, "float32", "cpu", "none", halo)
    motion = Motion(disordered_box(potential.species, atoms, density))
    try:
        yield lambda: potential.evaluate_with(evaluator, motion.step()).energy
    finally:
        if close := getattr(evaluator, "close", None):
            close()


def _alternate(steps: list[Step], repeats: int) -> list[list[float]]:
    """Seconds of each repeat of each step."""
    seconds: list[list[float]] = [[] for _ in steps]
    for repeat in range(WARM_UP + repeats):
        for step, taken in zip(steps, seconds, strict=True):
            started = time.perf_counter()
            step()
            if repeat >= WARM_UP:
                taken.append(time.perf_counter() - started)
    return seconds

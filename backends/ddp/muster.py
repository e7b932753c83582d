"""Bring up the ranks of an evaluator and see whether they fit together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from halocline.backends.ddp.crew import Crew
from halocline.backends.ddp.joining import gather
from halocline.backends.ddp.messages import Assignment, Hello, Ready, own_versions
from halocline.backends.ddp.spawning import RankProcess
from halocline.errors import DistributedError
from halocline.meeting import PrivateStore
from halocline.place import Place, usable_cores

#: Seconds for a process to start and import torch, on a machine with a slow disk that is busy.
START: Final = 300.0


def start_ranks(ranks: int, assignment: Assignment) -> Crew:
    """Start processes on this machine and give them their assignment.

    They start in waves of one for each core: what they have to import would take no less time all at once.

    Args:
        ranks: how many.
        assignment: of each.

    Raises:
        DistributedError: they do not come up, or differ from this process.
        HaloclineError: they cannot do what they are asked to.
    """
    store, wave = PrivateStore(), usable_cores()
    crew = Crew(assignment.timeout, store=store)

    def started(first: int) -> Iterator[RankProcess]:
        for rank in range(first, min(first + wave, ranks)):
            yield RankProcess(Place(rank, ranks, rank, ranks), store, assignment.timeout)

    hellos = [hello for first in range(0, ranks, wave) for hello in crew.admit(started(first), START)]
    _assign(crew, hellos, assignment)
    return crew


def join_ranks(place: Place, assignment: Assignment) -> Crew:
    """Take the processes of torchrun, this one included, and give them their assignment.

    Raises:
        DistributedError: some do not come, or differ from this process.
        HaloclineError: they cannot do what they are asked to.
    """
    channels, beside = gather(place, assignment)
    crew = Crew(assignment.timeout, beside=beside)
    _assign(crew, crew.admit(channels, START), assignment)
    return crew


def _assign(crew: Crew, hellos: Sequence[Hello], assignment: Assignment) -> None:
    try:
        check(hellos, assignment.model.digest)
    except DistributedError:
        crew.kill()
        raise
    crew.replaced = crew.ask([assignment] * len(hellos), Ready)[0].replaced


def check(hellos: Sequence[Hello], digest: str) -> None:
    """Refuse ranks that would compute something else.

    Args:
        hellos: of all ranks.
        digest: of the driver's model.

    Raises:
        DistributedError: versions or models differ, or it is not one of each rank.
    """
    if (come := [hello.rank for hello in hellos]) != list(range(len(hellos))):
        raise DistributedError(f"Ranks {come} came, and not each of {len(hellos)} once; start all anew.")
    ours = own_versions()
    for hello in hellos:
        differing = [name for name in ours if hello.versions.get(name) != ours[name]]
        if differing:
            theirs = ", ".join(f"{name} {hello.versions.get(name)}" for name in differing)
            here = ", ".join(f"{name} {ours[name]}" for name in differing)
            raise DistributedError(
                f"Rank {hello.rank} has {theirs} and the driver has {here}; install the same versions."
            )
        if hello.digest not in (None, digest):
            raise DistributedError(
                f"Rank {hello.rank} was called with a model of SHA-256 {hello.digest} and rank 0 with one "
                f"of {digest}; load the same model everywhere."
            )

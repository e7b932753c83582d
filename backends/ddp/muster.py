"""Bring up the ranks of an evaluator and see whether they fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from halocline.backends.ddp.crew import Crew
from halocline.backends.ddp.joining import gather
from halocline.backends.ddp.messages import Assignment, Hello, own_versions
from halocline.backends.ddp.spawning import spawn
from halocline.errors import DistributedError
from halocline.place import Place

#: Seconds for a process to start and import torch, on a machine with a slow disk that is busy.
START: Final = 300.0


def start_ranks(ranks: int, assignment: Assignment, *, linked: bool) -> Crew:
    """Start processes on this machine and give them their assignment.

    Args:
        ranks: how many.
        assignment: of each.
        linked: whether they may come to talk to each other.

    Raises:
        DistributedError: they do not come up, or differ from this process.
        HaloclineError: they cannot do what they are asked to.
    """
    processes, store = spawn(ranks, assignment.timeout, linked=linked)
    crew = Crew([process.channel for process in processes], assignment.timeout, processes, store=store)
    _assign(crew, assignment)
    return crew


def join_ranks(place: Place, assignment: Assignment) -> Crew:
    """Take the processes of torchrun, this one included, and give them their assignment.

    Raises:
        DistributedError: some do not come, or differ from this process.
        HaloclineError: they cannot do what they are asked to.
    """
    channels, beside = gather(place, assignment.model.digest, assignment.timeout)
    crew = Crew(channels, assignment.timeout, beside=beside)
    _assign(crew, assignment)
    return crew


def _assign(crew: Crew, assignment: Assignment) -> None:
    hellos = crew.hellos(START)
    try:
        check(hellos, assignment.model.digest)
    except DistributedError:
        crew.kill()
        raise
    crew.ask([assignment] * len(hellos))


def check(hellos: Sequence[Hello], digest: str) -> None:
    """Refuse ranks that would compute something else.

    Args:
        hellos: of all ranks.
        digest: of the driver's model.

    Raises:
        DistributedError: versions or models differ.
    """
    ours = own_versions()
    for hello in hellos:
        differing = [name for name in ours if hello["versions"].get(name) != ours[name]]
        if differing:
            theirs = ", ".join(f"{name} {hello['versions'].get(name)}" for name in differing)
            here = ", ".join(f"{name} {ours[name]}" for name in differing)
            raise DistributedError(
                f"Rank {hello['rank']} has {theirs} and the driver has {here}; install the same versions."
            )
        if hello["digest"] not in (None, digest):
            raise DistributedError(
                f"Rank {hello['rank']} was called with a model of SHA-256 {hello['digest']} and rank 0 with one "
                f"of {digest}; load the same model everywhere."
            )

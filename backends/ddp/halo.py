"""Whether ranks recompute their halos or exchange state, where that is left to ``auto``."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.crew import Crew
from halocline.backends.ddp.messages import Measured, Trial, Weighed
from halocline.cost.costs import choose_halo, why_recompute
from halocline.cost.loads import Loads, count_loads
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds, excerpt_of_part
from halocline.graph import Graph
from halocline.model.backbone import Backbone
from halocline.program import Precision

#: What a user of the library may want to read stands under its name.
LOGGER: Final = logging.getLogger("halocline")

ALONE: Final = "Halos are recomputed: a single rank has nobody to exchange state with."
BOUNDED: Final = "Halos are recomputed: to exchange keeps the state of all atoms, whatever the bound on memory."
LONELY: Final = "Halos are recomputed: no atom has a neighbour."


def open_choice(backbone: Backbone, precision: Precision, halo: str, ranks: int) -> Profile | None:
    """The profile by which halos are chosen once there is a structure; None if there is nothing to choose.

    Args:
        backbone: the model.
        precision: of its program.
        halo: ``recompute``, ``exchange``, or ``auto``.
        ranks: how many.
    """
    if halo != "auto":
        return None
    profile = Profile.of(backbone, precision)
    if profile.rounds and ranks > 1:
        return profile
    LOGGER.info(ALONE if profile.rounds else why_recompute(profile))
    return None


def exchange_pays(
    crew: Crew, profile: Profile, graph: Graph, owners: NDArray[np.int64], *, parts: int, ranks: int
) -> bool:
    """Let the ranks measure their speeds, and choose what should be quicker with them.

    Args:
        crew: the ranks.
        profile: of the model.
        graph: of the structure, with at least one edge.
        owners: (N,) int64, the part of each atom.
        parts: how many parts there are.
        ranks: how many ranks there are.

    Raises:
        DistributedError: a rank died, hangs or ran out of memory.
    """
    group = secrets.token_hex(8)
    few = excerpt_of_part(graph, len(owners) // parts)
    measured = crew.ask([Trial(few, group), *[Trial(None, group)] * (ranks - 1)], Measured)[0]
    if measured.speeds is None:
        return _refused(measured)
    loads = count_loads(graph.edges, owners, parts=parts, ranks=ranks, profile=profile)
    return _chosen(profile, loads, measured.speeds)


def exchange_pays_residents(weighed: Sequence[Weighed], profile: Profile, atoms: int) -> bool:
    """Choose what should be quicker for ranks that hold atoms, by what each has counted and one has measured.

    Args:
        weighed: of all ranks, in their order.
        profile: of the model.
        atoms: of the structure.
    """
    trials = [each.measured for each in weighed if each.measured.speeds or each.measured.refusal]
    if not trials:
        LOGGER.info(LONELY)
        return False
    (measured,) = trials
    if measured.speeds is None:
        return _refused(measured)
    loads = Loads.of_ranks([each.load for each in weighed], atoms, profile)
    return _chosen(profile, loads, measured.speeds, resident=True)


def say_kept(*, exchange: bool) -> None:
    """Tell that a run goes on as it was begun."""
    LOGGER.info("Halos are %s, as this run was begun.", "exchanged" if exchange else "recomputed")


def _refused(measured: Measured) -> bool:
    LOGGER.info("Halos are recomputed, because they must be. %s", measured.refusal)
    return False


def _chosen(profile: Profile, loads: Loads, speeds: Speeds, *, resident: bool = False) -> bool:
    halo, why = choose_halo(profile, loads, speeds, resident=resident)
    LOGGER.info(why)
    return halo == "exchange"

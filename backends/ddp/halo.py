"""Whether ranks recompute their halos or exchange state, where that is left to ``auto``."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.crew import Crew
from halocline.backends.ddp.messages import Measured, Trial
from halocline.cost.costs import choose_halo, why_recompute
from halocline.cost.loads import count_loads
from halocline.cost.profile import Profile
from halocline.cost.speeds import EXCERPT, excerpt
from halocline.graph import NO_SETS, Graph
from halocline.model.backbone import Backbone
from halocline.program import Precision

#: What a user of the library may want to read stands under its name.
LOGGER: Final = logging.getLogger("halocline")

#: Atoms to evaluate for the time it takes: of parts without their halos, so that a trial takes less memory than a
#: step, but no fewer than this, as the smallest part has about as many around it.
FEWEST: Final = 64

ALONE: Final = "Halos are recomputed: a single rank has nobody to exchange state with."


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
    # Which of its edges belong to which rule is decided where it is evaluated.
    few = replace(excerpt(graph, min(EXCERPT, max(FEWEST, len(owners) // parts))), sets=NO_SETS)
    measured = crew.ask([Trial(few, group), *[Trial(None, group)] * (ranks - 1)], Measured)[0]
    if measured.speeds is None:
        LOGGER.info("Halos are recomputed, because they must be. %s", measured.refusal)
        return False
    loads = count_loads(graph.edges, owners, parts=parts, ranks=ranks, profile=profile)
    halo, why = choose_halo(profile, loads, measured.speeds)
    LOGGER.info(why)
    return halo == "exchange"

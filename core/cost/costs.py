"""The time of a step, with halos recomputed or exchanged, and the choice between the two.

    profile = Profile.of(backbone, precision)
    loads = count_loads(graph.edges, owners, parts=parts, ranks=ranks, profile=profile)
    halo, why = choose_halo(profile, loads, speeds)

A model without state between hops, or whose state cannot be exchanged, has ``profile.rounds == 0``; there
recomputing wins whatever the speeds, and nothing has to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final, Literal, final

from halocline.cost.loads import Load, Loads
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds

#: Bytes to and from the driver: position and force of each atom that a rank holds, energy of each that it owns.
#: Where atoms live on ranks, the former go between these, for each atom of a halo.
HELD_BYTES: Final = 48
OWNED_BYTES: Final = 8

#: Why halos are recomputed where nothing has to be measured.
STATELESS: Final = "Halos are recomputed: no stage of the model needs state from other ranks."

#: Messages between the driver and each rank in one step.
DRIVER_MESSAGES: Final = 2

#: Messages of a step between ranks that atoms live on, one after another: how far these have moved, positions,
#: forces and sums.
RESIDENT_MESSAGES: Final = 4


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a step.

    Attributes:
        compute: of the busiest rank.
        links: of sending state between ranks, and positions and forces where atoms live on them.
        driver: of sending positions and collecting forces, one rank after another; else nothing.
        serial: of the driver's own work, likewise.
    """

    compute: float
    links: float
    driver: float
    serial: float

    @property
    def total(self) -> float:
        """Seconds of all four, one after another, as nothing overlaps."""
        return self.compute + self.links + self.driver + self.serial


def cost_of_recompute(load: Load, speeds: Speeds, *, resident: bool = False) -> Cost:
    """Every edge that a rank needs is evaluated there, and no state is sent between ranks.

    Args:
        load: of recomputing ranks.
        speeds: of ranks and links.
        resident: whether atoms live on ranks.
    """
    return _cost(load, load.edges, sent=0.0, rounds=0, speeds=speeds, resident=resident)


def cost_of_exchange(load: Load, profile: Profile, speeds: Speeds, *, resident: bool = False) -> Cost:
    """Every edge is evaluated once, but values of stages are computed again for their derivatives.

    Args:
        load: of exchanging ranks.
        profile: of the model.
        speeds: of ranks and links.
        resident: whether atoms live on ranks.
    """
    edges, sent = load.edges * (1.0 + speeds.value_share), load.halo * profile.bytes
    return _cost(load, edges, sent=sent, rounds=profile.rounds, speeds=speeds, resident=resident)


def _cost(load: Load, edges: float, *, sent: float, rounds: int, speeds: Speeds, resident: bool) -> Cost:
    compute = edges * speeds.seconds_per_edge
    if resident:
        moved = HELD_BYTES * (load.held - load.atoms) / load.ranks
        messages = rounds + RESIDENT_MESSAGES * (load.ranks > 1)
        return Cost(compute, _seconds(sent + moved, speeds) + messages * speeds.latency, 0.0, 0.0)
    collected = HELD_BYTES * load.held + OWNED_BYTES * load.atoms
    return Cost(
        compute=compute,
        links=_seconds(sent, speeds) + rounds * speeds.latency,
        driver=_seconds(collected, speeds) + DRIVER_MESSAGES * load.ranks * speeds.latency,
        serial=load.atoms * speeds.seconds_per_atom,
    )


def why_recompute(profile: Profile) -> str:
    """Why the halos of a model that sends nothing are recomputed, whatever the speeds."""
    return f"Halos are recomputed, because they must be. {profile.refusal}" if profile.refusal else STATELESS


def choose_halo(
    profile: Profile, loads: Loads, speeds: Speeds, *, resident: bool = False
) -> tuple[Literal["recompute", "exchange"], str]:
    """Choose what is quicker, and recomputing if neither is.

    Args:
        profile: of the model.
        loads: counted or predicted.
        speeds: of ranks and links. They do not matter for a model without state between hops.
        resident: whether atoms live on ranks, so that positions and forces do not go through the driver.

    Returns:
        The choice, and a sentence that says why.
    """
    if not profile.rounds:
        return "recompute", why_recompute(profile)
    recompute = cost_of_recompute(loads.recompute, speeds, resident=resident)
    exchange = cost_of_exchange(loads.exchange, profile, speeds, resident=resident)
    exchanged = exchange.total < recompute.total
    why = (
        f"Halos are {'exchanged' if exchanged else 'recomputed'}: a step should take "
        f"{_milliseconds(exchange)} with exchange and {_milliseconds(recompute)} without. "
        f"Recomputing evaluates {loads.recompute.edges / max(loads.exchange.edges, 1):.2f} times the edges; "
        f"exchanging computes values twice and sends {loads.exchange.halo * profile.bytes / 1e6:.3g} MB "
        f"in {profile.rounds} rounds at {speeds.bytes_per_second / 1e9:.3g} GB/s."
    )
    return ("exchange" if exchanged else "recompute"), why


def _seconds(sent: float, speeds: Speeds) -> float:
    if not sent:
        return 0.0
    return sent / speeds.bytes_per_second if speeds.bytes_per_second else inf


def _milliseconds(cost: Cost) -> str:
    return f"{1e3 * cost.total:.3g} ms"

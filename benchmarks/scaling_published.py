"""The cost model against what others have published of their own engines.

Three numbers are fitted to one table of each: seconds per edge, and the bytes per second and latency of the links.
The rest follows. What was not published is assumed, and printed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from halocline.cost.loads import predict_loads
from halocline.cost.profile import Profile

#: Milliseconds of a step of 1 fs at 1 ns/day.
MILLISECONDS = 86.4

#: Bytes of position and force of an atom, in float32, where every rank gets those of all atoms.
BROADCAST = 24


class Row(NamedTuple):
    """A published speed."""

    devices: int
    atoms: float
    ns_per_day: float


class Published(NamedTuple):
    """Tables of one engine, and what is assumed of its model."""

    name: str
    source: str
    assumed: str
    profile: Profile
    cutoff: float
    density: float
    broadcast: bool
    fitted: tuple[Row, ...]
    checked: tuple[Row, ...]


FAIRCHEM = Published(
    name="fairchem, all-to-all, UMA-S on H200: weak scaling",
    source="graph_parallel_verification.md of fairchem, August 2026",
    assumed=(
        "4 layers, cutoff 6 Å, 1152 floats an atom, copper's density for 'FCC'; "
        "positions and forces of all atoms go to every rank"
    ),
    profile=Profile.of_layers(4, 1152),
    cutoff=6.0,
    density=0.085,
    broadcast=True,
    # With equally many atoms on every device only the size tells the cost of edges from that of messages.
    fitted=(Row(8, 32e3, 0.670), Row(64, 256e3, 0.570), Row(8, 8e3, 2.010)),
    checked=(
        Row(16, 64e3, 0.626),
        Row(32, 128e3, 0.623),
        Row(128, 512e3, 0.498),
        Row(256, 1.024e6, 0.433),
        Row(16, 16e3, 1.990),
        Row(32, 32e3, 1.848),
        Row(64, 64e3, 1.626),
    ),
)

SYMMETRIX = Published(
    name="Symmetrix, MACE-OMAT medium on GH200: strong scaling",
    source="mace issue 1708, September 2026",
    assumed="2 layers, cutoff 6 Å, 512 floats an atom, 0.1 atoms/Å³, steps of 1 fs, state sent between layers",
    profile=Profile.of_layers(2, 512),
    cutoff=6.0,
    density=0.1,
    broadcast=False,
    fitted=(Row(1, 13718, 1.28), Row(2, 13718, 2.35), Row(4, 13718, 4.10), Row(8, 13718, 6.40)),
    checked=(
        Row(1, 6750, 2.56),
        Row(8, 6750, 10.3),
        Row(1, 2662, 5.78),
        Row(8, 2662, 13.1),
        Row(1, 686, 15.1),
        Row(8, 686, 15.3),
    ),
)


class Speeds(NamedTuple):
    """What is fitted, in milliseconds: per edge and layer, per byte, per round of messages."""

    edge: float
    byte: float
    latency: float


def fit(table: Published) -> Speeds:
    """The speeds, none of them negative, with the least sum of squared relative errors of the fitted rows."""
    times = [MILLISECONDS / row.ns_per_day for row in table.fitted]
    relative = np.array([demand(table, row) for row in table.fitted]) / np.array(times)[:, None]
    scale = relative.max(axis=0)  # edges count in millions and rounds in ones
    return Speeds(*(nnls(relative / scale, np.ones(len(times)))[0] / scale))


def demand(table: Published, row: Row) -> tuple[float, float, float]:
    """Edges of the busiest rank, bytes and rounds of a step; there is no driver.

    Values of stages that are computed again are part of the time of an edge.
    """
    load = predict_loads(row.atoms, table.density, table.cutoff, row.devices, table.profile).exchange
    sent = load.halo * table.profile.bytes + (BROADCAST * row.atoms if table.broadcast else 0.0)
    return load.edges, sent, table.profile.rounds if row.devices > 1 else 0


def predicted(table: Published, row: Row, speeds: Speeds) -> float:
    """Milliseconds of a step."""
    return float(np.dot(demand(table, row), speeds))


def show(table: Published) -> None:
    """Print predicted and published times."""
    speeds = fit(table)
    rate = 1e-6 / speeds.byte if speeds.byte else float("inf")
    print(f"\n{table.name}\nSource: {table.source}. Assumed: {table.assumed}.")
    print(
        f"Fitted: {1e6 * speeds.edge:.3g} ns per edge and layer, links of {rate:.3g} GB/s, "
        f"{1e3 * speeds.latency:.3g} µs a round."
    )
    print("| devices | atoms | published ms | predicted ms | off | |\n|---|---|---|---|---|---|")
    for rows, what in ((table.fitted, "fitted"), (table.checked, "checked")):
        for row in rows:
            there, here = MILLISECONDS / row.ns_per_day, predicted(table, row, speeds)
            off = f"{here / there - 1:+.0%}"
            print(f"| {row.devices} | {row.atoms:,.0f} | {there:.3g} | {here:.3g} | {off} | {what} |")

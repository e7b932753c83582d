"""Steps on devices that are not here, from the cost model."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from halocline.cost.costs import Cost, cost_of_exchange, cost_of_recompute
from halocline.cost.loads import predict_loads
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds

DEVICES = (1, 8, 64, 512)

#: Seconds of the driver of ranks that hold atoms for a line of the log, of ten thousand atoms or a million; see
#: `resident_driver.py`. Lines are so many steps apart.
DRIVER_OF_A_LINE, STEPS_OF_A_LINE = 3.5e-3, 10


class Model(NamedTuple):
    """What decides the cost of a uniform liquid."""

    profile: Profile
    cutoff: float  # Å
    density: float  # atoms/Å³


class Prediction(NamedTuple):
    """A step on so many devices; efficiencies are relative to one device that does the same work alone."""

    devices: int
    atoms: float
    recompute: Cost
    exchange: Cost
    recompute_efficiency: float
    exchange_efficiency: float


def strong(model: Model, atoms: float, speeds: Speeds) -> list[Prediction]:
    """The same structure on more and more devices."""
    return [_predict(model, devices, atoms, speeds, reference=atoms / devices) for devices in DEVICES]


def weak(model: Model, atoms_per_device: float, speeds: Speeds) -> list[Prediction]:
    """A structure that grows with the number of devices."""
    each = [(devices, devices * atoms_per_device) for devices in DEVICES]
    return [_predict(model, devices, atoms, speeds, reference=atoms_per_device) for devices, atoms in each]


class ResidentPrediction(NamedTuple):
    """A step of dynamics whose atoms live on so many devices; efficiency as that of `Prediction`."""

    devices: int
    atoms: float
    network: float
    own_work: float
    links: float
    driver: float
    efficiency: float


def resident(model: Model, devices: int, atoms: float, speeds: Speeds, per_held_atom: float) -> ResidentPrediction:
    """What a step takes, in seconds, whose halos are recomputed.

    Args:
        model: that is evaluated.
        devices: one for each rank.
        atoms: of the structure.
        speeds: of networks and links.
        per_held_atom: seconds of a rank beside the network, for each atom that it holds.
    """
    load = predict_loads(atoms, model.density, model.cutoff, devices, model.profile).recompute
    single = predict_loads(atoms, model.density, model.cutoff, 1, model.profile).recompute
    cost = cost_of_recompute(load, speeds, resident=True)
    line = DRIVER_OF_A_LINE + 2 * devices * speeds.latency
    parts = (
        cost.compute,
        load.held / devices * per_held_atom,
        cost.links,
        line / STEPS_OF_A_LINE,
    )
    alone = single.edges * speeds.seconds_per_edge + atoms * per_held_atom
    return ResidentPrediction(devices, atoms, *parts, alone / devices / sum(parts))


def show_resident(title: str, predictions: list[ResidentPrediction]) -> None:
    """Print a table."""
    print(f"\n{title}")
    print("| devices | atoms | step ms | network | ranks' own work | links | driver | efficiency |")
    print("|---|---|---|---|---|---|---|---|")
    for p in predictions:
        parts = (p.network, p.own_work, p.links, p.driver)
        cells = " | ".join(f"{1e3 * each:.3g}" for each in (sum(parts), *parts))
        print(f"| {p.devices} | {p.atoms:,.0f} | {cells} | {p.efficiency:.0%} |")


def ranks_alone(speeds: Speeds) -> Speeds:
    """As if list and sums cost the driver nothing."""
    return replace(speeds, seconds_per_atom=0.0)


def _predict(model: Model, devices: int, atoms: float, speeds: Speeds, reference: float) -> Prediction:
    """The efficiency is that of a device over one that is alone with ``reference`` atoms, its list included."""
    loads = predict_loads(atoms, model.density, model.cutoff, devices, model.profile)
    recompute = cost_of_recompute(loads.recompute, speeds)
    exchange = cost_of_exchange(loads.exchange, model.profile, speeds)
    single = predict_loads(atoms, model.density, model.cutoff, 1, model.profile).recompute
    alone = single.edges * speeds.seconds_per_edge + atoms * speeds.seconds_per_atom
    ideal = alone * reference / atoms
    return Prediction(devices, atoms, recompute, exchange, ideal / recompute.total, ideal / exchange.total)


def show(title: str, predictions: list[Prediction]) -> None:
    """Print a table."""
    print(f"\n{title}")
    print("| devices | atoms | recompute ms | efficiency | exchange ms | efficiency | of it driver ms |")
    print("|---|---|---|---|---|---|---|")
    for p in predictions:
        driver = 1e3 * (p.exchange.driver + p.exchange.serial)
        print(
            f"| {p.devices} | {p.atoms:,.0f} | {1e3 * p.recompute.total:.4g} | {p.recompute_efficiency:.0%} "
            f"| {1e3 * p.exchange.total:.4g} | {p.exchange_efficiency:.0%} | {driver:.4g} |"
        )


def show_redundancy(model: Model, sizes: tuple[float, ...], layers: tuple[int, ...]) -> None:
    """Print edge work over that of one device: every layer on the whole halo, trimmed, exchanged."""
    print("\nEdge work of the busiest rank, over its share of what one device does")
    print("| atoms | devices | layers | full halo | trimmed | exchange | MB exchanged |")
    print("|---|---|---|---|---|---|---|")
    floats = model.profile.bytes / 4 / max(model.profile.rounds, 1)
    for atoms in sizes:
        for devices in DEVICES[1:]:
            for count in layers:
                profile = Profile.of_layers(count, round(floats))
                loads = predict_loads(atoms, model.density, model.cutoff, devices, profile)
                full = loads.recompute.held / atoms
                trimmed = loads.recompute.edges / loads.exchange.edges
                sent = loads.exchange.halo * profile.bytes / 1e6
                print(f"| {atoms:,.0f} | {devices} | {count} | {full:.2f} | {trimmed:.2f} | 1.00 | {sent:.3g} |")

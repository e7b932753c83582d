"""What it costs ranks to settle their atoms and to build their domains, beside a search of the whole structure.

    python benchmarks/resident_building.py -o docs/measured/cpu/resident_building.json

Ranks are threads; each is asked for the processor time that it took itself. Argon near melting, cutoff 6 Å
and skin 0.5 Å; first with as many on each rank however many ranks there are, then one structure on more of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from thread_peers import on_ranks

from halocline.backends.ddp.resident.building import build_resident_domain
from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.migration import settle
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import Peers
from halocline.backends.ddp.resident.regions import Regions
from halocline.graph import Radius, Structure
from halocline.graph.neighbours import search

RULE, SKIN = Radius(6.0), 0.5

#: Cubic cells of four atoms along each axis, ranks, and hops.
CASES = (
    *(
        ((10 * x, 10 * y, 10 * z), x * y * z, hops)
        for x, y, z in ((1, 1, 1), (2, 1, 1), (2, 2, 2))
        for hops in (1, 2)
    ),
    *(((20, 20, 20), ranks, 2) for ranks in (1, 2, 4)),
)


def main() -> None:
    """Measure all cases, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output
    found = []
    for cells, ranks, hops in CASES:
        found.append(measured(argon(cells), ranks, hops))
        print(json.dumps(found[-1]), flush=True)
    output.write_text(json.dumps(found, indent=1) + "\n")


def argon(cells: tuple[int, int, int]) -> Atoms:
    """A crystal, about as warm as it gets."""
    atoms = bulk("Ar", a=5.4, cubic=True) * cells
    atoms.rattle(0.3, seed=0)
    return atoms


def measured(atoms: Atoms, ranks: int, hops: int) -> dict[str, Any]:
    """Processor time of each step, in µs for each atom that a rank owns, the largest over ranks."""
    structure = Structure.from_atoms(atoms)
    _, whole = timed(lambda: search(RULE, structure, SKIN))
    cell, pbc = structure.cell, structure.pbc
    frame = Frame.of(cell, pbc)

    def work(peers: Peers) -> tuple[list[float], int, int]:
        mine = OwnedAtoms.of(atoms, np.arange(peers.rank, len(atoms), ranks))
        regions, first = timed(lambda: Regions.balanced(mine.positions, frame, peers))
        mine = settle(mine, regions, frame, peers)
        mine, second = timed(lambda: settle(mine, regions, frame, peers))
        ours, third = timed(lambda: build_resident_domain(mine, cell, pbc, RULE, SKIN, hops, peers))
        return [first, second, third], len(mine), len(ours.domain.atoms)

    results = on_ranks(ranks, work)
    steps = np.max([[1e6 * seconds / owned for seconds in times] for times, owned, _ in results], axis=0)
    search_of_whole = 1e6 * whole / len(atoms)
    return {
        "atoms": len(atoms),
        "ranks": ranks,
        "hops": hops,
        "held_by_owned": round(max(held / owned for _, owned, held in results), 2),
        "search_of_whole_us": round(search_of_whole, 2),
        **dict(zip(("regions_us", "settle_us", "build_us"), steps.round(2).tolist(), strict=True)),
        "build_over_search": round(float(steps[2]) / search_of_whole, 2),
    }


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and the processor time in s that this thread took for it."""
    begin = time.thread_time()
    result = call()
    return result, time.thread_time() - begin


if __name__ == "__main__":
    main()

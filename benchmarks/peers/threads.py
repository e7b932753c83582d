"""How steps get faster with threads, beside what the machine itself gains by them in the same run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from gpu.roof import measure_roof

from halocline.program import Precision
from peers.table import Comparison, markdown

#: Number of threads → rates of the machine.
Roofs = dict[str, dict[str, float]]

#: What two threads should be worth; and the part of what the machine gains that is enough where it gains less.
WANTED, PART = 1.8, 0.9

#: Rounds in which threads take turns; the best of each number of them counts.
ROUNDS: Final = 5


def measure_roofs(device: str, threads: Sequence[int]) -> Roofs:
    """What a copy and a product of matrices reach on each number of threads, in turns."""
    found: dict[str, list[dict[str, float]]] = {str(number): [] for number in threads}
    before = torch.get_num_threads()
    for _ in range(ROUNDS):
        for number in threads:
            torch.set_num_threads(number)
            found[str(number)].append(measure_roof(device, Precision.FLOAT32)._asdict())
    torch.set_num_threads(before)
    return {
        number: {rate: max(each[rate] for each in rates) for rate in rates[0]} for number, rates in found.items()
    }


def gains(comparisons: Iterable[Comparison], roofs: Roofs) -> Iterator[dict[str, Any]]:
    """Of all that was timed on one thread and on several, by the clock on the wall.

    Yields:
        ``model``, ``structure``, ``atoms``, ``threads`` and ``contender``; ``speed_up`` over one thread; what a
        copy (``stream``) and a product of matrices (``product``) gain by as many; and whether that is ``enough``:
        `WANTED`, or `PART` of what the slower of the two gains, as a network is some of both.
    """
    rows = [each for each in comparisons if each["device"] == "cpu"]
    alone = {_place(each): each for each in rows if each["threads"] == 1}
    for each in rows:
        one = alone.get(_place(each))
        if one is None or each["threads"] == 1 or not {"1", str(each["threads"])} <= set(roofs):
            continue
        stream, product = _of_machine(roofs, each["threads"])
        for contender in each["contenders"]:
            times = [_wall(comparison, contender) for comparison in (one, each)]
            if not all(times):
                continue
            speed_up = times[0] / times[1]
            yield {
                **{name: each[name] for name in ("model", "structure", "atoms", "threads")},
                "contender": contender,
                "speed_up": speed_up,
                "stream": stream,
                "product": product,
                "enough": speed_up >= min(WANTED, PART * min(stream, product)),
            }


def table_of_gains(found: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table; empty where nothing ran on several threads."""
    titles = ("model", "structure", "atoms", "threads", "contender", "times one thread", "a copy", "a product")
    rows = [
        [
            *(str(each[name]) for name in titles[:5]),
            *(f"{each[name]:.2f}" for name in ("speed_up", "stream", "product")),
            "yes" if each["enough"] else "no",
        ]
        for each in found
    ]
    return markdown([*titles, f"{WANTED}, or {PART} of the slower"], rows) if rows else ""


def _place(comparison: Comparison) -> tuple[Any, ...]:
    return tuple(comparison[name] for name in ("model", "structure", "atoms"))


def _of_machine(roofs: Roofs, threads: int) -> tuple[float, float]:
    one, many = roofs["1"], roofs[str(threads)]
    return many["bytes_per_s"] / one["bytes_per_s"], many["flops_per_s"] / one["flops_per_s"]


def _wall(comparison: Comparison, contender: str) -> float:
    """µs per atom and step; 0 where there is none."""
    found = comparison["contenders"].get(contender, {})
    return 0.0 if {"failure", "left_out"} & set(found) or "wall" not in found else found["wall"]["us_per_atom"]

"""Comparisons in lines of text: a line for each contender, with ratios to each peer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Comparison = Mapping[str, Any]


def clock(comparison: Comparison) -> str:
    """What counts: the processor's time on one thread of a CPU, which other work changes less; else the wall's."""
    return "cpu" if comparison["threads"] == 1 and comparison["device"] == "cpu" else "wall"


def time_of(comparison: Comparison, contender: str) -> float | None:
    """µs per atom and step, with the part of a search that a step has to pay; None where there is none."""
    found = comparison["contenders"].get(contender, {})
    timed = not {"failure", "left_out"} & set(found) and found
    return float(found[clock(comparison)]["us_per_atom"]) if timed else None


def ratios(comparison: Comparison, contender: str) -> dict[str, float]:
    """Peer → its time over that of a contender."""
    own = time_of(comparison, contender)
    peers = [name for name in comparison["contenders"] if not name.startswith("halocline")]
    times = {name: time_of(comparison, name) for name in peers}
    return {name: theirs / own for name, theirs in times.items() if own and theirs and name != contender}


def kilobytes(comparisons: Iterable[Comparison], comparison: Comparison, contender: str) -> float | None:
    """Memory in kB an atom, by the peaks of this size and the next smaller one; None where there is none.

    The difference leaves out what libraries, weights and compilers keep.
    """
    alike = [
        each
        for each in comparisons
        if all(each[name] == comparison[name] for name in ("model", "structure", "threads", "device"))
        and each["atoms"] < comparison["atoms"]
        and time_of(each, contender)
    ]
    if not alike or not time_of(comparison, contender):
        return None
    smaller = max(alike, key=lambda each: each["atoms"])
    peaks = [float(each["contenders"][contender]["peak"]) for each in (smaller, comparison)]
    more_atoms: int = comparison["atoms"] - smaller["atoms"]
    return (peaks[1] - peaks[0]) / more_atoms / 1000


def table(comparisons: Iterable[Comparison], *, times: bool) -> str:
    """A Markdown table, and under it who failed or was left out.

    Args:
        comparisons: in the order of its rows.
        times: have a column of µs per atom, which mean nothing on another machine.
    """
    rows = list(comparisons)
    titles = ["model", "structure", "atoms", "threads", "contender", "times as fast as", *["µs/atom"] * times]
    titles += ["variation", "kB/atom", "forces off", "stages without kernel"]
    lines = []
    for each in rows:
        where = [each["model"], each["structure"], str(each["atoms"]), str(each["threads"])]
        lines += [[*where, *cells] for cells in _cells(rows, each, times)]
    return "\n".join([markdown(titles, lines), "", *_notes(rows)])


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows))


def _cells(rows: list[Comparison], comparison: Comparison, times: bool) -> Iterator[list[str]]:
    for name, found in comparison["contenders"].items():
        time = time_of(comparison, name)
        if time is None:
            continue
        variation, kept = found[clock(comparison)]["variation"], kilobytes(rows, comparison, name)
        yield [
            name,
            ", ".join(f"{peer} {ratio:.2f}" for peer, ratio in ratios(comparison, name).items()) or "-",
            *[f"{time:.1f}"] * times,
            "-" if variation is None else f"{variation:.0%}",
            "-" if kept is None else f"{kept:.0f}",
            f"{found['errors']['forces_rms']:.0e}",
            str(found.get("fallbacks", "-")),
        ]


def _notes(rows: list[Comparison]) -> Iterator[str]:
    for each in rows:
        where = f"{each['model']}, {each['structure']}, {each['atoms']} atoms, threads: {each['threads']}"
        for name, found in each["contenders"].items():
            if reason := found.get("failure"):
                yield f"FAILED {where}: {name}: {reason}"
            elif reason := found.get("left_out"):
                yield f"left out {where}: {name}: {reason}"

"""Names and shapes of the arrays of a Nequix, in their order in a file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Shape = tuple[int, ...]


def nequix_layout(config: dict[str, Any]) -> dict[str, Shape]:
    """Every array: name → shape. Degrees stand for irreps, whose parities are those of harmonics.

    Args:
        config: as `read_nequix` gives it.
    """
    species, channels = len(config["species"]), config["irreps"]
    layout: dict[str, Shape] = {"atom_energies": (species,)}
    before = [species]
    for layer in range(config["layers"]):
        after = channels[:1] if layer == config["layers"] - 1 else channels
        layout |= {f"layers.{layer}.{name}": shape for name, shape in _layer(config, before, after)}
        before = after
    return layout | {"readout.0": (channels[0], 1)}


def _layer(config: dict[str, Any], before: list[int], after: list[int]) -> Iterator[tuple[str, Shape]]:
    """Of channels of each degree before and after a layer."""
    ungated = [after[0] + sum(after[1:]), *after[1:]]
    inputs = [
        sum(count * _ways(degree, out, config["lmax"]) for degree, count in enumerate(before))
        for out in range(len(after))
    ]
    sizes = [config["bessels"], *config["radial_units"], sum(inputs)]
    yield from ((f"radial_mlp.{number}", pair) for number, pair in enumerate(pairwise(sizes)))
    yield from ((f"linear_1.{degree}", (count, count)) for degree, count in enumerate(before))
    yield from ((f"linear_2.{degree}", pair) for degree, pair in enumerate(zip(inputs, ungated, strict=True)))
    yield from ((f"skip.{degree}", pair) for degree, pair in enumerate(zip(before, ungated, strict=False)))
    if config["normalised"]:
        yield from ((f"layer_norm.{degree}", (count,)) for degree, count in enumerate(ungated))


def _ways(degree: int, out: int, max_degree: int) -> int:
    """Degrees of harmonics by which one degree leads to another: their sum is even, as parities multiply."""
    return sum(
        abs(degree - other) <= out <= degree + other and (degree + other + out) % 2 == 0
        for other in range(max_degree + 1)
    )

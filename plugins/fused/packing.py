"""How the weights of M3GNet's edge half lie in memory for compiled code: in one row, in panels of columns.

C' and U' are channels and hidden units rounded up to whole panels: what is added that way stays zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import pad

#: Columns of a packed matrix that lie together, as gates.cpp has them: of those with many columns, and with few.
WIDE: Final = 64
NARROW: Final = 16

#: Edges that gates.cpp works on as one tile; of the last one, rows are kept that stand for no edge.
TILE: Final = 6


@final
class Gated(NamedTuple):
    """A layer of two perceptrons side by side, values and gates; matrices as (out, in).

    Attributes:
        values: of g.
        gates: of σ.
        offsets: of both, (2, out); zeros if None.
    """

    values: Tensor
    gates: Tensor
    offsets: Tensor | None = None


@final
class EdgeWeights(NamedTuple):
    """All weights of the edge half of a block.

    Attributes:
        three_body: K → C.
        factors: w₁ and w₂, B → C each.
        first: of the networks of edges and of messages, of e alone: C → U.
        hidden: likewise, the layers U → U; as many in both.
        last: likewise, U → C.
    """

    three_body: Gated
    factors: Gated
    first: Sequence[Gated]
    hidden: Sequence[Sequence[Gated]]
    last: Sequence[Gated]


def rounded(channels: int, panel: int = WIDE) -> int:
    """Channels with those that fill up the last panel."""
    return -(-channels // panel) * panel


def packed(weights: EdgeWeights) -> Tensor:
    """All weights in one row, as the operators take them: forward and transposed, in panels of columns."""
    three, factors = weights.three_body, weights.factors
    rows = [_wide(three, inner=three.values.shape[1]), _wide(factors, inner=factors.values.shape[1])]
    rows += [_narrow(three), _narrow(factors)]
    for first, hidden, last in zip(weights.first, weights.hidden, weights.last, strict=True):
        rows += [_wide(first), panels(torch.cat([_filled(first.values), _filled(first.gates)]), WIDE)]
        for layer in (*hidden, last):
            rows += [panels(_filled(w).T, WIDE) for w in layer[:2]]
            rows += [panels(_filled(w), WIDE) for w in layer[:2]]
            rows.append(_offsets(layer))
    return torch.cat(rows)


def shares_of_atoms(centre: Sequence[Gated], end: Sequence[Gated]) -> tuple[Tensor, Tensor]:
    """One linear map to all shares of atoms in first layers: (8 U', C) and (8 U',).

    Args:
        centre: of the networks of edges and of messages, C → U; with the offsets of the first layers.
        end: likewise.
    """
    layers = (*centre, *end)
    matrix = torch.cat([_filled_rows(w) for layer in layers for w in layer[:2]])
    return matrix, torch.cat([_offsets(layer) for layer in layers])


def kept_rows(edges: int) -> int:
    """Edges with those that fill up the last tile."""
    return -(-edges // TILE) * TILE


def kept_columns(channels: int, sizes: Sequence[int]) -> int:
    """How many slopes of activations are kept of each edge.

    Args:
        channels: C.
        sizes: as `fused.gates.edge_half` takes them.
    """
    units, hidden = sizes[:2]
    return 2 * rounded(channels) + 2 * (2 * rounded(units) * (1 + hidden) + 3 * rounded(channels))


def _filled(matrix: Tensor) -> Tensor:
    """A matrix with whole panels of rows and of columns."""
    return pad(matrix, (0, rounded(matrix.shape[1]) - matrix.shape[1], 0, rounded(len(matrix)) - len(matrix)))


def _filled_rows(matrix: Tensor) -> Tensor:
    return pad(matrix, (0, 0, 0, rounded(len(matrix)) - len(matrix)))


def _offsets(layer: Gated) -> Tensor:
    """Both offsets in a row, (2 out',)."""
    out = len(layer.values)
    offsets = layer.values.new_zeros((2, out)) if layer.offsets is None else layer.offsets
    return pad(offsets, (0, rounded(out) - out)).flatten()


def _wide(layer: Gated, inner: int | None = None) -> Tensor:
    """Both matrices beside each other, in panels, with so many rows; whole panels of them if None."""
    both = torch.cat([_filled(layer.values), _filled(layer.gates)]).T
    return panels(both[:inner], WIDE)


def _narrow(layer: Gated) -> Tensor:
    """Both matrices below each other for the way back, in narrow panels."""
    both = torch.cat([_filled_rows(layer.values), _filled_rows(layer.gates)])
    return panels(pad(both, (0, rounded(both.shape[1], NARROW) - both.shape[1])), NARROW)


def panels(matrix: Tensor, panel: int) -> Tensor:
    """A matrix (in, out) for products from the left, its columns in panels, each with all rows."""
    return matrix.reshape(len(matrix), -1, panel).transpose(0, 1).flatten()


@final
class NetworkMatrices(NamedTuple):
    """Of one gated network on edges, for products from the left.

    Attributes:
        first: of values beside that of gates, (C', 2 U').
        layers: of each hidden layer, and of the last: matrices of values and gates, (U', out'), and offsets,
            (2 out',).
    """

    first: Tensor
    layers: list[tuple[Tensor, Tensor, Tensor]]


@final
class Matrices(NamedTuple):
    """All weights, as they were before they were packed.

    Attributes:
        three_body: (K, 2 C').
        factors: (B, 2 C').
        networks: of edges and of messages.
    """

    three_body: Tensor
    factors: Tensor
    networks: list[NetworkMatrices]


def unpacked(row: Tensor, channels: int, sums: int, functions: int, sizes: Sequence[int]) -> Matrices:
    """Take packed weights apart.

    Args:
        row: see `packed`.
        channels: C.
        sums: K.
        functions: B.
        sizes: as `fused.gates.edge_half` takes them.
    """
    source, width, units = _Row(row), rounded(channels), rounded(sizes[0])
    three_body, factors = (source.matrix(inner, 2 * width) for inner in (sums, functions))
    for inner in (sums, functions):
        source.take(2 * width * rounded(inner, NARROW))  # those of the way back
    networks = []
    for _ in range(2):
        first = source.matrix(width, 2 * units)
        source.take(2 * units * width)
        layers = [source.layer(units, out) for out in (*(units,) * sizes[1], width)]
        networks.append(NetworkMatrices(first, layers))
    return Matrices(three_body, factors, networks)


@final
class _Row:
    """Takes what is in a row of packed weights, one after another."""

    def __init__(self, row: Tensor) -> None:
        self._row, self._at = row, 0

    def layer(self, inner: int, out: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of values and gates, (inner, out) each, and the offsets of both."""
        values, gates = (self.matrix(inner, out) for _ in range(2))
        self.take(2 * out * inner)
        return values, gates, self.take(2 * out)

    def matrix(self, inner: int, columns: int) -> Tensor:
        """(inner, columns), as it was before it was packed."""
        return self.take(inner * columns).view(-1, inner, WIDE).transpose(0, 1).reshape(inner, columns)

    def take(self, count: int) -> Tensor:
        """(count,)."""
        self._at += count
        return self._row[self._at - count : self._at]

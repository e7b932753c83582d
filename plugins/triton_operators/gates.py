"""The edge half of a block of M3GNet; see `halocline.plugins.fused.gates`, whose operators have these arguments.

Products of matrices are torch's, in the precision of what is given. What is between two of them is one kernel:
shares of atoms, offsets, activations with their slopes, gates, and weights by distance. Messages are never
written: what comes out of the second network is weighted where it is added up. The same is kept for the derivative
as on CPUs, slopes and outputs of networks, as matrices behind each other.

Shapes: as there. Channels fill no panels here; hidden units do, as shares of atoms have them.
"""

from __future__ import annotations

from typing import Any, final

import torch
import triton
import triton.language as tl
from torch import Tensor

from halocline.plugins.fused.packing import NetworkMatrices, kept_columns, kept_rows
from halocline.plugins.triton_operators.candidates import for_some_channels
from halocline.plugins.triton_operators.gate_matrices import matrices_of
from halocline.plugins.triton_operators.launch import launch
from halocline.plugins.triton_operators.row_sums import by_receiver, by_sender, sum_rows
from halocline.plugins.triton_operators.rows import CHANGING


def updated_and_totals(
    edges: Tensor,
    sums: Tensor,
    basis: Tensor,
    shares: Tensor,
    senders: Tensor,
    receivers: Tensor,
    weights: Tensor,
    centres: int,
    sizes: list[int],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Updated edges (E, C), sums of messages, and what is kept."""
    (count, channels), (_, _, at_end, swish) = edges.shape, sizes
    kept = edges.new_empty((kept_rows(count) if keep else 0, kept_columns(channels, sizes)))
    pieces = _Kept(kept, count, channels)
    matrices = matrices_of(weights, channels, sums.shape[1], basis.shape[1], sizes)
    of_edges, of_messages = (basis @ matrices.factors).tensor_split(2, dim=1)
    atoms = shares.contiguous(), senders.contiguous(), receivers.contiguous()

    e = torch.empty_like(edges, memory_format=torch.contiguous_format)
    _gate(sums @ matrices.three_body, None, pieces.gate(), None, (edges.contiguous(), e, None))
    updated = torch.empty_like(e)
    z, offsets = _network(e, matrices.networks[0], 0, atoms, pieces)
    _gate(z, offsets, pieces.gate(), pieces.take(channels), (e, updated, of_edges))
    z, offsets = _network(updated, matrices.networks[1], 1, atoms, pieces)
    slopes, out = pieces.gate(), pieces.take(channels)
    out = torch.empty_like(e) if out is None else out
    _gate(z, offsets, slopes, out, None)

    rows = shares.shape[0] if at_end else centres
    ends = by_sender(senders, rows) if at_end else by_receiver(receivers, rows)
    totals = sum_rows(out, ends, e.new_empty((rows, channels)), of_messages, swish=bool(swish))
    return updated, totals, kept


def pulls(
    by_updated: Tensor | None,
    by_totals: Tensor,
    kept: Tensor,
    edges: Tensor,
    sums: Tensor,
    basis: Tensor,
    shares: Tensor,
    senders: Tensor,
    receivers: Tensor,
    weights: Tensor,
    centres: int,
    sizes: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by edges, three-body sums, basis and shares."""
    del centres
    (count, channels), (_, hidden, at_end, swish) = edges.shape, sizes
    units = shares.shape[1] // 8
    pieces = _Kept(kept, count, channels)
    matrices = matrices_of(weights, channels, sums.shape[1], basis.shape[1], sizes)
    of_edges, of_messages = (basis @ matrices.factors).tensor_split(2, dim=1)
    by_factors = basis.new_empty((count, 2 * channels))
    by_edge_factors, by_message_factors = by_factors.tensor_split(2, dim=1)
    joint = edges.new_empty((count, 4 * units))
    of_first, of_second = joint.tensor_split(2, dim=1)

    three_slopes = pieces.gate()
    first, second = (pieces.network(2 * units, hidden) for _ in range(2))
    summed = (senders if at_end else receivers).contiguous()
    by = _pull_gate(by_totals.contiguous(), summed, second, of_messages, by_message_factors, swish=bool(swish))
    _pull_network(by, matrices.networks[1], second, of_second)
    back = matrices.networks[1].first.T
    by_e = of_second @ back if by_updated is None else torch.addmm(by_updated, of_second, back)
    by = _pull_gate(by_e, None, first, of_edges, by_edge_factors, swish=False)
    _pull_network(by, matrices.networks[0], first, of_first)
    by_e.addmm_(of_first, matrices.networks[0].first.T)

    by_three = (three_slopes.view(count, 2, channels) * by_e[:, None]).view(count, 2 * channels)
    by_shares = torch.empty_like(shares, memory_format=torch.contiguous_format)
    at_centres, at_ends = by_shares.tensor_split(2, dim=1)
    sum_rows(joint, by_receiver(receivers, len(shares)), at_centres)
    sum_rows(joint, by_sender(senders, len(shares)), at_ends)
    return by_e, by_three @ matrices.three_body.T, by_factors @ matrices.factors.T, by_shares


@final
class _Kept:
    """Takes matrices of edges, one after another, from the memory of what is kept; None where nothing is."""

    def __init__(self, kept: Tensor, edges: int, channels: int) -> None:
        self._kept, self._edges, self._channels, self._at = kept.view(-1), edges, channels, 0
        self._none = not kept.shape[0] and edges > 0

    def take(self, columns: int) -> Any:
        """(E, columns)."""
        if self._none:
            return None
        begin, self._at = self._at, self._at + self._edges * columns
        return self._kept[begin : self._at].view(self._edges, columns)

    def gate(self) -> Any:
        """The slopes of a gate, (E, 2 C)."""
        return self.take(2 * self._channels)

    def network(self, columns: int, hidden: int) -> list[Tensor]:
        """Slopes of all layers but the last, (E, columns) each, those of the gate, and the output, (E, C)."""
        return [*(self.take(columns) for _ in range(1 + hidden)), self.gate(), self.take(self._channels)]


def _network(
    e: Tensor, matrices: NetworkMatrices, which: int, atoms: tuple[Tensor, Tensor, Tensor], pieces: _Kept
) -> tuple[Tensor, Tensor]:
    """The sums of the last layer, (E, 2 C), without its offsets, and these."""
    z, (*hidden, last) = e @ matrices.first, matrices.layers
    both = _activate(z, None, atoms, which, pieces.take(z.shape[1]))
    for values, gates, offsets in hidden:
        z = _beside(both, values, gates)
        both = _activate(z, offsets, None, which, pieces.take(z.shape[1]))
    values, gates, offsets = last
    return _beside(both, values, gates), offsets


def _pull_network(by: Tensor, matrices: NetworkMatrices, pieces: list[Tensor], out: Tensor) -> None:
    """From sums of the last layer, (E, 2 C), to those of the first, (E, 2 U')."""
    for number in range(len(matrices.layers) - 1, -1, -1):
        values, gates, _ = matrices.layers[number]
        before = _beside(by, values.T, gates.T)
        by = torch.mul(before, pieces[number], out=before if number else out)


def _beside(both: Tensor, values: Tensor, gates: Tensor) -> Tensor:
    """Values and gates, each times its own matrix."""
    found = both.new_empty((both.shape[0], 2 * values.shape[1]))
    halves = zip(both.tensor_split(2, dim=1), (values, gates), found.tensor_split(2, dim=1), strict=True)
    for half, matrix, out in halves:
        torch.mm(half, matrix, out=out)
    return found


def _activate(
    z: Tensor,
    offsets: Tensor | None,
    atoms: tuple[Tensor, Tensor, Tensor] | None,
    which: int,
    slopes: Tensor | None,
) -> Tensor:
    """The swish of sums with offsets, or with the shares of atoms in one of both networks."""
    edges, columns = z.shape
    out = torch.empty_like(z)
    _launch(_swishes, [z, offsets, *(atoms or (None,) * 3), out, slopes, edges, columns, which * columns], out)
    return out


def _gate(
    z: Tensor,
    offsets: Tensor | None,
    slopes: Tensor | None,
    out: Tensor | None,
    update: tuple[Tensor, Tensor, Tensor | None] | None,
) -> None:
    """The swish of values times the sigmoid of gates, (E, 2 C).

    Args:
        z: both.
        offsets: added to them.
        slopes: by values and by gates, (E, 2 C), to be written.
        out: results, (E, C), to be written.
        update: what they are added to, the sums, to be written, and what they are multiplied with before, (E, C)
            each.
    """
    before, updated, factors = update or (None, None, None)
    edges, channels = z.shape[0], z.shape[1] // 2
    tensors = z, offsets, before, factors, updated, out, slopes
    _launch(_gates, [*tensors, edges, channels], out if updated is None else updated)


def _pull_gate(
    by: Tensor, rows: Tensor | None, pieces: list[Tensor], factors: Tensor, by_factors: Tensor, *, swish: bool
) -> Tensor:
    """From weighted outputs of a network to the sums of its last layer, (E, 2 C), and to factors.

    Args:
        by: gradients, (E, C), or (rows, C) with the row of each edge.
        rows: (E,).
        pieces: what is kept of the network.
        factors: what outputs are multiplied with, or, with ``swish``, by the swish of it.
        by_factors: to be written.
        swish: see there.
    """
    *_, slopes, out = pieces
    found, channels = torch.empty_like(slopes), out.shape[1]
    tensors = by, rows, factors, slopes, out, by_factors, found
    _launch(_gate_pulls, [*tensors, out.shape[0], channels, int(swish)], found, channels)
    return found


def _launch(kernel: Any, arguments: list[Any], out: Any, channels: int | None = None) -> None:
    """For blocks of edges and columns; those are of ``out`` by default."""
    edges, columns = out.shape[0], channels or out.shape[1]
    launch(
        kernel,
        arguments,
        out,
        for_some_channels(columns),
        lambda blocks: (triton.cdiv(edges, blocks["EDGES"]), triton.cdiv(columns, blocks["CHANNELS"])),
        about=(columns, *(each is None for each in arguments)),
        work=edges * columns,
    )


@triton.jit
def _block(edges, columns, EDGES: tl.constexpr, CHANNELS: tl.constexpr):
    """Edges (EDGES, 1) and columns (1, CHANNELS) of a program, and which of them there are."""
    edge = (tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES))[:, None]
    column = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    return edge, column, (edge < edges) & (column < columns)


@triton.jit(do_not_specialize=CHANGING)
def _swishes(
    z_at, offsets_at, shares_at, senders_at, receivers_at, out_at, slopes_at,
    edges, columns, first, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    edge, column, used = _block(edges, columns, EDGES, CHANNELS)
    at = edge * columns + column
    z = tl.load(z_at + at, mask=used, other=0.0)
    if offsets_at is not None:
        z += tl.load(offsets_at + column, mask=column < columns, other=0.0)
    if shares_at is not None:
        # Of each atom there are four times as many: of both networks as a centre, and as an end.
        receiver = tl.load(receivers_at + edge, mask=edge < edges, other=0)
        sender = tl.load(senders_at + edge, mask=edge < edges, other=0)
        of_centre = tl.load(shares_at + (4 * receiver) * columns + first + column, mask=used, other=0.0)
        z += of_centre + tl.load(shares_at + (4 * sender + 2) * columns + first + column, mask=used, other=0.0)
    sigma = tl.sigmoid(z)
    value = z * sigma
    tl.store(out_at + at, value, mask=used)
    if slopes_at is not None:
        tl.store(slopes_at + at, sigma + value * (1.0 - sigma), mask=used)


@triton.jit(do_not_specialize=CHANGING)
def _gates(
    z_at, offsets_at, before_at, factors_at, updated_at, out_at, slopes_at,
    edges, channels, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    edge, channel, used = _block(edges, channels, EDGES, CHANNELS)
    at, both_at = edge * channels + channel, 2 * edge * channels + channel
    z = tl.load(z_at + both_at, mask=used, other=0.0)
    gate = tl.load(z_at + both_at + channels, mask=used, other=0.0)
    if offsets_at is not None:
        z += tl.load(offsets_at + channel, mask=channel < channels, other=0.0)
        gate += tl.load(offsets_at + channels + channel, mask=channel < channels, other=0.0)
    sigma, of_gate = tl.sigmoid(z), tl.sigmoid(gate)
    value = z * sigma
    out = value * of_gate
    if slopes_at is not None:
        tl.store(slopes_at + both_at, (sigma + value * (1.0 - sigma)) * of_gate, mask=used)
        tl.store(slopes_at + both_at + channels, out * (1.0 - of_gate), mask=used)
    if out_at is not None:
        tl.store(out_at + at, out, mask=used)
    if updated_at is not None:
        if factors_at is not None:
            out *= tl.load(factors_at + both_at, mask=used, other=0.0)
        tl.store(updated_at + at, tl.load(before_at + at, mask=used, other=0.0) + out, mask=used)


@triton.jit(do_not_specialize=CHANGING)
def _gate_pulls(
    by_at, rows_at, factors_at, slopes_at, out_at, by_factors_at, found_at,
    edges, channels, SWISH: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    edge, channel, used = _block(edges, channels, EDGES, CHANNELS)
    at, both_at = edge * channels + channel, 2 * edge * channels + channel
    row = edge
    if rows_at is not None:
        row = tl.load(rows_at + edge, mask=edge < edges, other=0)
    by = tl.load(by_at + row * channels + channel, mask=used, other=0.0)
    factor = tl.load(factors_at + both_at, mask=used, other=0.0)
    by_factor = by * tl.load(out_at + at, mask=used, other=0.0)
    if SWISH:
        sigma = tl.sigmoid(factor)
        by_factor *= sigma + factor * sigma * (1.0 - sigma)
        factor *= sigma
    tl.store(by_factors_at + both_at, by_factor, mask=used)
    by *= factor
    tl.store(found_at + both_at, by * tl.load(slopes_at + both_at, mask=used, other=0.0), mask=used)
    of_gate = tl.load(slopes_at + both_at + channels, mask=used, other=0.0)
    tl.store(found_at + both_at + channels, by * of_gate, mask=used)

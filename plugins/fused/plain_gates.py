"""The edge half of a block of M3GNet in plain operations, and its derivative: the definition of `fused.gates`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from halocline.aggregation.rows import add_up, take
from halocline.plugins.fused.packing import NetworkMatrices, kept_columns, rounded, unpacked

#: From a cotangent of what was computed to those of what it was computed from.
Pull = Callable[[Tensor], Any]


def plain_edge_half(
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
    """See `fused.gates.edge_half`. Nothing is kept: the derivative needs no more than what is given."""
    del keep
    ends = _Ends(senders, receivers, shares.shape[0], centres, bool(sizes[2]))
    steps = _Steps.of(edges, sums, basis, shares, ends, weights, sizes)
    kept = edges.new_zeros((0, kept_columns(edges.shape[1], sizes)))
    return steps.updated[:, : edges.shape[1]], ends.total(steps.messages[:, : edges.shape[1]]), kept


def plain_edge_half_backward(
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
    """Cotangents of edges, three-body sums, basis and shares."""
    del kept
    ends = _Ends(senders, receivers, shares.shape[0], centres, bool(sizes[2]))
    steps = _Steps.of(edges, sums, basis, shares, ends, weights, sizes)
    channels = edges.shape[1]
    filling = rounded(channels) - channels
    by_messages = pad(take(by_totals, ends.summed), (0, filling))
    by_e, of_messages, by_second = steps.pull_messages(by_messages)
    by_e = by_e if by_updated is None else by_e + pad(by_updated, (0, filling))
    by_inner, of_edges, by_first = steps.pull_edges(by_e)
    by_e = by_e + by_inner
    by_sums = steps.pull_three_body(by_e)
    joint = torch.cat([by_first, by_second], dim=1)
    at_centres = add_up(joint, receivers, shares.shape[0])
    by_shares = torch.cat([at_centres, add_up(joint, senders, shares.shape[0])], dim=1)
    return by_e[:, :channels].contiguous(), by_sums, steps.pull_factors(of_edges, of_messages), by_shares


@final
class _Ends(NamedTuple):
    """Which atoms edges belong to, and where messages are summed."""

    senders: Tensor
    receivers: Tensor
    atoms: int
    centres: int
    at_end: bool

    @property
    def summed(self) -> Tensor:
        """The atom that the message of each edge goes to, (E,)."""
        return self.senders if self.at_end else self.receivers

    def total(self, messages: Tensor) -> Tensor:
        return add_up(messages, self.summed, self.atoms if self.at_end else self.centres)


@final
class _Steps(NamedTuple):
    """What is computed on edges, in channels that fill panels, and how cotangents go back through it.

    Attributes:
        updated: e₂.
        messages: m.
        pull_three_body: from e₁ to the sums.
        pull_edges: from e₂ to e₁ by way of the first network, to w₁, and to its shares of atoms.
        pull_messages: from m to e₂, to w₂, and to the second network's shares of atoms.
        pull_factors: from w₁ and w₂ to the basis.
    """

    updated: Tensor
    messages: Tensor
    pull_three_body: Pull
    pull_edges: Pull
    pull_messages: Pull
    pull_factors: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def of(
        cls,
        edges: Tensor,
        sums: Tensor,
        basis: Tensor,
        shares: Tensor,
        ends: _Ends,
        weights: Tensor,
        sizes: list[int],
    ) -> _Steps:
        channels = edges.shape[1]
        three, factors, networks = unpacked(weights, channels, sums.shape[1], basis.shape[1], sizes)
        update, pull_update = _gate(sums @ three)
        e = pad(edges, (0, rounded(channels) - channels)) + update
        of_edges, of_messages = (basis @ factors).chunk(2, dim=1)
        slopes = torch.ones_like(of_messages)
        if sizes[3]:
            of_messages, slopes = _swish(of_messages)
        centre_first, centre_second, end_first, end_second = shares.chunk(4, dim=1)
        joint = take(centre_first, ends.receivers) + take(end_first, ends.senders)
        first, pull_first = _network(e, joint, networks[0])
        e = e + first * of_edges
        joint = take(centre_second, ends.receivers) + take(end_second, ends.senders)
        second, pull_second = _network(e, joint, networks[1])

        def pull_edges(by: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            by_e, by_joint = pull_first(by * of_edges)
            return by_e, by * first, by_joint

        def pull_messages(by: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            by_e, by_joint = pull_second(by * of_messages)
            return by_e, by * second * slopes, by_joint

        return cls(
            e,
            second * of_messages,
            lambda by: pull_update(by) @ three.T,
            pull_edges,
            pull_messages,
            lambda by_first, by_second: torch.cat([by_first, by_second], dim=1) @ factors.T,
        )


def _network(e: Tensor, joint: Tensor, matrices: NetworkMatrices) -> tuple[Tensor, Pull]:
    """One gated network on edges (E, C'), with the shares (E, 2 U') of their atoms."""
    z, passed = joint + e @ matrices.first, []
    for values, gates, offsets in matrices.layers:
        both, slopes = _swish(z)
        passed.append(((values, gates), slopes))
        z = _beside(both, (values, gates)) + offsets
    out, pull_gate = _gate(z)

    def pull(by: Tensor) -> tuple[Tensor, Tensor]:
        by = pull_gate(by)
        for layer, slopes in reversed(passed):
            by = _beside(by, [matrix.T for matrix in layer]) * slopes
        return by @ matrices.first.T, by

    return out, pull


def _beside(both: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Values and gates, each times its own matrix."""
    return torch.cat([half @ matrix for half, matrix in zip(both.chunk(2, dim=1), matrices, strict=True)], dim=1)


def _gate(both: Tensor) -> tuple[Tensor, Pull]:
    """The swish of values times the sigmoid of gates."""
    value, gate = both.chunk(2, dim=1)
    value, slope = _swish(value)
    sigma = torch.sigmoid(gate)
    out = value * sigma
    return out, lambda by: torch.cat([by * slope * sigma, by * out * (1.0 - sigma)], dim=1)


def _swish(z: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes."""
    sigma = torch.sigmoid(z)
    value = z * sigma
    return value, sigma + value * (1.0 - sigma)

"""Three-body sums of M3GNet; see `halocline.plugins.fused.three_body`, whose operators have these arguments.

Harmonics of edges and moments of centres are written, (E, L²) and (n, L², R), which is little beside what networks
write for edges. Moments have one program for each centre, all else goes edge by edge. Of edges without three-body
terms nothing but zeros is written, and nothing read: they take no part even where they have no direction.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple, final

import torch
import triton
import triton.language as tl
from torch import Tensor

from halocline.aggregation.edges import row_starts
from halocline.aggregation.rows import take
from halocline.plugins.triton_operators.blocks import Blocks
from halocline.plugins.triton_operators.candidates import for_all_channels
from halocline.plugins.triton_operators.harmonics import SINGLE, vector_pulls, write_harmonics
from halocline.plugins.triton_operators.launch import launch
from halocline.plugins.triton_operators.row_sums import by_receiver, by_sender, sum_rows
from halocline.plugins.triton_operators.rows import CHANGING, row_range


def sums(*arguments: Any) -> Tensor:
    """Sums of edges, (E, K)."""
    given = _read(arguments)
    harmonics, values = _harmonics(given), given.values()
    moments, factors = _moments(values, harmonics, given), given.factors()
    tensors = values, harmonics, given.envelope, moments, given.receivers, factors
    found = torch.empty_like(values)
    _launch(_sums, [*tensors, found], found, for_all_channels(found.shape[1]), given)
    return found


def pulls(pull: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by vectors, radial functions, envelope and gates."""
    given = _read(arguments)
    harmonics, values, own = _harmonics(given), given.values(), pull * given.factors()
    moments, by_moments = (_moments(each, harmonics, given) for each in (values, own * given.envelope))
    read = values, own, harmonics, given.envelope, moments, by_moments, given.receivers

    by_vectors, by_weights, by_envelope = map(torch.empty_like, given[:3])
    _launch(vector_pulls, [*read, given.vectors, by_vectors], by_vectors, SINGLE, given)
    by_gates = torch.empty_like(by_weights)  # of edges
    tensors = given.weights, given.gates, given.atoms, by_weights, by_envelope, by_gates
    _launch(_column_pulls, [*read, *tensors], by_weights, for_all_channels(by_weights.shape[1]), given)
    ends = (by_sender if given.from_end else by_receiver)(given.atoms, len(given.gates))
    return by_vectors, by_weights, by_envelope, sum_rows(by_gates, ends, torch.empty_like(given.gates))


@final
class _Given(NamedTuple):
    """What both operators are given."""

    vectors: Tensor
    weights: Tensor
    envelope: Tensor
    gates: Tensor
    senders: Tensor
    receivers: Tensor
    centres: int
    degrees: int
    from_end: bool

    @property
    def radials(self) -> int:
        """R."""
        return self.weights.shape[1] // self.degrees

    @property
    def atoms(self) -> Tensor:
        """Whose gates weigh an edge, (E,)."""
        return self.senders if self.from_end else self.receivers

    def values(self) -> Tensor:
        """Radial functions times gates, (E, K)."""
        return self.weights * take(self.gates, self.atoms)

    def factors(self) -> Tensor:
        """√(4π/(2l + 1)) of each sum, (K,)."""
        return _factors(self.degrees, self.radials, self.weights.dtype, self.weights.device)


def _read(arguments: tuple[Any, ...]) -> _Given:
    return _Given(*(each.contiguous() for each in arguments[:6]), *arguments[6:])


@cache
def _factors(degrees: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    factors = [math.sqrt(4.0 * math.pi / (2 * degree + 1)) for degree in range(degrees) for _ in range(count)]
    return torch.tensor(factors, dtype=dtype, device=device)


def _harmonics(given: _Given) -> Tensor:
    """Of the edges that take part, (E, L²)."""
    found = given.vectors.new_empty((len(given.vectors), given.degrees**2))
    _launch(write_harmonics, [given.vectors, given.envelope, found], found, SINGLE, given)
    return found


def _moments(values: Tensor, harmonics: Tensor, given: _Given) -> Tensor:
    """Sums of values (E, K) times harmonics over the edges of each centre, (n, L², R)."""
    found = values.new_empty((given.centres, harmonics.shape[1], given.radials))
    starts, moments = row_starts(given.receivers, given.centres), harmonics.shape[1] * given.radials
    launch(
        _add_up,
        [
            values,
            harmonics,
            given.envelope,
            starts,
            found,
            given.centres,
            len(values),
            given.degrees,
            given.radials,
        ],
        found,
        for_all_channels(moments),
        lambda blocks: (given.centres,),
        about=(given.degrees, given.radials),
        work=len(values) * moments,
    )
    return found


def _launch(
    kernel: Any, tensors: list[Tensor], out: Tensor, candidates: tuple[Blocks, ...], given: _Given
) -> None:
    """For blocks of edges."""
    edges, columns = out.shape
    launch(
        kernel,
        [*tensors, edges, given.degrees, given.radials],
        out,
        candidates,
        lambda blocks: (triton.cdiv(edges, blocks["EDGES"]),),
        about=(given.degrees, given.radials),
        work=edges * columns,
    )


@triton.jit(do_not_specialize=CHANGING)
def _add_up(
    values_at, harmonics_at, envelope_at, starts_at, out_at, rows, edges,
    DEGREES: tl.constexpr, COUNT: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    moment = tl.arange(0, CHANNELS)[None, :]
    harmonic = moment // COUNT
    degree = (harmonic >= 1).to(tl.int32) + (harmonic >= 4).to(tl.int32) + (harmonic >= 9).to(tl.int32)
    inside, column = moment < DEGREES * DEGREES * COUNT, degree * COUNT + moment % COUNT
    begin, end = row_range(starts_at, row, rows, edges)
    total = tl.zeros((EDGES, CHANNELS), dtype=out_at.dtype.element_ty)
    for first in range(begin, end, EDGES):
        edge = (first + tl.arange(0, EDGES))[:, None]
        used = (tl.load(envelope_at + edge, mask=edge < end, other=0.0) != 0.0) & inside
        value = tl.load(values_at + edge * DEGREES * COUNT + column, mask=used, other=0.0)
        total += value * tl.load(harmonics_at + edge * DEGREES * DEGREES + harmonic, mask=used, other=0.0)
    at = out_at + row * DEGREES * DEGREES * COUNT + moment
    tl.store(at, tl.sum(total, 0)[None, :], mask=inside)


@triton.jit
def _columns(envelope_at, receivers_at, edges, DEGREES: tl.constexpr, COUNT: tl.constexpr, EDGES: tl.constexpr,
             CHANNELS: tl.constexpr):  # fmt: skip
    """Edges (EDGES, 1), their envelopes and centres, columns (1, CHANNELS), what is there, and what takes part."""
    edge = (tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES))[:, None]
    column = tl.arange(0, CHANNELS)[None, :]
    envelope = tl.load(envelope_at + edge, mask=edge < edges, other=0.0)
    receiver = tl.load(receivers_at + edge, mask=edge < edges, other=0)
    there = (edge < edges) & (column < DEGREES * COUNT)
    return edge, envelope, receiver, column, there, there & (envelope != 0.0)


@triton.jit(do_not_specialize=CHANGING)
def _sums(
    values_at, harmonics_at, envelope_at, moments_at, receivers_at, factors_at, out_at, edges,
    DEGREES: tl.constexpr, COUNT: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    edge, envelope, receiver, column, there, used = _columns(
        envelope_at, receivers_at, edges, DEGREES, COUNT, EDGES, CHANNELS
    )
    at, degree = edge * DEGREES * COUNT + column, column // COUNT
    value = tl.load(values_at + at, mask=used, other=0.0)
    total = tl.zeros((EDGES, CHANNELS), dtype=out_at.dtype.element_ty)
    for order in tl.static_range(2 * DEGREES - 1):
        act, harmonic = used & (order <= 2 * degree), degree * degree + order
        y = tl.load(harmonics_at + edge * DEGREES * DEGREES + harmonic, mask=act, other=0.0)
        place = (receiver * DEGREES * DEGREES + harmonic) * COUNT + column % COUNT
        total += (tl.load(moments_at + place, mask=act, other=0.0) - value * y) * y
    factor = tl.load(factors_at + column, mask=column < DEGREES * COUNT, other=0.0)
    tl.store(out_at + at, tl.where(used, envelope * factor * total, 0.0), mask=there)


@triton.jit(do_not_specialize=CHANGING)
def _column_pulls(
    values_at, own_at, harmonics_at, envelope_at, moments_at, by_moments_at, receivers_at,
    weights_at, gates_at, atoms_at, by_weights_at, by_envelope_at, by_gates_at, edges,
    DEGREES: tl.constexpr, COUNT: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    edge, envelope, receiver, column, there, used = _columns(
        envelope_at, receivers_at, edges, DEGREES, COUNT, EDGES, CHANNELS
    )
    at, degree = edge * DEGREES * COUNT + column, column // COUNT
    value = tl.load(values_at + at, mask=used, other=0.0)
    own = tl.load(own_at + at, mask=used, other=0.0)
    by_value = tl.zeros((EDGES, CHANNELS), dtype=value.dtype)
    total = tl.zeros((EDGES, CHANNELS), dtype=value.dtype)
    for order in tl.static_range(2 * DEGREES - 1):
        act, harmonic = used & (order <= 2 * degree), degree * degree + order
        y = tl.load(harmonics_at + edge * DEGREES * DEGREES + harmonic, mask=act, other=0.0)
        place = (receiver * DEGREES * DEGREES + harmonic) * COUNT + column % COUNT
        total += (tl.load(moments_at + place, mask=act, other=0.0) - value * y) * y
        by_value += (tl.load(by_moments_at + place, mask=act, other=0.0) - own * envelope * y) * y
    by_envelope = tl.sum(tl.where(used, own * total, 0.0), 1)[:, None]
    tl.store(by_envelope_at + edge, by_envelope, mask=edge < edges)
    atom = tl.load(atoms_at + edge, mask=edge < edges, other=0)
    gate = tl.load(gates_at + atom * DEGREES * COUNT + column, mask=used, other=0.0)
    weight = tl.load(weights_at + at, mask=used, other=0.0)
    tl.store(by_weights_at + at, tl.where(used, by_value * gate, 0.0), mask=there)
    tl.store(by_gates_at + at, tl.where(used, by_value * weight, 0.0), mask=there)

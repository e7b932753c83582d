"""Radial functions from a table: cubic polynomials between evenly spaced distances, in plain operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeGuard, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from halocline.aggregation.radial import EdgeConvolution
from halocline.aggregation.rows import take

if TYPE_CHECKING:
    from halocline.aggregation.edges import EdgeBlock

#: Edges that are worked on at a time on a CPU: what is made of them then stays in its caches.
PIECE: Final = 16_384


@final
@dataclass(frozen=True, slots=True, eq=False)
class KeptTable:
    """What a table consists of, as files hold it. Nobody changes it, so copies are the same object.

    Attributes:
        coefficients: (F, K, 4, C) float64, see `TabulatedFunction`.
        last: (F, C) float64.
        pairs: (S, S) int64; None where all pairs of kinds have the same.
    """

    coefficients: Tensor
    last: Tensor
    pairs: Tensor | None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        del memo
        return self

    @property
    def intervals(self) -> int:
        """K."""
        return self.coefficients.shape[1]


@final
class TabulatedFunction(EdgeConvolution):
    """Takes the place of a `RadialFunction` whose values it holds.

    From ``end`` on it is constant. It can be differentiated once: it is for evaluation, not for training.

    Args:
        coefficients: (F, K, 4, C), c0 to c3 of c0 + c1 t + c2 t² + c3 t³ in each of K intervals, t from 0 to 1, of
            all that `RadialFunction.pairs` counts.
        last: (F, C), the values from ``end`` on.
        start: Å, where the first interval begins.
        end: Å, where the last one ends.
        pairs: see `RadialFunction`; None if F is 1.
        errors: largest errors of values, and of derivatives, where it was held against the function, relative to
            the largest of each.
    """

    table: Tensor  # (4 (K + 2) F, C): four rows for each interval

    def __init__(
        self,
        coefficients: Tensor,
        last: Tensor,
        start: float,
        end: float,
        pairs: Tensor | None = None,
        errors: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__()
        self.start, self.end, self.pairs, self.errors = start, end, pairs, errors
        functions, self.intervals, powers, self.channels = coefficients.shape
        self.per_length = self.intervals / (end - start)
        # Two more rows: beyond the end, and for padding, which adds nothing to any sum.
        beyond = coefficients.new_zeros((functions, 2, powers, self.channels))
        beyond[:, 0, 0] = last
        self.register_buffer("table", torch.cat([coefficients, beyond], 1).flatten(0, 2))

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`; from the table."""
        return _Evaluation.apply(distances, numbers, self)  # type: ignore[no-any-return, no-untyped-call]

    def convolve_edges(self, values: Tensor, block: EdgeBlock) -> Tensor:
        """See `EdgeConvolution.convolve_edges`."""
        return _TabulatedEdges.apply(  # type: ignore[no-any-return, no-untyped-call]
            values, block.lengths(), self, block.senders, block.receivers, block.n_out
        )

    def convolve_table(
        self, values: Tensor, lengths: Tensor, neighbours: Tensor, transposed: Tensor, mask: Tensor
    ) -> Tensor:
        """`Block.convolve` of values (n_in, C) over a table of lengths (n_out, k): (n_out, C)."""
        return _TabulatedTable.apply(  # type: ignore[no-any-return, no-untyped-call]
            values, lengths, self, neighbours, transposed, mask
        )

    def to_keep(self) -> KeptTable:
        """What it consists of, to be written to a file."""
        rows = self.table.detach().view(-1, self.intervals + 2, 4, self.channels)
        return KeptTable(rows[:, :-2].contiguous(), rows[:, -2, 0].contiguous(), self.pairs)

    def locate(self, distances: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The row of each distance [...], and its place in the interval, [..., 1]. NaN stays NaN."""
        places = (distances - self.start) * self.per_length
        rows = torch.where(places < self.intervals, places, float(self.intervals)).to(torch.int64)
        offsets = (places - rows.to(places.dtype)).unsqueeze(-1)
        return (rows if mask is None else torch.where(mask > 0, rows, self.intervals + 1)), offsets

    def evaluate(self, rows: Tensor, offsets: Tensor) -> _Values:
        """Values by Horner's scheme."""
        index = rows.reshape(-1) * 4
        c0, c1, c2, c3 = (
            self.table.index_select(0, index + power).view(*rows.shape, self.channels) for power in range(4)
        )
        second = torch.addcmul(c2, c3, offsets)
        first = torch.addcmul(c1, second, offsets)
        return _Values(torch.addcmul(c0, first, offsets), first, second, c3)

    def combine(self, rows: Tensor, powers: Sequence[Tensor | float]) -> Tensor:
        """Coefficients (E, C) of intervals (E,), each times a number or numbers (E,), added up in one sweep."""
        index = rows[:, None] * 4 + torch.arange(4, device=rows.device)
        weights = self.table.new_empty(index.shape)
        for power, factor in enumerate(powers):
            weights[:, power] = factor
        return embedding_bag(index, self.table, per_sample_weights=weights, mode="sum")


def shared_table(function: object) -> TypeGuard[TabulatedFunction]:
    """Whether it is a table that all pairs of atoms share, which blocks convolve with in ways of their own."""
    return isinstance(function, TabulatedFunction) and function.pairs is None


class _Values:
    """Values [..., C], and what their slopes follow from without another look at the table."""

    def __init__(self, values: Tensor, first: Tensor, second: Tensor, third: Tensor) -> None:
        self.values, self._parts = values, (first, second, third)

    def slopes(self, offsets: Tensor) -> Tensor:
        """Derivatives by t: Horner's scheme once more, on its own intermediate values."""
        first, second, third = self._parts
        return torch.addcmul(first, torch.addcmul(second, third, offsets), offsets)


class _Interpolated:
    """Values [..., C] at places in a table, and slopes when they are asked for.

    Recorded graphs have Horner's scheme, which compilers fuse and which needs no operation that they may lack.
    """

    def __init__(self, function: TabulatedFunction, rows: Tensor, offsets: Tensor) -> None:
        self._function, self._rows, self._offsets = function, rows, offsets
        plain = rows.ndim == 1 and isinstance(rows.shape[0], int)
        self._horner = None if plain else function.evaluate(rows, offsets)
        t = offsets[..., 0]
        self.values = self._horner.values if self._horner else function.combine(rows, (1.0, t, t * t, t * t * t))

    def slopes(self) -> Tensor:
        """Derivatives by t, [..., C]."""
        if self._horner:
            return self._horner.slopes(self._offsets)
        t = self._offsets[:, 0]
        return self._function.combine(self._rows, (0.0, 1.0, 2.0 * t, 3.0 * t * t))


class _Evaluation(torch.autograd.Function):
    """Values at distances [...]: [..., C]."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, numbers: Tensor | None, function: TabulatedFunction) -> Tensor:
        rows, offsets = function.locate(distances)
        if numbers is not None:
            rows = rows + numbers * (function.intervals + 2)
        ctx.function, ctx.found = function, _Interpolated(function, rows, offsets)
        values: Tensor = ctx.found.values
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return (gradients[0] * ctx.found.slopes()).sum(-1) * ctx.function.per_length, None, None


class _TabulatedEdges(torch.autograd.Function):
    """Over flat edges, a piece of them at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        lengths: Tensor,
        function: TabulatedFunction,
        senders: Tensor,
        receivers: Tensor,
        count: int,
    ) -> Tensor:
        rows, offsets = function.locate(lengths)
        found = [_Interpolated(function, rows[piece], offsets[piece]) for piece in _pieces(rows)]
        ctx.function, ctx.found = function, found
        ctx.save_for_backward(values, rows, senders, receivers)
        total = values.new_zeros((count, values.shape[1]))
        for piece, each in zip(_pieces(rows), found, strict=True):
            total.index_add_(0, receivers[piece], each.values * values.index_select(0, senders[piece]))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, rows, senders, receivers = ctx.saved_tensors
        pulls, slopes = values.new_zeros(values.shape), []
        for piece, each in zip(_pieces(rows), ctx.found, strict=True):
            arriving = gradients[0].index_select(0, receivers[piece])
            pulls.index_add_(0, senders[piece], each.values * arriving)
            arriving = arriving * values.index_select(0, senders[piece])
            slopes.append((arriving * each.slopes()).sum(-1))
        by_lengths = (slopes[0] if len(slopes) == 1 else torch.cat(slopes)) * ctx.function.per_length
        return pulls, by_lengths, None, None, None, None


class _TabulatedTable(torch.autograd.Function):
    """Over padded tables: gathers and dense sums, no scatter. Padding has a row of zeros, so nothing is masked."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        lengths: Tensor,
        function: TabulatedFunction,
        neighbours: Tensor,
        transposed: Tensor,
        mask: Tensor,
    ) -> Tensor:
        rows, offsets = function.locate(lengths, mask)
        found = function.evaluate(rows, offsets)
        sent = take(values, neighbours.reshape(-1)).view(*neighbours.shape, values.shape[1])
        ctx.function, ctx.found = function, found
        ctx.save_for_backward(sent, offsets, transposed)
        return (found.values * sent).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sent, offsets, transposed = ctx.saved_tensors
        arriving = gradients[0].unsqueeze(1)
        slots = (ctx.found.values * arriving).flatten(0, 1)
        pulls = take(slots, transposed.reshape(-1)).view(*transposed.shape, slots.shape[1]).sum(1)
        by_lengths = (sent * ctx.found.slopes(offsets) * arriving).sum(-1) * ctx.function.per_length
        return pulls, by_lengths, None, None, None, None


def _pieces(rows: Tensor) -> Sequence[slice]:
    """All at once on a GPU, and where sizes are symbols as a graph is recorded."""
    count = rows.shape[0]
    if not isinstance(count, int) or rows.device.type != "cpu":
        return [slice(None)]
    return [slice(first, first + PIECE) for first in range(0, max(count, 1), PIECE)]

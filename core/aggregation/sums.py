"""How rows are added up: in which dtype, and with what becomes of the digits that each addition drops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, final

import torch
from torch import Tensor

from halocline.aggregation.rows import add_up, take


class RowSums:
    """Rows in the dtype that they have, one after another in their order: what programs do unless told otherwise.

    Reading rows is a sum, too, once it is differentiated: of the gradients of all that read one of them.
    """

    def take(self, values: Tensor, index: Tensor) -> Tensor:
        """Rows (I, *) of values (R, *), by number (I,)."""
        return take(values, index)

    def add_up(self, values: Tensor, index: Tensor, rows: int) -> Tensor:
        """Sums (rows, *) of values (I, *), by the number of the row that each goes to, (I,)."""
        return add_up(values, index, rows)


#: What programs do unless told otherwise.
PLAIN: Final = RowSums()


class _Chosen(RowSums, ABC):
    """Sums of another kind, in derivatives as well. They are differentiable once."""

    def take(self, values: Tensor, index: Tensor) -> Tensor:
        """See `RowSums.take`."""
        result: Tensor = _Take.apply(values, index, self)  # type: ignore[no-untyped-call]
        return result

    def add_up(self, values: Tensor, index: Tensor, rows: int) -> Tensor:
        """See `RowSums.add_up`."""
        result: Tensor = _AddUp.apply(values, index, rows, self)  # type: ignore[no-untyped-call]
        return result

    @abstractmethod
    def total(self, values: Tensor, index: Tensor, rows: int) -> Tensor:
        """Sums (rows, *) of values (I, *), by the number of the row that each goes to, (I,)."""


@final
class WideSums(_Chosen):
    """In a dtype of their own; what comes out has the dtype of the rows again.

    Args:
        dtype: in which they are added up.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def total(self, values: Tensor, index: Tensor, rows: int) -> Tensor:
        """See `_Chosen.total`."""
        return add_up(values.to(self.dtype), index, rows).to(values.dtype)


@final
class CompensatedSums(_Chosen):
    """In the dtype of the rows; what each addition drops is added up beside, and comes in at the end.

    A. Neumaier, Z. Angew. Math. Mech. 54, 39 (1974): as good as sums of twice the digits, rounded once. There are
    as many steps as the fullest row has terms, so this is to learn from and not to run with.
    """

    def total(self, values: Tensor, index: Tensor, rows: int) -> Tensor:
        """See `_Chosen.total`."""
        order = torch.argsort(index, stable=True)
        counts = torch.bincount(index, minlength=rows)
        starts = counts.cumsum(0) - counts
        total, dropped = values.new_zeros((2, rows, *values.shape[1:])).unbind(0)
        for place in range(int(counts.max()) if rows else 0):
            here = torch.nonzero(counts > place)[:, 0]
            term, before = values[order[starts[here] + place]], total[here]
            after = before + term
            larger = before.abs() >= term.abs()
            dropped[here] += torch.where(larger, (before - after) + term, (term - after) + before)
            total[here] = after
        return total + dropped


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, sums: _Chosen) -> Tensor:
        ctx.sums, ctx.rows = sums, values.shape[0]
        ctx.save_for_backward(index)
        return take(values, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        return ctx.sums.total(gradients[0], index, ctx.rows), None, None


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, rows: int, sums: _Chosen) -> Tensor:
        ctx.save_for_backward(index)
        return sums.total(values, index, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (index,) = ctx.saved_tensors
        return take(gradients[0], index), None, None, None

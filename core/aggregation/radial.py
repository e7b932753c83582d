"""Functions of the distance as modules, so that something faster can take the place of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from halocline.aggregation.rows import take

if TYPE_CHECKING:
    from halocline.aggregation.edges import EdgeBlock
    from halocline.aggregation.tabulated import KeptTable


class RadialFunction(nn.Module, ABC):
    """C functions of the distance of two atoms, and of nothing else but what kinds of atom they are.

    A stage that weights messages with such functions owns them as a module of this kind and hands it to
    `Block.radial` or `Block.convolve`. Whoever replaces it by a table or by a kernel then knows all that it has to
    hold to.

    Attributes:
        start: Å, the shortest distance at which the functions are smooth and may be asked for.
        end: Å, the distance from which on they are constant, most often zero; infinite if there is none.
        channels: C.
        pairs: (S, S) int64, symmetric: where functions differ by the kinds of both atoms, the number of those that
            two kinds have, from 0 without gaps, or `NONE` where they never meet. None, as `__init__` leaves it,
            where all pairs have the same.
        kept: the table that a compressed model has of it; it is no part of the weights.
    """

    #: In `pairs`, of two kinds that the functions are not asked for.
    NONE = -1

    start: float
    end: float
    channels: int
    pairs: Tensor | None
    kept: KeptTable | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pairs", None, persistent=False)
        self.kept = None

    @abstractmethod
    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """The exact values, differentiable to any order.

        Args:
            distances: [...], Å.
            numbers: [...] int64, as in ``pairs``; None where that is.

        Returns:
            [..., C].
        """

    # nn.Module.__call__ is untyped; this keeps callers typed.
    def __call__(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Run hooks and `forward`."""
        result: Tensor = super().__call__(distances, numbers)
        return result


class EdgeConvolution(RadialFunction, ABC):
    """A radial function with a way of its own to convolve over flat edges; `EdgeBlock.convolve` takes it."""

    @abstractmethod
    def convolve_edges(self, values: Tensor, block: EdgeBlock) -> Tensor:
        """`Block.convolve` without an angular factor, where all pairs of atoms have the same function.

        Args:
            values: (n_in, C), of senders.
            block: whose edges these are, none of them padding.

        Returns:
            (n_out, C).
        """


def evaluated(
    function: Callable[..., Tensor],
    distances: Tensor,
    kinds: Tensor | None,
    ends: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """A function on edges of lengths [...] in Å: [..., C].

    Args:
        function: maybe a `RadialFunction`.
        distances: the lengths.
        kinds: (N,) int64, of atoms, where they matter.
        ends: reads values (N,) of atoms at both ends of the edges, [...] each.
    """
    if kinds is None or not isinstance(function, RadialFunction) or function.pairs is None:
        values: Tensor = function(distances)
        return values
    first, second = ends(kinds)
    numbers = take(function.pairs.flatten(), (first * function.pairs.shape[0] + second).flatten())
    return function(distances, numbers.view(distances.shape))

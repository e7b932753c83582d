"""Channelwise products of features with harmonics, summed at receivers, as operators.

They compute what `ChannelwiseProduct` does with the harmonics of each edge's direction, and with weights from a
spline of its length or from a tensor. Neither harmonics nor messages are written to memory. The derivative is an
operator, too, by features, vectors and weights at once; it can be differentiated no further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor

from halocline.plugins.equivariance import Irrep
from halocline.plugins.fused.edge_library import Edges, Given, Table
from halocline.plugins.fused.operators import define, prepare
from halocline.plugins.fused.panels import spline_values
from halocline.plugins.fused.product_library import ProductLibrary, product_library


@final
class FusedProduct:
    """One product: its irreps and its number of channels.

    As many channels are worked on at a time as a vector of the processor holds. If it does not divide them, the
    last ones take as long as a full vector, or longer.

    Args:
        left: irreps of the features, m components.
        right: irreps of the harmonics, all up to a degree.
        out: irreps to keep.
        channels: C.

    Raises:
        KernelError: the harmonics are others.
    """

    def __init__(self, left: Sequence[Irrep], right: Sequence[Irrep], out: Sequence[Irrep], channels: int) -> None:
        self._spec = "|".join(["+".join(map(str, irreps)) for irreps in (left, right, out)] + [str(channels)])
        product_library(self._spec)

    def prepare(self, dtype: torch.dtype, device: str = "cpu", *, tabulated: bool) -> None:
        """Compile it for a processor, if that was not done before on this machine; for a GPU its first call does.

        Args:
            dtype: float32 or float64.
            device: kind of device.
            tabulated: for `tabulated`; else for `weighted`.

        Raises:
            KernelError: it cannot be compiled, or there is no Triton for a GPU.
        """
        prepare(device)
        if device == "cpu":
            product_library(self._spec).load(dtype, tabulated=tabulated)

    def tabulated(
        self,
        x: Tensor,
        vectors: Tensor,
        table: Tensor,
        grid: tuple[float, float],
        senders: Tensor,
        starts: Tensor,
        kinds: Tensor | None = None,
        pairs: Tensor | None = None,
    ) -> Tensor:
        """Products with weights from a table, added up at receivers.

        Args:
            x: features (m, n_in, C).
            vectors: (E, 3), Å, none of them zero, of edges sorted by receiver.
            table: see `spline_panels`.
            grid: Å and 1/Å, see `spline_grid`.
            senders: (E,) int64, below n_in.
            starts: (n_out,) int64, the first edge of each receiver.
            kinds: (n_in,) int64, of atoms, where functions differ by them; the first n_out atoms receive.
            pairs: (S, S) int64, the number of the function of two kinds.

        Returns:
            (K · n_out, C), K = Σ (2l+1) P_l. The results of the P_l paths to an irrep of degree l come together,
            as (2l+1, n_out, P_l, C), irreps one after the other.
        """
        result: Tensor = torch.ops.halocline.product_tabulated(
            x, vectors, table, *grid, senders, starts, kinds, pairs, self._spec
        )
        return result

    def linearized(self, *arguments: Any) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """What `tabulated` gives, without autograd; and what turns its gradients into those by features.

        Args:
            *arguments: of `tabulated`, all of them, in one piece of memory.

        Returns:
            The sums, and a function of gradients by them and of those by vectors, to which further ones are added.
        """
        x, vectors, table, grid, senders, starts, kinds, pairs = arguments
        library, edges = product_library(self._spec), Edges(vectors, senders, starts)
        told = Table(table, grid[0], grid[1], pairs, kinds, 0 if pairs is None else pairs.shape[0])

        def pull(gradient: Tensor, by_vectors: Tensor) -> Tensor:
            return library.pull(gradient, x, edges, told, by_vectors)[0]

        return library.sums(x, edges, told), pull

    def weighted(
        self,
        x: Tensor,
        vectors: Tensor,
        weights: Tensor,
        senders: Tensor,
        starts: Tensor,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Products with weights from a tensor; see `tabulated` for what is not said here.

        Args:
            x: features.
            vectors: of edges.
            weights: (R, P · C), paths in the order of `paths`.
            senders: of edges.
            starts: of receivers.
            rows: (E,) int64, the row of the weights of each edge; None where each has its own.
        """
        result: Tensor = torch.ops.halocline.product_weighted(
            x, vectors, weights, senders, starts, rows, self._spec
        )
        return result


def read_tabulated(arguments: Sequence[Any]) -> tuple[ProductLibrary, Tensor, Edges, Table]:
    """What `FusedProduct.tabulated` tells its operator."""
    x, vectors, values, start, per_length, senders, starts, kinds, pairs, spec = _contiguous(arguments)
    table = Table(values, start, per_length, pairs, kinds, 0 if pairs is None else pairs.shape[0])
    return product_library(spec), x, Edges(vectors, senders, starts), table


def read_weighted(arguments: Sequence[Any]) -> tuple[ProductLibrary, Tensor, Edges, Given]:
    """What `FusedProduct.weighted` tells its operator."""
    x, vectors, values, senders, starts, rows, spec = _contiguous(arguments)
    return product_library(spec), x, Edges(vectors, senders, starts), Given(values, rows, None, 0)


def _contiguous(values: Sequence[Any]) -> list[Any]:
    return [value.contiguous() if isinstance(value, Tensor) else value for value in values]


def _sums_tabulated(*arguments: Any) -> Tensor:
    library, x, edges, table = read_tabulated(arguments)
    return library.sums(x, edges, table)


def _sums_weighted(*arguments: Any) -> Tensor:
    library, x, edges, weights = read_weighted(arguments)
    return library.sums(x, edges, weights)


def _pull_tabulated(pull: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    library, x, edges, table = read_tabulated(arguments)
    by_x, by_vectors, _ = library.pull(pull.contiguous(), x, edges, table)
    return by_x, by_vectors


def _pull_weighted(pull: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    library, x, edges, weights = read_weighted(arguments)
    return library.pull(pull.contiguous(), x, edges, weights)


def _plain_tabulated(*arguments: Any) -> Tensor:
    library, x, edges, table = read_tabulated(arguments)
    lengths, numbers = edges.vectors.norm(dim=1), table.numbers(edges)
    weights = spline_values(lengths, table.values, table.start, table.per_length, library.channels, numbers)
    return library.composite(x, edges, weights)


def _plain_weighted(*arguments: Any) -> Tensor:
    library, x, edges, weights = read_weighted(arguments)
    return library.composite(x, edges, torch.unflatten(weights.of_edges(), 1, (-1, library.channels)))


def _plain_pull(plain: Callable[..., Tensor], count: int) -> Callable[..., tuple[Tensor, ...]]:
    """The derivative of a composite by its first arguments, as it is without compiled code."""

    def pull(gradient: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        pulled = torch.func.vjp(lambda *by: plain(*by, *arguments[count:]), *arguments[:count])[1]
        result: tuple[Tensor, ...] = pulled(gradient)
        return result

    return pull


def _fake_tabulated(*arguments: Any) -> Tensor:
    library, x, edges, _ = read_tabulated(arguments)
    return x.new_empty(library.shape(edges))


def _fake_weighted(*arguments: Any) -> Tensor:
    library, x, edges, _ = read_weighted(arguments)
    return x.new_empty(library.shape(edges))


def _fake_pull_tabulated(pull: Tensor, x: Tensor, vectors: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    del pull, rest
    return x.new_empty(x.shape), vectors.new_empty(vectors.shape)


def _fake_pull_weighted(
    pull: Tensor, x: Tensor, vectors: Tensor, weights: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    del pull, rest
    return x.new_empty(x.shape), vectors.new_empty(vectors.shape), weights.new_empty(weights.shape)


def _save_tabulated(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *first, ctx.start, ctx.per_length, senders, starts, kinds, pairs, ctx.spec = inputs
    ctx.save_for_backward(*first, senders, starts, kinds, pairs)


def _derive_tabulated(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
    x, vectors, table, *edges = ctx.saved_tensors
    pulls = torch.ops.halocline.product_tabulated_pull(
        pull, x, vectors, table, ctx.start, ctx.per_length, *edges, ctx.spec
    )
    return *pulls, *(None,) * 8


def _save_weighted(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *tensors, ctx.spec = inputs
    ctx.save_for_backward(*tensors)


def _derive_weighted(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
    return *torch.ops.halocline.product_weighted_pull(pull, *ctx.saved_tensors, ctx.spec), *(None,) * 4


_TABULATED: Final = (
    "Tensor x, Tensor vectors, Tensor table, float start, float per_length, Tensor senders, Tensor starts, "
    "Tensor? kinds, Tensor? pairs, str product"
)
_WEIGHTED: Final = (
    "Tensor x, Tensor vectors, Tensor weights, Tensor senders, Tensor starts, Tensor? rows, str product"
)

#: What kernels that use products name as theirs.
OPERATORS: Final = (
    define(
        f"product_tabulated({_TABULATED}) -> Tensor",
        _sums_tabulated,
        _fake_tabulated,
        _plain_tabulated,
        derivative=_derive_tabulated,
        saved=_save_tabulated,
        triton="product:sums_tabulated",
    ),
    define(
        f"product_tabulated_pull(Tensor pull, {_TABULATED}) -> (Tensor, Tensor)",
        _pull_tabulated,
        _fake_pull_tabulated,
        _plain_pull(_plain_tabulated, 2),
        triton="product:pull_tabulated",
    ),
    define(
        f"product_weighted({_WEIGHTED}) -> Tensor",
        _sums_weighted,
        _fake_weighted,
        _plain_weighted,
        derivative=_derive_weighted,
        saved=_save_weighted,
        triton="product:sums_weighted",
    ),
    define(
        f"product_weighted_pull(Tensor pull, {_WEIGHTED}) -> (Tensor, Tensor, Tensor)",
        _pull_weighted,
        _fake_pull_weighted,
        _plain_pull(_plain_weighted, 3),
        triton="product:pull_weighted",
    ),
)

"""Sums of functions of the distance times harmonics, for each species of sender, as operators.

Where senders have no features but their species, as in the first layer of a network, messages are made of nothing
but these sums: of fewer functions than messages have paths and channels, and what mixes them can wait until they
are added up.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor

from halocline.plugins.equivariance import spherical_harmonics
from halocline.plugins.fused.edge_library import Edges, Given, Table, call_pull, call_sums, load, source, text
from halocline.plugins.fused.operators import define, prepare
from halocline.plugins.fused.panels import spline_values

#: Vectors of functions that the pass in reverse works on together, each of 16 lanes; see `ProductLibrary`.
_WIDEST: Final = 4


@final
class FusedDensity:
    """Sums of R functions of the distance times harmonics.

    Args:
        max_degree: of the harmonics.
        functions: R, best a multiple of 16.
    """

    def __init__(self, max_degree: int, functions: int) -> None:
        self._max_degree, self._functions = max_degree, functions

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
            _loaded(dtype, self._max_degree, self._functions, tabulated=tabulated)

    def tabulated(
        self,
        vectors: Tensor,
        table: Tensor,
        grid: tuple[float, float],
        senders: Tensor,
        starts: Tensor,
        species: int,
        kinds: Tensor | None = None,
        pairs: Tensor | None = None,
    ) -> Tensor:
        """Sums of functions from a table.

        Args:
            vectors: (E, 3), Å, none of them zero, of edges sorted by receiver.
            table: see `spline_panels`, of one path: (panels, F, K + 6, 1, 2, 16).
            grid: Å and 1/Å, see `spline_grid`.
            senders: (E,) int64, below n_in.
            starts: (n_out,) int64, the first edge of each receiver.
            species: S.
            kinds: (n_in,) int64, below S, the species of atoms; None only if there is one.
            pairs: (S, S) int64, the number of the function of two species; None if there is one.

        Returns:
            ((max_degree + 1)², n_out, S · R), functions of one species of senders side by side.
        """
        sizes = species, self._max_degree, self._functions
        arguments = vectors, table, *grid, senders, starts, kinds, pairs, *sizes
        result: Tensor = torch.ops.halocline.density_tabulated(*arguments)
        return result

    def linearized(self, *arguments: Any) -> tuple[Tensor, Callable[[Tensor, Tensor], None]]:
        """What `tabulated` gives, without autograd; and what adds its gradients by vectors to others.

        Args:
            *arguments: of `tabulated`, all of them, in one piece of memory.
        """
        vectors, table, grid, senders, starts, species, kinds, pairs = arguments
        told = Table(table, grid[0], grid[1], pairs, kinds, species)
        density = Density(Edges(vectors, senders, starts), told, self._max_degree, self._functions)

        def pull(gradient: Tensor, by_vectors: Tensor) -> None:
            density.pull(gradient, by_vectors)

        return density.sums(), pull

    def weighted(
        self,
        vectors: Tensor,
        weights: Tensor,
        senders: Tensor,
        starts: Tensor,
        species: int,
        kinds: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Sums of given values; see `tabulated` for what is not said here.

        Args:
            vectors: of edges.
            weights: (rows, R), values of the functions.
            senders: of edges.
            starts: of receivers.
            species: S.
            kinds: of atoms.
            rows: (E,) int64, the row of the values of each edge; None where each has its own.
        """
        sizes = species, self._max_degree, self._functions
        result: Tensor = torch.ops.halocline.density_weighted(
            vectors, weights, senders, starts, kinds, rows, *sizes
        )
        return result


@cache
def _loaded(dtype: torch.dtype, max_degree: int, functions: int, *, tabulated: bool) -> ctypes.CDLL:
    before = f"""constexpr int HARMONICS = {(max_degree + 1) ** 2}, PATHS = 1, MIXED = 0;
HALO_INLINE void mix(const V*, V*) {{}}"""
    width = min(_WIDEST, -(-functions // 16))
    sizes = functions, width, max_degree
    written = source(dtype, *sizes, before, text("density.h"), tabulated=tabulated, by_kind=True)
    return load("density", written)


@final
class Density(NamedTuple):
    """What an operator is told.

    Attributes:
        edges: all.
        weights: values of the functions on them.
        max_degree: of the harmonics.
        functions: R.
    """

    edges: Edges
    weights: Table | Given
    max_degree: int
    functions: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the sums."""
        columns = self.weights.species * self.functions
        return (self.max_degree + 1) ** 2, self.edges.starts.shape[0], columns

    def load(self) -> ctypes.CDLL:
        """The library."""
        tabulated = isinstance(self.weights, Table)
        return _loaded(self.edges.vectors.dtype, self.max_degree, self.functions, tabulated=tabulated)

    def sums(self) -> Tensor:
        """Values."""
        return call_sums(self.load(), self.shape, None, self.edges, self.weights)

    def pull(self, pull: Tensor, by_vectors: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gradients by vectors and by weights; see `call_pull`."""
        _, *found = call_pull(self.load(), pull.contiguous(), None, self.edges, self.weights, by_vectors)
        return found[0], found[1]

    def composite(self, values: Tensor) -> Tensor:
        """The sums in plain operations, of values of the functions on edges, (E, R)."""
        vectors, senders, _ = self.edges
        y = spherical_harmonics(vectors / vectors.norm(dim=1, keepdim=True), self.max_degree)
        harmonics, rows, _ = self.shape
        species, kinds = self.weights.species, self.weights.kinds
        slots = self.edges.receivers() * species
        if kinds is not None:
            slots = slots + kinds.index_select(0, senders)
        messages = y.unsqueeze(2) * values.unsqueeze(1)
        sums = messages.new_zeros((rows * species, *messages.shape[1:])).index_add(0, slots, messages)
        return sums.view(rows, species, harmonics, -1).permute(2, 0, 1, 3).flatten(2)


def read_tabulated(arguments: Sequence[Any]) -> Density:
    """What `FusedDensity.tabulated` tells its operator."""
    vectors, values, start, per_length, senders, starts, kinds, pairs, species, *sizes = _contiguous(arguments)
    table = Table(values, start, per_length, pairs, kinds, species)
    return Density(Edges(vectors, senders, starts), table, *sizes)


def read_weighted(arguments: Sequence[Any]) -> Density:
    """What `FusedDensity.weighted` tells its operator."""
    vectors, values, senders, starts, kinds, rows, species, *sizes = _contiguous(arguments)
    return Density(Edges(vectors, senders, starts), Given(values, rows, kinds, species), *sizes)


def _contiguous(values: Sequence[Any]) -> list[Any]:
    return [value.contiguous() if isinstance(value, Tensor) else value for value in values]


def _sums_tabulated(*arguments: Any) -> Tensor:
    return read_tabulated(arguments).sums()


def _sums_weighted(*arguments: Any) -> Tensor:
    return read_weighted(arguments).sums()


def _pull_tabulated(pull: Tensor, *arguments: Any) -> Tensor:
    return read_tabulated(arguments).pull(pull)[0]


def _pull_weighted(pull: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return read_weighted(arguments).pull(pull)


def _plain_tabulated(*arguments: Any) -> Tensor:
    density = read_tabulated(arguments)
    table = density.weights
    assert isinstance(table, Table)
    lengths, numbers = density.edges.vectors.norm(dim=1), table.numbers(density.edges)
    values = spline_values(lengths, table.values, table.start, table.per_length, density.functions, numbers)
    return density.composite(values.squeeze(1))


def _plain_weighted(*arguments: Any) -> Tensor:
    density = read_weighted(arguments)
    assert isinstance(density.weights, Given)
    return density.composite(density.weights.of_edges())


def _plain_pull_tabulated(pull: Tensor, vectors: Tensor, *rest: Any) -> Tensor:
    by_vectors: Tensor = torch.func.vjp(lambda vectors: _plain_tabulated(vectors, *rest), vectors)[1](pull)[0]
    return by_vectors


def _plain_pull_weighted(pull: Tensor, vectors: Tensor, weights: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    by_vectors, by_weights = torch.func.vjp(lambda *by: _plain_weighted(*by, *rest), vectors, weights)[1](pull)
    return by_vectors, by_weights


def _fake_tabulated(*arguments: Any) -> Tensor:
    density = read_tabulated(arguments)
    return density.edges.vectors.new_empty(density.shape)


def _fake_weighted(*arguments: Any) -> Tensor:
    density = read_weighted(arguments)
    return density.edges.vectors.new_empty(density.shape)


def _fake_pull_tabulated(pull: Tensor, vectors: Tensor, *rest: Any) -> Tensor:
    del pull, rest
    return vectors.new_empty(vectors.shape)


def _fake_pull_weighted(pull: Tensor, vectors: Tensor, weights: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    del pull, rest
    return vectors.new_empty(vectors.shape), weights.new_empty(weights.shape)


def _save_tabulated(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    vectors, table, ctx.start, ctx.per_length, senders, starts, kinds, pairs, *ctx.sizes = inputs
    ctx.save_for_backward(vectors, table, senders, starts, kinds, pairs)


def _derive_tabulated(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
    vectors, table, *others = ctx.saved_tensors
    arguments = vectors, table, ctx.start, ctx.per_length, *others, *ctx.sizes
    return torch.ops.halocline.density_tabulated_pull(pull, *arguments), *(None,) * 10


def _save_weighted(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *tensors, species, max_degree, functions = inputs
    ctx.sizes = species, max_degree, functions
    ctx.save_for_backward(*tensors)


def _derive_weighted(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
    return *torch.ops.halocline.density_weighted_pull(pull, *ctx.saved_tensors, *ctx.sizes), *(None,) * 7


_SIZES: Final = "int species, int max_degree, int functions"
_TABULATED: Final = (
    "Tensor vectors, Tensor table, float start, float per_length, Tensor senders, Tensor starts, Tensor? kinds, "
    f"Tensor? pairs, {_SIZES}"
)
_WEIGHTED: Final = (
    f"Tensor vectors, Tensor weights, Tensor senders, Tensor starts, Tensor? kinds, Tensor? rows, {_SIZES}"
)

#: What kernels that use densities name as theirs.
OPERATORS: Final = (
    define(
        f"density_tabulated({_TABULATED}) -> Tensor",
        _sums_tabulated,
        _fake_tabulated,
        _plain_tabulated,
        derivative=_derive_tabulated,
        saved=_save_tabulated,
        triton="density:sums_tabulated",
    ),
    define(
        f"density_tabulated_pull(Tensor pull, {_TABULATED}) -> Tensor",
        _pull_tabulated,
        _fake_pull_tabulated,
        _plain_pull_tabulated,
        triton="density:pull_tabulated",
    ),
    define(
        f"density_weighted({_WEIGHTED}) -> Tensor",
        _sums_weighted,
        _fake_weighted,
        _plain_weighted,
        derivative=_derive_weighted,
        saved=_save_weighted,
        triton="density:sums_weighted",
    ),
    define(
        f"density_weighted_pull(Tensor pull, {_WEIGHTED}) -> (Tensor, Tensor)",
        _pull_weighted,
        _fake_pull_weighted,
        _plain_pull_weighted,
        triton="density:pull_weighted",
    ),
)

"""Messages of MACE's layers, summed at their receivers and mixed.

Shapes: N atoms read, n atoms written, m components, C channels, P paths, S species, R functions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final, Protocol, final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from halocline.aggregation import EdgeBlock, RadialFunction, TabulatedFunction
from halocline.aggregation.edges import row_starts
from halocline.plugins.backbones.mace.radial import RadialNetwork
from halocline.plugins.backbones.mace.stages import Layer
from halocline.plugins.equivariance import natural_irreps
from halocline.plugins.fused.density import FusedDensity
from halocline.plugins.fused.maps import IrrepMaps
from halocline.plugins.fused.panels import PANEL, panelled, spline_grid, spline_panels, spline_weights
from halocline.plugins.fused.product import FusedProduct

#: Of the largest singular value of a table: functions below this are rounding in its precision.
_ROUNDING: Final = {torch.float32: 1e-8, torch.float64: 1e-14}

#: A density for every species of sender pays up to so many functions for each channel: what it saves at edges is
#: then more than what longer products cost at atoms.
_FUNCTIONS_OF_CHANNEL: Final = 2

#: The fewest functions that radial networks come down to, for an estimate before they are counted.
_FEWEST: Final = 32


class PullMessages(Protocol):
    """What gradients of messages do."""

    def __call__(self, gradient: Tensor, by_vectors: Tensor, *, by_features: bool) -> Tensor | None:
        """Add those by vectors to ``by_vectors``; return those by features (m, N, C), if there are such."""


class Messages(nn.Module):
    """What both kinds have: radial functions, from a table or as they are, and what mixes sums.

    Args:
        functions: radial ones.
        table: their splines if they have such, as operators take them.
        down: what mixes sums, for each degree (1 or S, K, C).
        sizes: components of each degree.
    """

    table: Tensor | None
    pairs: Tensor | None

    def __init__(
        self, functions: RadialFunction, table: Tensor | None, down: list[Tensor], sizes: list[int]
    ) -> None:
        super().__init__()
        tabulated = isinstance(functions, TabulatedFunction)
        self.functions = None if tabulated else functions
        self.grid = spline_grid(functions) if isinstance(functions, TabulatedFunction) else (0.0, 0.0)
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("pairs", functions.pairs if tabulated else None, persistent=False)
        self.down = IrrepMaps(down, sizes)

    def forward(self, block: EdgeBlock, features: Tensor, rows: Tensor, own: Tensor) -> Tensor:
        """Features (m, N, C), species of all atoms (N,) and of those written (n,) → mixed sums (M, n, C)."""
        starts = _starts(block)
        if self.table is not None:
            sums = self._tabulated(block, starts, features, rows, self.table)
        else:
            assert self.functions is not None
            values = block.radial_of_pairs(self.functions, rows)
            of_edges = None if block.pairs is None else block.pair_of
            sums = self._weighted(block, starts, features, rows, values, of_edges)
        result: Tensor = self.down(sums, own)
        return result

    def linearized(
        self, block: EdgeBlock, features: Tensor, rows: Tensor, own: Tensor
    ) -> tuple[Tensor, PullMessages] | None:
        """The same without autograd, and its derivative; None where there is no table.

        Arguments are as for `forward`.
        """
        if self.table is None:
            return None
        edges = block.vectors.contiguous(), self.table, self.grid, block.senders.contiguous(), _starts(block)
        sums, pull_sums = self._linearized(edges, features, rows)

        def pull(gradient: Tensor, by_vectors: Tensor, *, by_features: bool) -> Tensor | None:
            by_sums, _ = self.down.pulled(gradient, own, sums.shape)
            return pull_sums(by_sums, by_vectors, by_features=by_features)

        return self.down.values(sums, own), pull

    @abstractmethod
    def _linearized(self, edges: tuple[Any, ...], features: Tensor, rows: Tensor) -> tuple[Tensor, PullMessages]:
        """Sums with functions from the table, and their derivative."""

    @abstractmethod
    def _tabulated(
        self, block: EdgeBlock, starts: Tensor, features: Tensor, rows: Tensor, table: Tensor
    ) -> Tensor:
        """Sums with functions from the table."""

    @abstractmethod
    def _weighted(
        self,
        block: EdgeBlock,
        starts: Tensor,
        features: Tensor,
        rows: Tensor,
        values: Tensor,
        of_edges: Tensor | None,
    ) -> Tensor:
        """Sums with values of the functions, and which of them each edge has; None if each has its own."""


@final
class ProductMessages(Messages):
    """Σ_j Y(r_ij) ⊗ w(r_ij) W x_j, for all paths and channels, mixed.

    Args:
        plain: the layer, in float64.
        down: what mixes sums, for each degree (1 or S, P · C, C).
        dtype: that it will be cast to.
        device: kind of device that it will run on.
    """

    def __init__(self, plain: Layer, down: list[Tensor], dtype: torch.dtype, device: str) -> None:
        functions: RadialFunction = plain.weights
        table = spline_panels(functions, plain.channels) if isinstance(functions, TabulatedFunction) else None
        super().__init__(functions, table, down, plain.contraction.sizes)
        before, between = natural_irreps(len(plain.before) - 1), natural_irreps(plain.max_degree)
        self.up = IrrepMaps([weight[None] for weight in plain.up.weights], [irrep.dimension for irrep in before])
        self.product = FusedProduct(before, between, between, plain.channels)
        self.product.prepare(dtype, device, tabulated=table is not None)

    def _tabulated(
        self, block: EdgeBlock, starts: Tensor, features: Tensor, rows: Tensor, table: Tensor
    ) -> Tensor:
        edges, kinds = (block.senders, starts), None if self.pairs is None else rows
        sent = self.up(features, rows)
        return self.product.tabulated(sent, block.vectors, table, self.grid, *edges, kinds, self.pairs)

    def _weighted(
        self,
        block: EdgeBlock,
        starts: Tensor,
        features: Tensor,
        rows: Tensor,
        values: Tensor,
        of_edges: Tensor | None,
    ) -> Tensor:
        sent = self.up(features, rows)
        return self.product.weighted(sent, block.vectors, values, block.senders, starts, of_edges)

    def _linearized(self, edges: tuple[Any, ...], features: Tensor, rows: Tensor) -> tuple[Tensor, PullMessages]:
        kinds = None if self.pairs is None else rows
        sums, pull_sums = self.product.linearized(self.up.values(features, rows), *edges, kinds, self.pairs)

        def pull(gradient: Tensor, by_vectors: Tensor, *, by_features: bool) -> Tensor | None:
            by_sent = pull_sums(gradient, by_vectors)
            return self.up.pulled(by_sent, rows, features.shape)[0] if by_features else None

        return sums, pull


@final
class DensityMessages(Messages):
    """The same where x_j is a vector of the species of j: Σ_j Y(r_ij) u(r_ij) for each species, mixed.

    Radial functions are combinations of a few, w = Vu: of hidden units, or of what those of a table come down to.
    V, x, W and what mixes sums are one matrix for each degree.

    Args:
        plain: the first layer, in float64.
        down: see `ProductMessages`.
        functions: u, R of them; a table of splines if their values are given beside.
        values: of the splines, (F, K + 7, R), or None.
        mixing: V, (R, P, C).
        dtype: that it will be cast to.
        device: kind of device that it will run on.
    """

    def __init__(
        self,
        plain: Layer,
        down: list[Tensor],
        functions: RadialFunction,
        values: Tensor | None,
        mixing: Tensor,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        sent = plain.found[0].detach().double() @ plain.up.weights[0].detach()
        # Of each degree there is one path, whose coupling with scalars is 1.
        matrices = [
            torch.einsum("rc,sc,tcd->tsrd", mixing[:, degree], sent, matrix).flatten(1, 2)
            for degree, matrix in enumerate(down)
        ]
        table = None if values is None else panelled(values.unsqueeze(2))
        super().__init__(functions, table, matrices, plain.contraction.sizes)
        self.species, self.density = len(sent), FusedDensity(plain.max_degree, len(mixing))
        self.density.prepare(dtype, device, tabulated=table is not None)

    def _tabulated(
        self, block: EdgeBlock, starts: Tensor, features: Tensor, rows: Tensor, table: Tensor
    ) -> Tensor:
        edges = block.senders, starts, self.species
        return self.density.tabulated(block.vectors, table, self.grid, *edges, rows, self.pairs)

    def _weighted(
        self,
        block: EdgeBlock,
        starts: Tensor,
        features: Tensor,
        rows: Tensor,
        values: Tensor,
        of_edges: Tensor | None,
    ) -> Tensor:
        edges = block.senders, starts, self.species
        return self.density.weighted(block.vectors, values, *edges, rows, of_edges)

    def _linearized(self, edges: tuple[Any, ...], features: Tensor, rows: Tensor) -> tuple[Tensor, PullMessages]:
        del features
        sums, pull_sums = self.density.linearized(*edges, self.species, rows, self.pairs)

        def pull(gradient: Tensor, by_vectors: Tensor, *, by_features: bool) -> Tensor | None:
            del by_features  # nobody's forces depend on them
            pull_sums(gradient, by_vectors)
            return None

        return sums, pull


def _starts(block: EdgeBlock) -> Tensor:
    return row_starts(block.receivers, block.n_out) if block.row_starts is None else block.row_starts


def messages(plain: Layer, down: list[Tensor], dtype: torch.dtype, device: str) -> Messages:
    """Those of a layer, of the kind that costs less.

    Args:
        plain: the layer, in float64.
        down: what mixes sums, for each degree (1 or S, P · C, C).
        dtype: that it will be cast to.
        device: kind of device that it will run on.

    Raises:
        KernelError: they cannot be compiled.
    """
    most = _FUNCTIONS_OF_CHANNEL * plain.channels
    if plain.found and len(plain.found[0]) * _FEWEST <= most:
        functions, values, mixing = _factors(plain.weights, plain.channels, _ROUNDING[dtype])
        if len(plain.found[0]) * len(mixing) <= most:
            return DensityMessages(plain, down, functions, values, mixing, dtype, device)
    return ProductMessages(plain, down, dtype, device)


def _factors(
    weights: RadialFunction, channels: int, rounding: float
) -> tuple[RadialFunction, Tensor | None, Tensor]:
    """Functions u, their splines if they have such, and V, so that weights are Vu; see `DensityMessages`."""
    if isinstance(weights, TabulatedFunction):
        numbers = spline_weights(weights, channels).flatten(2)
        left, singular, right = torch.linalg.svd(numbers.flatten(0, 1), full_matrices=False)
        count = int((singular > rounding * singular[0]).sum())
        more = -count % PANEL
        values = torch.unflatten(pad(left[:, :count] * singular[:count], (0, more)), 0, numbers.shape[:2])
        return weights, values, torch.unflatten(pad(right[:count], (0, 0, 0, more)), 1, (-1, channels))
    assert isinstance(weights, RadialNetwork)
    return HiddenUnits(weights), None, torch.unflatten(weights.mixing.T, 1, (-1, channels))


@final
class HiddenUnits(RadialFunction):
    """A network on radial functions without its last layer.

    Args:
        network: the whole.
    """

    def __init__(self, network: RadialNetwork) -> None:
        super().__init__()
        self.start, self.end, self.pairs = network.start, network.end, network.pairs
        self.network, self.channels = network, network.mixing.shape[1]

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`."""
        return self.network.hidden(distances, numbers)

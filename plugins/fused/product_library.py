"""A channelwise product as compiled C++, and the same in plain operations."""

from __future__ import annotations

import ctypes
from functools import cache
from itertools import accumulate, pairwise
from typing import Final, final

import torch
from torch import Tensor

from halocline.errors import KernelError
from halocline.plugins.equivariance import ChannelwiseProduct, parse_irreps, spherical_harmonics
from halocline.plugins.fused.edge_library import Edges, Given, Table, call_pull, call_sums, load, source
from halocline.plugins.fused.product_source import ProductSource

#: Vectors of channels that the pass in reverse works on together, so that what they add up to for an edge is
#: summed over lanes once; and vectors that gradients of a receiver may become when they are contracted with
#: couplings, so that the nearest cache holds them.
_WIDEST: Final = 4
_AT_HAND: Final = 256


@final
class ProductLibrary:
    """Everything that follows from what operators are told of a product.

    Args:
        spec: irreps of features, of harmonics and of results, and the number of channels, with lines in between.

    Raises:
        KernelError: the harmonics are not all those up to a degree.
    """

    def __init__(self, spec: str) -> None:
        *irreps, channels = spec.split("|")
        self.left, self.right, self.out = ([irrep for _, irrep in parse_irreps(text)] for text in irreps)
        self.channels, self.max_degree = int(channels), len(self.right) - 1
        if [irrep.degree for irrep in self.right] != list(range(len(self.right))):
            raise KernelError(f"its harmonics are {irreps[1]}, not all up to a degree")
        self.source = ProductSource(self.left, self.right, self.out)
        self._loaded: dict[tuple[torch.dtype, bool], ctypes.CDLL] = {}
        self._modules: dict[tuple[torch.dtype, torch.device], ChannelwiseProduct] = {}

    def load(self, dtype: torch.dtype, *, tabulated: bool) -> ctypes.CDLL:
        """The library, compiled if that was not done before.

        Raises:
            KernelError: it cannot be had here.
        """
        key = dtype, tabulated
        if key not in self._loaded:
            width = min(_WIDEST, max(1, _AT_HAND // self.source.contracted))
            functions = self.source.before(), self.source.after()
            sizes = self.channels, width, self.max_degree
            self._loaded[key] = load(
                "product", source(dtype, *sizes, *functions, tabulated=tabulated, by_kind=False)
            )
        return self._loaded[key]

    def sums(self, x: Tensor, edges: Edges, weights: Table | Given) -> Tensor:
        """Products (K · n_out, C), added up at receivers."""
        return call_sums(
            self.load(x.dtype, tabulated=isinstance(weights, Table)), self.shape(edges), x, edges, weights
        )

    def pull(
        self, pull: Tensor, x: Tensor, edges: Edges, weights: Table | Given, by_vectors: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients by features, vectors and weights, from one by the sums; see `call_pull`."""
        loaded = self.load(x.dtype, tabulated=isinstance(weights, Table))
        return call_pull(loaded, pull, x, edges, weights, by_vectors)

    def shape(self, edges: Edges) -> tuple[int, int]:
        """Of the sums."""
        return self.source.rows * edges.starts.shape[0], self.channels

    def composite(self, x: Tensor, edges: Edges, weights: Tensor) -> Tensor:
        """What `sums` computes, in plain operations, of weights (E, P, C)."""
        key = x.dtype, x.device
        if key not in self._modules:
            self._modules[key] = ChannelwiseProduct(self.left, self.right, self.out).to(x)
        module, receivers, rows = self._modules[key], edges.receivers(), edges.starts.shape[0]
        directions = edges.vectors / edges.vectors.norm(dim=1, keepdim=True)
        sent = x.transpose(0, 1).index_select(0, edges.senders)

        def add_up(messages: Tensor) -> Tensor:
            return messages.new_zeros((rows, *messages.shape[1:])).index_add(0, receivers, messages)

        sums = module(sent, spherical_harmonics(directions, self.max_degree), weights, add_up)
        places = pairwise(accumulate(module.of_out, initial=0))
        of_out = [torch.stack(sums[first:last], 2).transpose(0, 1) for first, last in places if first < last]
        return torch.cat([each.flatten(0, 2) for each in of_out])


@cache
def product_library(spec: str) -> ProductLibrary:
    """The one of each product in this process."""
    return ProductLibrary(spec)

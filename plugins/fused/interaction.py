"""An interaction and a readout of SchNet, each in one compiled call forward and one back, without autograd.

An interaction with filters w from a table takes features x to

    x_i + W₃ φ(W₂ Σ_j w(r_ij) W₁ x_j + b₂) + b₃,    φ(h) = log(1 + exp(h)) - log 2,

and a readout to energies w₅ · φ(W₄ x_i + b₄) + b₅ (interaction.cpp). Atoms go through matrices in pieces, and what
follows a product is done to it where it is. In whole structures an edge and its opposite share one look into the
table (paired.h). Each row has one writer, and one order of edges, so the number of threads changes no bit.

Shapes: N atoms read, n atoms written, E edges, C channels, a multiple of `fused.rows.CHANNELS`; H hidden units,
rounded up to whole panels.
"""

from __future__ import annotations

import ctypes
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from halocline.plugins.fused.operators import SUFFIX, address, c_function
from halocline.plugins.fused.packing import WIDE, panels, rounded
from halocline.plugins.fused.reused import REUSED
from halocline.plugins.fused.rows import Rows

#: Arguments of compiled functions: sizes, addresses, threads.
_THERE: Final = "i" * 5 + "p" * 10 + "i"
_BACK: Final = "i" * 5 + "p" * 12 + "i"
_READOUT: Final = "i" * 3 + "p" * 4 + "i"
_PAIRED: Final = "i" * 2 + "p" * 5


@final
class Convolved:
    """What an interaction convolves with; all tensors in one piece of memory each.

    Args:
        weights: see `packed_interaction`.
        table: (4 (K + 2), C), see `fused.table_convolution.convolve_table`.
        grid: (2,), likewise.
        vectors: (E, 3), Å.
        there: edges by receiver, in order.
        back: by sender; both from `rows_of`.

    Attributes:
        atoms: N.
        rows: n.
        told: compiled code of all this: N, n, E, C, K and addresses.
        there: as given, and so is ``back``.
    """

    __slots__ = ("_alive", "atoms", "back", "rows", "there", "told")

    def __init__(
        self, weights: Tensor, table: Tensor, grid: Tensor, vectors: Tensor, there: Rows, back: Rows
    ) -> None:
        self._alive = tensors = weights, table, grid, vectors
        self.atoms, self.rows, self.there, self.back = back.starts.shape[0], there.starts.shape[0], there, back
        rows, channels = table.shape
        sizes = self.atoms, self.rows, vectors.shape[0], channels, rows // 4 - 2
        opposite = address(back.order) if _are_paired(there, back, vectors) else None
        self.told = *sizes, *(tensor.data_ptr() for tensor in tensors), opposite


def packed_interaction(sender: nn.Linear, receiver: nn.Linear, out: nn.Linear) -> Tensor:
    """All weights of an interaction in one row: of its three maps forward, then back, then offsets."""
    matrices = [layer.weight.detach() for layer in (sender, receiver, out)]
    rows = [*(_panelled(matrix.T) for matrix in matrices), *map(_panelled, matrices)]
    return torch.cat([*rows, *(_filled(layer.bias.detach()) for layer in (receiver, out))])


def packed_readout(hidden: nn.Linear, out: nn.Linear) -> Tensor:
    """All weights of a readout in one row."""
    missing = rounded(hidden.out_features) - hidden.out_features
    matrix = pad(hidden.weight.detach(), (0, 0, 0, missing))
    offsets = _filled(hidden.bias.detach()), _filled(out.weight.detach()[0]), out.bias.detach()
    return torch.cat([_panelled(matrix.T), _panelled(matrix), *offsets])


def interact(x: Tensor, over: Convolved) -> tuple[Tensor, Tensor]:
    """Features (n, C) from x (N, C); and for `interact_back`, what was sent and the slopes of φ, (N + n, C)."""
    channels = x.shape[1]
    updated = x.new_empty((over.rows, channels))
    kept = REUSED.empty((over.atoms + over.rows, channels), x.dtype)
    call = c_function("interaction", f"interact_{SUFFIX[x.dtype]}", _THERE)
    ends = over.there.starts.data_ptr(), over.there.others.data_ptr()
    call(*over.told, *ends, x.data_ptr(), updated.data_ptr(), kept.data_ptr(), torch.get_num_threads())
    return updated, kept


def interact_back(
    gradients: Tensor, kept: Tensor, over: Convolved, by_vectors: Tensor, *, by_x: bool
) -> Tensor | None:
    """What an interaction owes to x, (N, C), if that is wanted, and to vectors.

    Args:
        gradients: (n, C), by its result.
        kept: as `interact` gave it, and of no use any more.
        over: as there.
        by_vectors: (E, 3), to which those by vectors are added.
        by_x: whether those by x are wanted.
    """
    found = kept.new_empty((over.atoms, kept.shape[1])) if by_x else None
    call = c_function("interaction", f"interact_back_{SUFFIX[kept.dtype]}", _BACK)
    ends = over.back.starts.data_ptr(), address(over.back.order), over.back.others.data_ptr()
    tensors = gradients.data_ptr(), kept.data_ptr(), address(found), by_vectors.data_ptr()
    call(*over.told, *ends, *tensors, torch.get_num_threads())
    return found


def read_out(weights: Tensor, x: Tensor, units: int) -> tuple[Tensor, Tensor]:
    """Energies (n,) of x (n, C); and their derivatives by hidden units, (n, H), for `read_out_back`."""
    atoms, channels = x.shape
    energies, by_hidden = x.new_empty(atoms), x.new_empty((atoms, rounded(units)))
    call = c_function("interaction", f"read_out_{SUFFIX[x.dtype]}", _READOUT)
    tensors = weights.data_ptr(), x.data_ptr(), energies.data_ptr(), by_hidden.data_ptr()
    call(atoms, channels, by_hidden.shape[1], *tensors, torch.get_num_threads())
    return energies, by_hidden


def read_out_back(weights: Tensor, gradients: Tensor, by_hidden: Tensor, channels: int) -> Tensor:
    """Gradients by x, (n, C), of those by energies, (n,)."""
    atoms, units = by_hidden.shape
    by_x = by_hidden.new_empty((atoms, channels))
    call = c_function("interaction", f"read_out_back_{SUFFIX[by_x.dtype]}", _READOUT)
    tensors = weights.data_ptr(), gradients.data_ptr(), by_hidden.data_ptr(), by_x.data_ptr()
    call(atoms, channels, units, *tensors, torch.get_num_threads())
    return by_x


def _are_paired(there: Rows, back: Rows, vectors: Tensor) -> bool:
    """Whether opposite edges of a whole structure can be taken together.

    Not where vectors are no opposites, as those of somebody who differentiates by one edge. Nor in other orders,
    such as in parts whose halo has all atoms: sums would depend on the number of threads.
    """
    if back.starts is not there.starts or back.order is None:  # somebody has sorted them
        return False
    found = ctypes.c_int64()
    ends = address(there.starts), address(there.others), address(back.order), address(vectors)
    c_function("interaction", f"are_paired_{SUFFIX[vectors.dtype]}", _PAIRED)(
        there.starts.shape[0], there.others.shape[0], *ends, ctypes.addressof(found)
    )
    return bool(found.value)


def _panelled(matrix: Tensor) -> Tensor:
    """A matrix (in, out) in panels of columns, zeros in those that fill up the last one."""
    return panels(pad(matrix, (0, rounded(matrix.shape[1]) - matrix.shape[1])), WIDE)


def _filled(row: Tensor) -> Tensor:
    return pad(row, (0, rounded(len(row)) - len(row)))

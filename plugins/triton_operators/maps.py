"""Linear maps of irreps; see `halocline.plugins.fused.maps`, whose operators have these arguments.

They are torch's products of matrices. Atoms of one species are brought together for theirs, and results back: the
host waits for how many there are of each, unless there is one matrix for all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from halocline.plugins.fused.maps import parts_of, read_maps, shaped, shaped_pulls


def mapped(
    first: Tensor, second: Tensor | None, matrices: Tensor, panels: Tensor, rows: Tensor, described: str
) -> Tensor:
    """Both arrays mapped and added, (m, n, C)."""
    maps, result, filled = read_maps(described), shaped(first, second, matrices, panels, rows, described), 0
    groups = _Groups(rows, max(maps.species))
    arrays = [first.contiguous(), None if second is None else second.contiguous()]
    for part in parts_of(arrays, matrices, rows, maps):
        groups.multiply(part.numbers, part.weight, result[part.result], add=part.result.start < filled)
        filled = max(filled, part.result.stop)
    return result


def pulls(
    gradient: Tensor,
    matrices: Tensor,
    panels: Tensor,
    rows: Tensor,
    first: list[int],
    second: list[int],
    described: str,
) -> tuple[Tensor, Tensor]:
    """Gradients by both arrays."""
    maps, pulled = read_maps(described), shaped_pulls(gradient, matrices, panels, rows, first, second, described)
    groups, gradient = _Groups(rows, max(maps.species)), gradient.contiguous()
    arrays = [array.zero_() if array.ndim > 1 else None for array in pulled]  # some of it nobody read
    for part in parts_of(arrays, matrices, rows, maps):
        groups.multiply(gradient[part.result], part.weight.transpose(1, 2), part.numbers, add=False)
    return pulled


class _Groups:
    """Atoms by the matrix that they are multiplied with.

    Args:
        rows: (n,) int64, the number of that matrix.
        species: how many matrices there are; rows do not count if there is one.
    """

    def __init__(self, rows: Tensor, species: int) -> None:
        self._atoms = rows.shape[0]
        self._counts = torch.bincount(rows, minlength=species).tolist() if species > 1 else [self._atoms]
        present = [number for number, count in enumerate(self._counts) if count]
        self._only = present[0] if len(present) == 1 else None
        self._order = rows if self._only is not None else torch.argsort(rows, stable=True)

    def multiply(self, part: Tensor, weight: Tensor, target: Tensor, *, add: bool) -> None:
        """Rows (d, N, K) of the first n atoms times their matrices of (S or 1, K, C), into targets (d, N', C)."""
        atoms, one = self._atoms, 0 if weight.shape[0] == 1 else self._only
        if not atoms:
            return
        if one is None:
            self._by_species(part, weight, target, add=add)
        elif part.shape[1] == target.shape[1] == atoms:
            _into(target.flatten(0, 1), part.flatten(0, 1), weight[one], add=add)
        else:
            for own, read in zip(target, part, strict=True):
                _into(own[:atoms], read[:atoms], weight[one], add=add)

    def _by_species(self, part: Tensor, weight: Tensor, target: Tensor, *, add: bool) -> None:
        components = torch.arange(part.shape[0], device=part.device)[:, None]
        sorted_atoms = torch.split(self._order, self._counts)
        read = torch.cat([(components * part.shape[1] + atoms).flatten() for atoms in sorted_atoms])
        written = torch.cat([(components * target.shape[1] + atoms).flatten() for atoms in sorted_atoms])
        ordered = part.flatten(0, 1).index_select(0, read)
        mixed = ordered.new_empty((ordered.shape[0], target.shape[2]))
        counts = [count * part.shape[0] for count in self._counts]
        products = zip(torch.split(mixed, counts), torch.split(ordered, counts), weight, strict=True)
        for own, rows, matrix in products:
            _into(own, rows, matrix, add=False)
        flat = target.flatten(0, 1)
        flat.index_copy_(0, written, flat.index_select(0, written) + mixed if add else mixed)


def _into(target: Tensor, rows: Tensor, matrix: Tensor, *, add: bool) -> None:
    """Write a product, or add it to what is there."""
    if add:
        target.addmm_(rows, matrix)
    else:
        torch.mm(rows, matrix, out=target)

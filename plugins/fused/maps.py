"""Linear maps of irreps with a matrix for each degree, or for each degree and species, without copies between.

Components are outermost in memory, so those of one degree, of all atoms, are the rows of one plain matrix. What
comes out is written where it belongs; put together from products in plain operations, it would be copied twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, islice
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor, nn

from halocline.plugins.fused.operators import define


@final
class Maps(NamedTuple):
    """Which parts of two arrays are multiplied, with matrices of which shape, and where results go.

    Each array holds parts (2l + 1, N, K) one after the other, for N atoms; further ones may follow, unread.

    Attributes:
        parts: how many of the first array are read, and of the second.
        sizes: of each part, 2l + 1.
        widths: of each part, K.
        species: of each part, 1 for one matrix or S for one for each species.
        firsts: of each part, the component of the result that it begins at: from 0 on without gaps. Those of the
            second array are added to those of the first.
    """

    parts: tuple[int, int]
    sizes: tuple[int, ...]
    widths: tuple[int, ...]
    species: tuple[int, ...]
    firsts: tuple[int, ...]

    @property
    def described(self) -> str:
        """For the schemas of operators, which have no such lists of lists."""
        return ";".join(",".join(map(str, each)) for each in self)


@cache
def _read(description: str) -> Maps:
    return Maps(*(tuple(map(int, each.split(","))) for each in description.split(";")))  # type: ignore[arg-type]


def mapped(first: Tensor, second: Tensor | None, matrices: Tensor, rows: Tensor, maps: Maps) -> Tensor:
    """The first n atoms of one or two arrays mapped, (m, n, C); differentiable once, by the arrays.

    Args:
        first: (m', N, K) with N of n or more; or of any shape, for n atoms.
        second: likewise, or None.
        matrices: of all parts, (1, K, C) or (S, K, C), one after the other: (..., C).
        rows: (n,) int64, the species of each atom; where there is one matrix, only their number counts.
        maps: what is done.
    """
    result: Tensor = torch.ops.halocline.irrep_maps(first, second, matrices, rows, maps.described)
    return result


class _Part(NamedTuple):
    """One of the parts of an array.

    Attributes:
        numbers: (2l + 1, N, K).
        weight: (1, K, C) or (S, K, C).
        result: components that it belongs to.
    """

    numbers: Tensor
    weight: Tensor
    result: slice


def _parts(arrays: Sequence[Tensor | None], matrices: Tensor, rows: Tensor, maps: Maps) -> Iterator[_Part]:
    """Views of contiguous arrays, and the matrices that belong to them."""
    described = zip(maps.sizes, maps.widths, maps.species, maps.firsts, strict=True)
    done = 0
    for array, count in zip(arrays, maps.parts, strict=True):
        start = 0
        for size, width, species, component in islice(described, count):
            weight = matrices[done : done + species * width].view(species, width, -1)
            done += species * width
            if array is not None:
                atoms = array.shape[1] if array.ndim == 3 else rows.shape[0]
                end = start + size * atoms * width
                numbers = array.view(-1)[start:end].view(size, atoms, width)
                yield _Part(numbers, weight, slice(component, component + size))
                start = end


def _map(first: Tensor, second: Tensor | None, matrices: Tensor, rows: Tensor, described: str) -> Tensor:
    maps, result, filled = _read(described), _shaped(first, second, matrices, rows, described), 0
    groups = _Groups.of(rows, max(maps.species))
    arrays = [first.contiguous(), None if second is None else second.contiguous()]
    for part in _parts(arrays, matrices, rows, maps):
        groups.multiply(part.numbers, part.weight, result[part.result], add=part.result.start < filled)
        filled = max(filled, part.result.stop)
    return result


def _pull(
    gradient: Tensor, matrices: Tensor, rows: Tensor, first: list[int], second: list[int], described: str
) -> tuple[Tensor, Tensor]:
    maps, pulled = _read(described), _shaped_vjp(gradient, matrices, rows, first, second, described)
    groups, gradient = _Groups.of(rows, max(maps.species)), gradient.contiguous()
    arrays = [array if array.ndim > 1 else None for array in pulled]
    for array, sizes in zip(arrays, _sizes_read(maps), strict=True):
        if array is not None and array.ndim == 3:  # what nobody read
            array[:, rows.shape[0] :] = 0.0
            array[sizes:] = 0.0
    for part in _parts(arrays, matrices, rows, maps):
        groups.multiply(gradient[part.result], part.weight.transpose(1, 2), part.numbers, add=False)
    return pulled


def _sizes_read(maps: Maps) -> tuple[int, int]:
    """Components of each array that are multiplied."""
    count = maps.parts[0]
    return sum(maps.sizes[:count]), sum(maps.sizes[count:])


class _Groups:
    """Atoms by the matrix that they are multiplied with.

    Args:
        rows: (n,) int64, the number of that matrix.
        counts: how many atoms each matrix has.
    """

    def __init__(self, rows: Tensor, counts: list[int]) -> None:
        self._atoms, self._counts = rows.shape[0], counts
        present = [number for number, count in enumerate(counts) if count]
        self._only = present[0] if len(present) == 1 else None
        self._order = rows if self._only is not None else torch.argsort(rows, stable=True)

    @classmethod
    def of(cls, rows: Tensor, species: int) -> _Groups:
        """Those of the species of atoms, if there is a matrix for each."""
        counts = torch.bincount(rows, minlength=species).tolist() if species > 1 else [rows.shape[0]]
        return cls(rows, counts)

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
        """Rows are brought in order and back, which costs less than it saves."""
        components = torch.arange(part.shape[0])[:, None]
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
        if add:
            flat.index_add_(0, written, mixed)
        else:
            flat.index_copy_(0, written, mixed)


def _into(target: Tensor, rows: Tensor, matrix: Tensor, *, add: bool) -> None:
    """Write a product, or add it to what is there."""
    if add:
        target.addmm_(rows, matrix)
    else:
        torch.mm(rows, matrix, out=target)


def _composite(first: Tensor, second: Tensor | None, matrices: Tensor, rows: Tensor, described: str) -> Tensor:
    found: list[Tensor] = []
    arrays = [first.contiguous(), None if second is None else second.contiguous()]
    for part in _parts(arrays, matrices, rows, _read(described)):
        own = _multiplied(part.numbers[:, : rows.shape[0]], part.weight, rows)
        for place, one in enumerate(own.unbind(0), start=part.result.start):
            if place < len(found):
                found[place] = found[place] + one
            else:
                found.append(one)
    return torch.stack(found)


def _composite_vjp(
    gradient: Tensor, matrices: Tensor, rows: Tensor, first: list[int], second: list[int], described: str
) -> tuple[Tensor, ...]:
    found = []
    for place, shape in enumerate((first, second)):
        array = gradient.new_zeros(shape)
        asked = [array if len(shape) > 1 and place == own else None for own in range(2)]
        pulled = [
            _padded(_multiplied(gradient[part.result], part.weight.transpose(1, 2), rows), part.numbers.shape[1])
            for part in _parts(asked, matrices, rows, _read(described))
        ]
        rest = array.numel() - sum(each.numel() for each in pulled)
        found.append(torch.cat([*(each.flatten() for each in pulled), gradient.new_zeros(rest)]).view(shape))
    return tuple(found)


def _padded(part: Tensor, atoms: int) -> Tensor:
    """Zeros for the atoms beyond those of a part (d, n, K)."""
    return torch.cat([part, part.new_zeros((part.shape[0], atoms - part.shape[1], part.shape[2]))], 1)


def _multiplied(part: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
    """Rows (d, n, K) times the matrices (S, K, C) of their species."""
    if weight.shape[0] == 1:
        return part @ weight[0]
    return (part.transpose(0, 1) @ weight.index_select(0, rows)).transpose(0, 1)


def _shaped(first: Tensor, second: Tensor | None, matrices: Tensor, rows: Tensor, described: str) -> Tensor:
    del second
    return first.new_empty((max(_sizes_read(_read(described))), rows.shape[0], matrices.shape[1]))


def _shaped_vjp(
    gradient: Tensor, matrices: Tensor, rows: Tensor, first: Sequence[int], second: Sequence[int], described: str
) -> tuple[Tensor, Tensor]:
    del matrices, rows, described
    return gradient.new_empty(first), gradient.new_empty(second)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    first, second, matrices, rows, ctx.described = inputs
    ctx.shapes = [[0] if array is None else list(array.shape) for array in (first, second)]
    ctx.save_for_backward(matrices, rows)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    needed = ctx.needs_input_grad[:2]
    shapes = [shape if own else [0] for own, shape in zip(needed, ctx.shapes, strict=True)]
    pulled = torch.ops.halocline.irrep_maps_vjp(gradient, *ctx.saved_tensors, *shapes, ctx.described)
    return *(each if own else None for own, each in zip(needed, pulled, strict=True)), None, None, None


#: What kernels that use maps name as theirs.
OPERATORS: Final = (
    define(
        "irrep_maps(Tensor first, Tensor? second, Tensor matrices, Tensor rows, str maps) -> Tensor",
        _map,
        _shaped,
        _composite,
        derivative=_backward,
        saved=_remember,
    ),
    define(
        "irrep_maps_vjp(Tensor gradient, Tensor matrices, Tensor rows, SymInt[] first, SymInt[] second, str maps) "
        "-> (Tensor, Tensor)",
        _pull,
        _shaped_vjp,
        _composite_vjp,
    ),
)


@final
class IrrepMaps(nn.Module):
    """Linear maps of the degrees that one or two arrays hold.

    Args:
        matrices: of the degrees of the first array, (1, K, C) or (S, K, C) each.
        sizes: of these degrees, 2l + 1.
        others: of the second array, from degree 0 on.
        other_sizes: of these.
    """

    matrices: Tensor

    def __init__(
        self,
        matrices: list[Tensor],
        sizes: list[int],
        others: Sequence[Tensor] = (),
        other_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        every, firsts = [*matrices, *others], list(accumulate(sizes, initial=0))
        self.register_buffer("matrices", torch.cat([m.detach().flatten(0, 1) for m in every]), persistent=False)
        self._maps = Maps(
            (len(matrices), len(others)),
            (*sizes, *other_sizes),
            tuple(matrix.shape[1] for matrix in every),
            tuple(matrix.shape[0] for matrix in every),
            (*firsts[: len(matrices)], *firsts[: len(others)]),
        )

    def forward(self, first: Tensor, rows: Tensor, second: Tensor | None = None) -> Tensor:
        """See `mapped`."""
        return mapped(first, second if self._maps.parts[1] else None, self.matrices, rows, self._maps)

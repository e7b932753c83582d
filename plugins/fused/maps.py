"""Linear maps of irreps with a matrix for each degree, or for each degree and species, without copies between.

Components are outermost in memory, so those of one degree, of all atoms, are the rows of one plain matrix. What
comes out is written where it belongs; put together from products in plain operations, it would be copied twice.
Products are those of maps.cpp, which find rows by their atoms: those of one species need not be brought together.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate, chain, islice
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from halocline.plugins.fused.operators import SUFFIX, address, c_function, define

#: Columns of a packed matrix that lie together, as maps.cpp has them.
PANEL: Final = 64


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
def read_maps(description: str) -> Maps:
    """Maps from what operators are told."""
    return Maps(*(tuple(map(int, each.split(","))) for each in description.split(";")))  # type: ignore[arg-type]


def mapped(
    first: Tensor, second: Tensor | None, matrices: Tensor, panels: Tensor, rows: Tensor, maps: Maps
) -> Tensor:
    """The first n atoms of one or two arrays mapped, (m, n, C); differentiable once, by the arrays.

    Args:
        first: (m', N, K) with N of n or more; or of any shape, for n atoms.
        second: likewise, or None.
        matrices: of all parts, (1, K, C) or (S, K, C), one after the other: (..., C).
        panels: the same `packed`, which is what processors read.
        rows: (n,) int64, the species of each atom; where there is one matrix, only their number counts.
        maps: what is done.
    """
    result: Tensor = torch.ops.halocline.irrep_maps(first, second, matrices, panels, rows, maps.described)
    return result


class Part(NamedTuple):
    """One of the parts of an array.

    Attributes:
        numbers: (2l + 1, N, K).
        weight: (1, K, C) or (S, K, C).
        result: components that it belongs to.
    """

    numbers: Tensor
    weight: Tensor
    result: slice


def parts_of(arrays: Sequence[Tensor | None], matrices: Tensor, rows: Tensor, maps: Maps) -> Iterator[Part]:
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
                yield Part(numbers, weight, slice(component, component + size))
                start = end


def _map(
    first: Tensor, second: Tensor | None, matrices: Tensor, panels: Tensor, rows: Tensor, described: str
) -> Tensor:
    result = shaped(first, second, matrices, panels, rows, described)
    atoms, first, rows = rows.shape[0], first.contiguous(), rows.contiguous()
    second = None if second is None else second.contiguous()
    arrays = address(first), _atoms_of(first, atoms), address(second), _atoms_of(second, atoms)
    told = address(panels), address(rows), address(result), atoms, torch.get_num_threads()
    _function("map", first.dtype)(_told(described, matrices.shape[1]), *arrays, *told)
    return result


def _pull(
    gradient: Tensor,
    matrices: Tensor,
    panels: Tensor,
    rows: Tensor,
    first: Sequence[int],
    second: Sequence[int],
    described: str,
) -> tuple[Tensor, Tensor]:
    pulled = shaped_pulls(gradient, matrices, panels, rows, first, second, described)
    atoms, gradient, rows = rows.shape[0], gradient.contiguous(), rows.contiguous()
    arrays: list[int | None] = []
    for array in pulled:
        asked = array.ndim > 1
        arrays += [address(array) if asked else None, _atoms_of(array, atoms), array.numel()]
    told = _told(described, matrices.shape[1]), address(gradient), address(panels), address(rows)
    _function("pull", gradient.dtype)(*told, *arrays, atoms, torch.get_num_threads())
    return pulled


def _atoms_of(array: Tensor | None, atoms: int) -> int:
    """How many atoms an array holds."""
    return array.shape[1] if array is not None and array.ndim == 3 else atoms


#: Letters of the arguments of functions in maps.cpp, see `c_function`.
_ARGUMENTS: Final = {"map": "ppipipppii", "pull": "pppppiipiiii"}


@cache
def _function(name: str, dtype: torch.dtype) -> Callable[..., None]:
    return c_function("maps", f"{name}_{SUFFIX[dtype]}", _ARGUMENTS[name])


@cache
def _told(description: str, columns: int) -> Any:
    """What maps.cpp is told of a map."""
    maps = read_maps(description)
    of_parts = zip(maps.sizes, maps.widths, maps.species, maps.firsts, strict=True)
    numbers = [*maps.parts, columns, *chain.from_iterable(of_parts)]
    return (ctypes.c_int64 * len(numbers))(*numbers)


def packed(matrices: Tensor, maps: Maps) -> Tensor:
    """Matrices as compiled code reads them: of each part those for the way there, then those for the way back.

    Args:
        matrices: (..., C), see `mapped`.
        maps: that they belong to.

    Returns:
        One row; columns of each matrix are filled up to panels of `PANEL`, which lie one after the other.
    """
    counts = [species * width for species, width in zip(maps.species, maps.widths, strict=True)]
    found = []
    for matrix, species in zip(torch.split(matrices, counts), maps.species, strict=True):
        one = torch.unflatten(matrix, 0, (species, -1))
        for each in (one, one.transpose(1, 2)):
            whole = pad(each, (0, -each.shape[2] % PANEL))
            found.append(torch.unflatten(whole, 2, (-1, PANEL)).transpose(1, 2).flatten())
    return torch.cat(found)


def _composite(
    first: Tensor, second: Tensor | None, matrices: Tensor, panels: Tensor, rows: Tensor, described: str
) -> Tensor:
    del panels
    found: list[Tensor] = []
    arrays = [first.contiguous(), None if second is None else second.contiguous()]
    for part in parts_of(arrays, matrices, rows, read_maps(described)):
        own = _multiplied(part.numbers[:, : rows.shape[0]], part.weight, rows)
        for place, one in enumerate(own.unbind(0), start=part.result.start):
            if place < len(found):
                found[place] = found[place] + one
            else:
                found.append(one)
    return torch.stack(found)


def _composite_vjp(
    gradient: Tensor,
    matrices: Tensor,
    panels: Tensor,
    rows: Tensor,
    first: list[int],
    second: list[int],
    described: str,
) -> tuple[Tensor, ...]:
    del panels
    found = []
    for place, shape in enumerate((first, second)):
        array = gradient.new_zeros(shape)
        asked = [array if len(shape) > 1 and place == own else None for own in range(2)]
        pulled = [
            _padded(_multiplied(gradient[part.result], part.weight.transpose(1, 2), rows), part.numbers.shape[1])
            for part in parts_of(asked, matrices, rows, read_maps(described))
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


def shaped(
    first: Tensor, second: Tensor | None, matrices: Tensor, panels: Tensor, rows: Tensor, described: str
) -> Tensor:
    """The result, without values."""
    del second, panels
    maps = read_maps(described)
    count = maps.parts[0]
    components = max(sum(maps.sizes[:count]), sum(maps.sizes[count:]))
    return first.new_empty((components, rows.shape[0], matrices.shape[1]))


def shaped_pulls(
    gradient: Tensor,
    matrices: Tensor,
    panels: Tensor,
    rows: Tensor,
    first: Sequence[int],
    second: Sequence[int],
    described: str,
) -> tuple[Tensor, Tensor]:
    """Gradients by both arrays, without values."""
    del matrices, panels, rows, described
    return gradient.new_empty(first), gradient.new_empty(second)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    first, second, *others, ctx.described = inputs
    ctx.shapes = [[0] if array is None else list(array.shape) for array in (first, second)]
    ctx.save_for_backward(*others)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    needed = ctx.needs_input_grad[:2]
    shapes = [shape if own else [0] for own, shape in zip(needed, ctx.shapes, strict=True)]
    pulled = torch.ops.halocline.irrep_maps_vjp(gradient, *ctx.saved_tensors, *shapes, ctx.described)
    return *(each if own else None for own, each in zip(needed, pulled, strict=True)), None, None, None, None


#: What kernels that use maps name as theirs.
OPERATORS: Final = (
    define(
        "irrep_maps(Tensor first, Tensor? second, Tensor matrices, Tensor panels, Tensor rows, str maps) "
        "-> Tensor",
        _map,
        shaped,
        _composite,
        version=2,
        derivative=_backward,
        saved=_remember,
        triton="maps:mapped",
    ),
    define(
        "irrep_maps_vjp(Tensor gradient, Tensor matrices, Tensor panels, Tensor rows, SymInt[] first, "
        "SymInt[] second, str maps) -> (Tensor, Tensor)",
        _pull,
        shaped_pulls,
        _composite_vjp,
        version=2,
        triton="maps:pulls",
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
    panels: Tensor

    def __init__(
        self,
        matrices: list[Tensor],
        sizes: list[int],
        others: Sequence[Tensor] = (),
        other_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        every, firsts = [*matrices, *others], list(accumulate(sizes, initial=0))
        plain = torch.cat([matrix.detach().flatten(0, 1) for matrix in every])
        self._maps = Maps(
            (len(matrices), len(others)),
            (*sizes, *other_sizes),
            tuple(matrix.shape[1] for matrix in every),
            tuple(matrix.shape[0] for matrix in every),
            (*firsts[: len(matrices)], *firsts[: len(others)]),
        )
        self._described = self._maps.described
        self.register_buffer("matrices", plain, persistent=False)
        self.register_buffer("panels", packed(plain, self._maps), persistent=False)

    def forward(self, first: Tensor, rows: Tensor, second: Tensor | None = None) -> Tensor:
        """See `mapped`."""
        second = second if self._maps.parts[1] else None
        return mapped(first, second, self.matrices, self.panels, rows, self._maps)

    def values(self, first: Tensor, rows: Tensor, second: Tensor | None = None) -> Tensor:
        """The same, without autograd."""
        second = second if self._maps.parts[1] else None
        return _map(first, second, self.matrices, self.panels, rows, self._described)

    def pulled(
        self, gradient: Tensor, rows: Tensor, first: Sequence[int] = (0,), second: Sequence[int] = (0,)
    ) -> tuple[Tensor, Tensor]:
        """Gradients by both arrays from one by the result.

        Args:
            gradient: (m, n, C).
            rows: as there.
            first: shape of the first array; (0,) if it is not asked for.
            second: likewise.
        """
        second = second if self._maps.parts[1] else (0,)
        return _pull(gradient, self.matrices, self.panels, rows, first, second, self._described)

"""The symmetric contraction of whole arrays of atoms as one operator, and its gradient as another."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from halocline.native import library
from halocline.plugins.fused.operators import SUFFIX, define
from halocline.plugins.fused.polynomials import Shape, evaluated, pulled
from halocline.plugins.fused.polynomials_source import source


def contracted(x: Tensor, numbers: Tensor, rows: Tensor, shape: Shape) -> Tensor:
    """The symmetric contraction of features with themselves, (R, n, C); differentiable once, by x.

    Args:
        x: (M, n, C), in float32 or float64; C is a multiple of 16.
        numbers: `polynomials.coefficients` in the dtype of x.
        rows: (n,) int64, the species of each atom.
        shape: of the polynomials.
    """
    result: Tensor = torch.ops.halocline.symmetric_contraction(x, numbers, rows, *shape)
    return result


@cache
def compiled(shape: Shape, dtype: torch.dtype) -> ctypes.CDLL:
    """The library that evaluates polynomials of one shape.

    Raises:
        KernelError: it cannot be had on this machine.
    """
    loaded = library("contraction", source(shape, SUFFIX[dtype]))
    for function, arrays in ((loaded.values, 4), (loaded.pulls, 5)):
        function.argtypes = [*[ctypes.c_void_p] * arrays, *[ctypes.c_int64] * 3, ctypes.c_int]
    loaded.values.restype = loaded.pulls.restype = None
    return loaded


def values(x: Tensor, numbers: Tensor, rows: Tensor, degree: int, out_degree: int, order: int) -> Tensor:
    """What `contracted` gives, without autograd; the shape in its numbers."""
    shape = Shape(degree, out_degree, order)
    results = x.new_empty((shape.results, *x.shape[1:]))
    _call(compiled(shape, x.dtype).values, x, numbers, rows, results)
    return results


def pulls(
    gradient: Tensor, x: Tensor, numbers: Tensor, rows: Tensor, degree: int, out_degree: int, order: int
) -> Tensor:
    """Gradients by x (M, n, C) from those by the results (R, n, C)."""
    gradients = torch.empty_like(x, memory_format=torch.contiguous_format)
    _call(compiled(Shape(degree, out_degree, order), x.dtype).pulls, gradient, x, numbers, rows, gradients)
    return gradients


def _call(function: Any, *arrays: Tensor) -> None:
    """Call a function of the library with arrays, the last of which it writes."""
    *read, rows, written = arrays
    kept = [*(each.contiguous() for each in read), rows.contiguous(), written]
    _, atoms, channels = written.shape
    species = read[-1].shape[1]
    function(*(each.data_ptr() for each in kept), atoms, channels, species, torch.get_num_threads())


def _composite(x: Tensor, numbers: Tensor, rows: Tensor, *shape: int) -> Tensor:
    return evaluated(x, numbers, rows, Shape(*shape))


def _composite_vjp(gradient: Tensor, x: Tensor, numbers: Tensor, rows: Tensor, *shape: int) -> Tensor:
    return pulled(gradient, x, numbers, rows, Shape(*shape))


def _shaped(x: Tensor, numbers: Tensor, rows: Tensor, degree: int, out_degree: int, order: int) -> Tensor:
    del numbers, rows
    return x.new_empty((Shape(degree, out_degree, order).results, *x.shape[1:]))


def _shaped_vjp(gradient: Tensor, x: Tensor, numbers: Tensor, rows: Tensor, *shape: int) -> Tensor:
    del gradient, numbers, rows, shape
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    x, numbers, rows, *ctx.shape = inputs
    ctx.save_for_backward(x, numbers, rows)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    pulls = torch.ops.halocline.symmetric_contraction_vjp(gradient, *ctx.saved_tensors, *ctx.shape)
    return pulls, None, None, None, None, None


_SHAPE: Final = "int degree, int out_degree, int order"

#: What kernels that use contractions name as theirs.
OPERATORS: Final = (
    define(
        f"symmetric_contraction(Tensor x, Tensor numbers, Tensor rows, {_SHAPE}) -> Tensor",
        values,
        _shaped,
        _composite,
        derivative=_backward,
        saved=_remember,
        triton="contraction:values",
    ),
    define(
        f"symmetric_contraction_vjp(Tensor gradient, Tensor x, Tensor numbers, Tensor rows, {_SHAPE}) -> Tensor",
        pulls,
        _shaped_vjp,
        _composite_vjp,
        triton="contraction:pulls",
    ),
)

"""Tables of radial functions that a compressed model carries beside its weights, and their names in files.

They are no parameters and no buffers: training, pruning and casting see the exact functions alone. What carries a
model from one place to another takes them along by the names that they have here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from halocline.aggregation import KeptTable, RadialFunction
from halocline.errors import CheckpointError
from halocline.model.backbone import Backbone

#: How names of their tensors begin. No backbone has a module of this name.
PREFIX: Final = "tables."


def is_compressed(backbone: Backbone) -> bool:
    """Whether a model carries tables, and is evaluated with them."""
    return any(function.kept is not None for _, function in radial_functions(backbone))


def radial_functions(backbone: Backbone) -> Iterator[tuple[str, RadialFunction]]:
    """The radial functions of a model, by their place among its modules."""
    return ((path, each) for path, each in backbone.named_modules() if isinstance(each, RadialFunction))


def stored_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """All that a file of a model holds: its weights, and its tables if it carries any."""
    return backbone.state_dict() | table_tensors(backbone)


def table_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """The tensors of all tables that a model carries, by name."""
    return {
        f"{PREFIX}{path}.{field.name}": tensor
        for path, function in radial_functions(backbone)
        if function.kept is not None
        for field in dataclasses.fields(function.kept)
        if (tensor := getattr(function.kept, field.name)) is not None
    }


def split(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights, and tensors of tables."""
    weights, tables = dict[str, Tensor](), dict[str, Tensor]()
    for name, tensor in tensors.items():
        (tables if name.startswith(PREFIX) else weights)[name] = tensor
    return weights, tables


def give_tables(backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
    """Have a model carry tables: all that its radial functions need. Those of layers that it lacks are left.

    Whether they are tables of these very functions is found out when the model is frozen.

    Args:
        backbone: which is changed.
        tensors: from `table_tensors`; if there are none, nothing is done.

    Raises:
        CheckpointError: they do not have the shapes of tables of its radial functions.
    """
    if not tensors:
        return
    for path, function in radial_functions(backbone):
        names = [f"{PREFIX}{path}.{field.name}" for field in dataclasses.fields(KeptTable)]
        coefficients, last, pairs = map(tensors.get, names)
        if coefficients is None or last is None or not _fits(function, coefficients, last, pairs):
            raise CheckpointError(f"There is no table for the radial function {path!r} of {backbone.name!r}.")
        function.kept = KeptTable(coefficients.double().contiguous(), last.double().contiguous(), pairs)


def without_tables(backbone: Backbone) -> Backbone:
    """Have a model carry none, so that it is evaluated exactly. It is changed, and returned."""
    for _, function in radial_functions(backbone):
        function.kept = None
    return backbone


def kept_species(backbone: Backbone) -> set[str] | None:
    """Chemical symbols whose pairs have tables in a compressed model; None if tables do not differ by pairs."""
    found: set[str] | None = None
    for _, function in radial_functions(backbone):
        if function.kept is not None and function.kept.pairs is not None:
            there = (function.kept.pairs.diagonal() != RadialFunction.NONE).tolist()
            symbols = {symbol for symbol, has in zip(backbone.species, there, strict=True) if has}
            found = symbols if found is None else found & symbols
    return found


def _fits(function: RadialFunction, coefficients: Tensor, last: Tensor, pairs: Tensor | None) -> bool:
    """Whether tensors can be a table of a function: shapes, kinds of numbers, and numbers of pairs."""
    if not (coefficients.is_floating_point() and last.is_floating_point() and coefficients.ndim == 4):
        return False
    functions, intervals, powers, channels = coefficients.shape
    if (powers, channels) != (4, function.channels) or tuple(last.shape) != (functions, channels) or not intervals:
        return False
    if pairs is None or function.pairs is None:
        return pairs is function.pairs and functions == 1
    if pairs.dtype != torch.int64 or pairs.shape != function.pairs.shape or not torch.equal(pairs, pairs.T):
        return False
    return bool(((pairs >= RadialFunction.NONE) & (pairs < functions)).all())

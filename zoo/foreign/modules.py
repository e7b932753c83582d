"""PyTorch modules as records: what their files say of tensors, parts and attributes, without the classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.foreign.model import show
from halocline.zoo.foreign.unpickle import ForeignObject

#: Modules within modules within ...; those of real models are six or seven deep.
_DEEPEST = 32

#: Modules of one model; a module costs some kilobytes, and real models have a few hundred.
_MOST = 10_000


def tensors_of(path: Path, root: ForeignObject) -> dict[str, Tensor]:
    """All parameters and buffers, by the names that a state dictionary would have.

    Raises:
        CheckpointError: the records are not those of modules.
    """
    found: dict[str, Tensor] = {}
    for name, module in modules_of(path, root):
        for kind in ("_parameters", "_buffers"):
            for key, value in _table(path, module, kind).items():
                if isinstance(value, Tensor):
                    found[f"{name}.{key}" if name else key] = value
    return found


def modules_of(path: Path, root: ForeignObject) -> Iterator[tuple[str, ForeignObject]]:
    """Every module with its dotted name, outer ones first. Code that torch generated in the model is passed over.

    Raises:
        CheckpointError: the records are not those of modules.
    """
    waiting = [("", root, 0)]
    for name, module, depth in waiting:  # which grows meanwhile
        if depth > _DEEPEST or len(waiting) > _MOST:
            raise CheckpointError(f"{path} has modules within modules without end.")
        yield name, module
        for key, part in _table(path, module, "_modules").items():
            if isinstance(part, ForeignObject) and part.state is not None:
                waiting.append((f"{name}.{key}" if name else str(key), part, depth + 1))


def attribute(module: ForeignObject, name: str, default: Any = None) -> Any:
    """An attribute of a module, as plain data or a record; the default where it has none of this name."""
    return module.state.get(name, default) if isinstance(module.state, dict) else default


def part(path: Path, root: ForeignObject, name: str) -> ForeignObject:
    """The module of a dotted name.

    Raises:
        CheckpointError: there is none.
    """
    module = root
    for key in name.split("."):
        inner = _table(path, module, "_modules").get(key)
        if not isinstance(inner, ForeignObject):
            raise CheckpointError(f"{path} has no module {name!r}.")
        module = inner
    return module


def _table(path: Path, module: ForeignObject, kind: str) -> dict[Any, Any]:
    table = attribute(module, kind, {})
    if not isinstance(table, dict):
        raise CheckpointError(f"{kind} of a module {show(module.name)} in {path} is no table.")
    return table

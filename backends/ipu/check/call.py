"""A call as the rules see it, types in the place of tensors; and what they report of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch


@final
@dataclass(frozen=True, slots=True)
class TensorType:
    """What is known of a tensor before the program runs.

    Attributes:
        name: in the program.
        dtype: None where the operation that gives it cannot be followed.
        shape: likewise.
    """

    name: str
    dtype: torch.dtype | None = None
    shape: tuple[int, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether dtype and shape are known."""
        return self.shape is not None


@final
@dataclass(frozen=True, slots=True)
class Call:
    """One operation of a program, or one that torch dispatched while the program ran.

    Attributes:
        where: how reports name it.
        overload: the operation.
        arguments: by their names in the operation's schema, defaults included; `TensorType` stands for tensors.
        results: in order; of unknown type if ``failure`` says why.
        failure: why torch cannot derive the results' types from those of the arguments; empty if it can.
    """

    where: str
    overload: torch._ops.OpOverload[Any, Any]
    arguments: Mapping[str, Any]
    results: tuple[TensorType, ...]
    failure: str = ""

    @property
    def name(self) -> str:
        """Name of the operation, without namespace and overload, such as ``add``."""
        return str(self.overload._schema.name).partition("::")[2]

    @property
    def overload_name(self) -> str:
        """Name of the overload, such as ``Tensor``; ``default`` where the schema has none."""
        return str(self.overload._overloadname)

    def tensors(self) -> Iterator[TensorType]:
        """All tensors among the arguments, those in lists too."""
        return tensors_in(self.arguments)


def tensors_in(value: Any) -> Iterator[TensorType]:
    """All tensors in an argument, however deep in lists and tables."""
    if isinstance(value, TensorType):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


@final
@dataclass(frozen=True, slots=True)
class Violation:
    """Something that PopTorch would refuse, or compute wrongly without a word.

    Attributes:
        rule: its name, as in the documentation.
        where: the operation, value or part of the manifest.
        sentence: what is wrong with it, and what to do.
    """

    rule: str
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence} [{self.rule}]"

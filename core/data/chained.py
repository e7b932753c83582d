"""Sequences one after another, as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar, final, overload

ItemT = TypeVar("ItemT")


@final
class Chained(Sequence[ItemT], Generic[ItemT]):
    """The items of several sequences, none of which is copied.

    Args:
        parts: the sequences.
    """

    def __init__(self, parts: Sequence[Sequence[ItemT]]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice) -> list[ItemT]: ...
    def __getitem__(self, index: int | slice) -> ItemT | list[ItemT]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part, place = self.find(index)
        return part[place]

    def find(self, index: int) -> tuple[Sequence[ItemT], int]:
        """In which part an item is, and where there.

        Raises:
            IndexError: there is no such item.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = bisect_right(self._starts, index) - 1
        return self._parts[part], index - self._starts[part]

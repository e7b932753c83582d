"""What tables were found to be worth, kept for the next process.

To find the smallest table that is accurate enough, and to hold it against its function at all distances, takes
most of a first call. What comes of it is a few numbers. They are kept in the cache of compiled programs, under a
digest of everything that they depend on, and with a keyed digest that only the user can have made.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, final

import torch
from torch import Tensor

from halocline.aggregation import RadialFunction
from halocline.artefacts import cached
from halocline.cache import find_cache
from halocline.digests import tensors_digest
from halocline.errors import ArtefactError, UsageError

T = TypeVar("T")

_logger = logging.getLogger(__name__)

#: Distances at which values are part of the digest: code of the function may change, and its weights not.
_PROBED: Final = 65


@final
class Worth(NamedTuple):
    """What a table is worth.

    Attributes:
        intervals: of it.
        value: largest error of a value, relative to the largest value.
        slope: largest error of a derivative, likewise.
    """

    intervals: int
    value: float
    slope: float


def digest(function: RadialFunction, numbers: list[int | None], about: str, table: dict[str, Tensor]) -> str:
    """The digest of a function, and of a table of it.

    Args:
        function: in float64.
        numbers: of the functions of pairs of kinds that differ.
        about: limits and versions.
        table: tensors of a table that is there already.
    """
    kind = type(function)
    said = (
        f"{kind.__module__}.{kind.__qualname__} {function.start!r} {function.end!r} {function.channels} {numbers}"
    )
    distances = torch.linspace(function.start, function.end, _PROBED, dtype=torch.float64)
    with torch.no_grad():
        # In float32: products of matrices round otherwise on another number of threads.
        probes = {
            f"probe {number}": function(
                distances, None if number is None else torch.full(distances.shape, number, dtype=torch.int64)
            ).float()
            for number in numbers
        }
    tensors = {**function.state_dict(), **probes, **table}
    return tensors_digest(tensors.items(), f"{about} {said}")


def remembered(
    key: str, find: Callable[[], tuple[Worth, T]], again: Callable[[Worth], T | None]
) -> tuple[Worth, T]:
    """What was found to be worth something, by this process or one before.

    Args:
        key: from `digest`.
        find: makes it, and tells what it is worth; what it raises is raised, and nothing is kept.
        again: makes it anew, and says None if it is not what was found to be worth that.
    """
    if find_cache() is None:  # where nothing can be kept, nobody is to be asked for a place for this
        return find()
    made: list[tuple[Worth, T]] = []

    def build(path: Path) -> None:
        made.append(find())
        path.write_text(json.dumps(made[0][0]), encoding="utf-8")

    try:
        worth = cached({"table": key}, ".worth", build, _read, "a table of radial functions")
    except (ArtefactError, UsageError) as error:  # the cache folder cannot be written, or cannot be relied on
        _logger.info("What tables are worth is found out in every process: %s", error)
        return made[0] if made else find()
    if made:
        return made[0]
    found = again(worth)
    return find() if found is None else (worth, found)


def _read(data: bytes) -> Worth:
    intervals, value, slope = json.loads(data)
    return Worth(int(intervals), float(value), float(slope))

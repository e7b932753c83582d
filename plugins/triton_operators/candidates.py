"""Block sizes that kernels over edges are tried with.

A program works on some edges of an atom at a time, by some channels. More at once have more loads under way; fewer
waste less at the end of a row, and leave registers to other programs.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from triton import next_power_of_2

from halocline.plugins.triton_operators.blocks import Blocks, distinct

#: Channels of one program at most, where they are shared out among programs.
_WIDEST: Final = 128

#: Elements of a block, and warps that work on it. The first leaves registers over in all kernels, in float64, too.
_SIZES: Final = ((1024, 4), (2048, 4), (2048, 8), (1024, 2), (512, 1), (4096, 8))


@cache
def for_some_channels(channels: int) -> tuple[Blocks, ...]:
    """For kernels whose programs have some of the channels each."""
    return _blocks(min(next_power_of_2(channels), _WIDEST))


@cache
def for_all_channels(channels: int) -> tuple[Blocks, ...]:
    """For kernels whose programs add up over channels, and have all of them."""
    return _blocks(next_power_of_2(channels))


def _blocks(channels: int) -> tuple[Blocks, ...]:
    found = [
        {"EDGES": min(max(size // channels, 1), 64), "CHANNELS": channels, "num_warps": warps}
        for size, warps in _SIZES
    ]
    return distinct(found)

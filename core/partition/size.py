"""Amounts of memory as people write them."""

from __future__ import annotations

import re
from typing import Final

from halocline.errors import UsageError

#: Bytes in each unit; powers of 1000 are written without an i, as disk makers do.
UNITS: Final = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}


def parse_size(text: str) -> int:
    """Read ``8GiB``, ``1.5 GB`` or ``500MiB`` as bytes.

    Raises:
        UsageError: there is no number above zero, or no unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", text.strip(), re.ASCII)
    size = int(float(match[1]) * UNITS.get(match[2], 0)) if match else 0
    if not size:
        raise UsageError(f"An amount of memory is a number and a unit, such as 8GiB or 500MB, not {text!r}.")
    return size


def format_size(size: float) -> str:
    """The bytes in GiB, or in MiB below one."""
    unit = "GiB" if size >= UNITS["GiB"] else "MiB"
    return f"{size / UNITS[unit]:.3g} {unit}"

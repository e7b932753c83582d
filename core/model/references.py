"""Reference energies as a table over atomic numbers, of every head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray


def reference_table(
    shared: Mapping[str, float], of_heads: Mapping[str, Mapping[str, float]]
) -> NDArray[np.float64]:
    """Reference energies in eV by head and atomic number; NaN where the model does not know the element.

    Args:
        shared: chemical symbol → eV, of the model.
        of_heads: what those of each head have beyond them, as `Backbone.head_energies` gives it.

    Returns:
        (H, 119), the heads in their order; one row where they share the model's or there are none.
    """
    rows = list(of_heads.values()) or [dict.fromkeys(shared, 0.0)]
    table = np.full((len(rows), len(atomic_numbers)), np.nan)
    for row, more in zip(table, rows, strict=True):
        row[[atomic_numbers[symbol] for symbol in shared]] = [
            energy + more[symbol] for symbol, energy in shared.items()
        ]
    return table

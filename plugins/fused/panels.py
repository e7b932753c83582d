"""Tables of splines laid out for vectors of channels."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from halocline.aggregation import TabulatedFunction
from halocline.errors import KernelError

#: Channels that lie together, whatever the width of vectors; product.h has the same number.
PANEL: Final = 16

#: How well a table must be that of a spline, relative to its largest coefficient. It is in float64.
_SAME: Final = 1e-9


def spline_panels(function: TabulatedFunction, channels: int) -> Tensor:
    """The functions of a table as operators take them: `panelled` `spline_weights`."""
    return panelled(spline_weights(function, channels))


def spline_weights(function: TabulatedFunction, channels: int) -> Tensor:
    """The weights of cubic B-splines on a table's own grid that are the functions of the table.

    Args:
        function: in float64, of P · C channels, with cubic polynomials that join with two derivatives.
        channels: C.

    Returns:
        (F, K + 7, P, C) for F functions of K intervals. The last four are what functions are from the end on.

    Raises:
        KernelError: the polynomials join with fewer derivatives.
    """
    functions = function.table.shape[0] // (4 * (function.intervals + 2))
    coefficients = function.table.view(functions, function.intervals + 2, 4, -1, channels)
    c0, c1, c2, c3 = coefficients[:, :-2].unbind(2)
    # Of the interval from 0 to 1, the polar form at the three knots that belong to each spline.
    first = (c0 - c1 + c2 * (2.0 / 3.0))[:, :1]
    inner = c0 - c2 / 3.0
    last = [c0 + c1 + c2 * (2.0 / 3.0), c0 + 2.0 * c1 + c2 * (11.0 / 3.0) + 6.0 * c3]
    knots = torch.cat([first, inner, *(each[:, -1:] for each in last)], 1)
    _require_splines(coefficients[:, :-2], knots)
    return torch.cat([knots, coefficients[:, -2:-1, 0].expand(-1, 4, -1, -1)], 1)


def panelled(weights: Tensor) -> Tensor:
    """Splines as their values where intervals begin, and the weights of their slopes, which are splines as well.

    Two numbers for each interval, of which polynomials take four, and slopes that lose no digits: differences of
    rounded weights would, the more the closer knots are.

    Args:
        weights: (F, N, P, C) in float64, see `spline_weights`.

    Returns:
        (panels, F, N - 1, P, 2, `PANEL`) with the channels of each path divided into panels.
    """
    values = (weights[:, :-2] + 4.0 * weights[:, 1:-1] + weights[:, 2:]) / 6.0
    both = torch.stack([pad(values, (0, 0, 0, 0, 0, 1)), weights.diff(dim=1)], 3)
    whole = torch.unflatten(pad(both, (0, -weights.shape[3] % PANEL)), -1, (-1, PANEL))
    return whole.permute(4, 0, 1, 2, 3, 5).contiguous()


def spline_grid(function: TabulatedFunction) -> tuple[float, float]:
    """Where the first interval of a table begins, Å, and intervals per Å."""
    return function.start, function.per_length


def spline_values(
    distances: Tensor, table: Tensor, start: float, per_length: float, channels: int, numbers: Tensor | None = None
) -> Tensor:
    """What the splines of a table are at distances (E,), in plain operations: (E, P, C).

    Args:
        distances: Å.
        table: see `panelled`.
        start: see `spline_grid`.
        per_length: see `spline_grid`.
        channels: C.
        numbers: (E,) int64, of the functions; None if there is one.
    """
    count = table.shape[2]
    intervals = count - 6
    places = (distances - start) * per_length
    inside = places < intervals
    cells = torch.where(inside, places.clamp(min=0.0), 0.0).to(torch.int64)
    t = (places - torch.where(inside, cells.to(places.dtype), places))[:, None, None]
    rows = torch.where(inside, cells, intervals + 3)
    if numbers is not None:
        rows = rows + numbers * count
    values, slopes = table.permute(1, 2, 4, 3, 0, 5).flatten(0, 1).flatten(3)[..., :channels].unbind(1)
    integrals = t * (0.5 + t * (t / 6.0 - 0.5)), t * (0.5 + t * (0.5 - t / 3.0)), t * t * t / 6.0
    found = values.index_select(0, rows)
    for place, integral in enumerate(integrals):
        found = found + slopes.index_select(0, rows + place) * integral
    return found


def _require_splines(coefficients: Tensor, knots: Tensor) -> None:
    """Refuse polynomials (F, K, 4, ...) that are not those of splines with weights (F, K + 3, ...)."""
    k = coefficients.shape[1]
    d0, d1, d2, d3 = (knots[:, place : place + k] for place in range(4))
    found = torch.stack(
        [
            (d0 + 4.0 * d1 + d2) / 6.0,
            (d2 - d0) / 2.0,
            (d0 - 2.0 * d1 + d2) / 2.0,
            (d3 - d0) / 6.0 + (d1 - d2) / 2.0,
        ],
        2,
    )
    off = (found - coefficients).abs().max()
    if not off <= _SAME * coefficients.abs().max():
        raise KernelError("its tables are no splines with two continuous derivatives")

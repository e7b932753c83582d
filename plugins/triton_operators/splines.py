"""Tables of values and slopes: what `halocline.plugins.fused.panels.spline_values` is in plain operations."""

from __future__ import annotations

import triton
import triton.language as tl

from halocline.plugins.fused.panels import PANEL

_PANEL = tl.constexpr(PANEL)


@triton.jit
def cells_of(length, grid_at, intervals):
    """The interval of each length, and how far it is into it.

    From the end on functions are constant, as their last knots are; the length that is not a number stays that.
    """
    place = (length - tl.load(grid_at)) * tl.load(grid_at + 1)
    inside = place < intervals
    cell = tl.where(inside, tl.floor(tl.maximum(place, 0.0)), intervals + 3.0)
    return cell.to(tl.int64), place - tl.where(inside, cell, place)


@triton.jit
def integrals_of(t):
    """What values have of the slopes at three knots."""
    return t * (0.5 + t * (t / 6.0 - 0.5)), t * (0.5 + t * (0.5 - t / 3.0)), t * t * t / 6.0


@triton.jit
def slopes_of(t, per_length):
    """What slopes have of them."""
    rest = 1.0 - t
    return 0.5 * rest * rest * per_length, (0.5 + t * rest) * per_length, 0.5 * t * t * per_length


@triton.jit
def spline(at, used, stride, h0, h1, h2):
    """A value, from where the numbers of its first knot are."""
    value = tl.load(at, mask=used, other=0.0)
    value += h0 * tl.load(at + _PANEL, mask=used, other=0.0)
    value += h1 * tl.load(at + stride + _PANEL, mask=used, other=0.0)
    return value + h2 * tl.load(at + 2 * stride + _PANEL, mask=used, other=0.0)


@triton.jit
def spline_with_slope(at, used, stride, h0, h1, h2, b0, b1, b2):
    """A value and its derivative by the length."""
    first = tl.load(at + _PANEL, mask=used, other=0.0)
    second = tl.load(at + stride + _PANEL, mask=used, other=0.0)
    third = tl.load(at + 2 * stride + _PANEL, mask=used, other=0.0)
    value = tl.load(at, mask=used, other=0.0)
    value += h0 * first + h1 * second + h2 * third
    return value, b0 * first + b1 * second + b2 * third

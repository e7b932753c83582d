"""Harmonics of three-body terms, edge by edge, and gradients by vectors; see `three_body` beside this file."""

from __future__ import annotations

import math
from typing import Final

import triton
import triton.language as tl

from halocline.plugins.triton_operators.rows import CHANGING, components, length_of

#: For programs that have nothing but edges.
SINGLE: Final = tuple({"EDGES": edges, "num_warps": warps} for edges, warps in ((128, 4), (64, 2), (256, 8)))

# Of real harmonics, as `backbones.m3gnet.three_body` has them; the interpreter takes them to the right of blocks.
_NORM_0 = tl.constexpr(math.sqrt(1.0 / (4.0 * math.pi)))
_NORM_1 = tl.constexpr(math.sqrt(3.0 / (4.0 * math.pi)))
_NORM_2 = tl.constexpr(math.sqrt(15.0 / (4.0 * math.pi)))
_AXIAL_2 = tl.constexpr(math.sqrt(5.0 / (16.0 * math.pi)))
_OUTER_3 = tl.constexpr(math.sqrt(35.0 / (32.0 * math.pi)))
_MIDDLE_3 = tl.constexpr(math.sqrt(105.0 / (16.0 * math.pi)))
_INNER_3 = tl.constexpr(math.sqrt(21.0 / (32.0 * math.pi)))
_AXIAL_3 = tl.constexpr(math.sqrt(7.0 / (16.0 * math.pi)))


@triton.jit(do_not_specialize=CHANGING)
def write_harmonics(
    vectors_at, envelope_at, out_at, edges,
    DEGREES: tl.constexpr, COUNT: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Y_lm of edges that take part, (E, L²), l-major; of others nothing is written."""
    edge = tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES)
    there = tl.load(envelope_at + edge, mask=edge < edges, other=0.0) != 0.0
    x, y, z, _ = _direction(vectors_at, edge, there)
    square = x * x + y * y + z * z
    to_at = out_at + edge * DEGREES * DEGREES
    tl.store(to_at, tl.full((EDGES,), _NORM_0, dtype=x.dtype), mask=there)
    if DEGREES > 1:
        tl.store(to_at + 1, y * _NORM_1, mask=there)
        tl.store(to_at + 2, z * _NORM_1, mask=there)
        tl.store(to_at + 3, x * _NORM_1, mask=there)
    if DEGREES > 2:
        tl.store(to_at + 4, x * y * _NORM_2, mask=there)
        tl.store(to_at + 5, y * z * _NORM_2, mask=there)
        tl.store(to_at + 6, (3.0 * z * z - square) * _AXIAL_2, mask=there)
        tl.store(to_at + 7, x * z * _NORM_2, mask=there)
        tl.store(to_at + 8, (x * x - y * y) * (0.5 * _NORM_2), mask=there)
    if DEGREES > 3:
        tl.store(to_at + 9, y * (3.0 * x * x - y * y) * _OUTER_3, mask=there)
        tl.store(to_at + 10, x * y * z * (2.0 * _MIDDLE_3), mask=there)
        tl.store(to_at + 11, y * (5.0 * z * z - square) * _INNER_3, mask=there)
        tl.store(to_at + 12, z * (5.0 * z * z - 3.0 * square) * _AXIAL_3, mask=there)
        tl.store(to_at + 13, x * (5.0 * z * z - square) * _INNER_3, mask=there)
        tl.store(to_at + 14, z * (x * x - y * y) * _MIDDLE_3, mask=there)
        tl.store(to_at + 15, x * (x * x - 3.0 * y * y) * _OUTER_3, mask=there)


@triton.jit(do_not_specialize=CHANGING)
def vector_pulls(
    values_at, own_at, harmonics_at, envelope_at, moments_at, by_moments_at, receivers_at,
    vectors_at, by_vectors_at, edges, DEGREES: tl.constexpr, COUNT: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Gradients by vectors, (E, 3), from those of sums and of moments; zero of edges that take no part."""
    edge = tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES)
    envelope = tl.load(envelope_at + edge, mask=edge < edges, other=0.0)
    there = envelope != 0.0
    x, y, z, length = _direction(vectors_at, edge, there)
    square = x * x + y * y + z * z
    # Where in these five are the edge, and its centre.
    receiver = tl.load(receivers_at + edge, mask=there, other=0)
    of_edge = edge * DEGREES * COUNT
    of_harmonic, of_moment = edge * DEGREES * DEGREES, receiver * DEGREES * DEGREES * COUNT
    given = (values_at + of_edge, own_at + of_edge, harmonics_at + of_harmonic, moments_at + of_moment,
             by_moments_at + of_moment, envelope, there)  # fmt: skip
    by_x, by_y, by_z = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    if DEGREES > 1:
        by_y += _by_harmonic(given, 1, 1, COUNT) * _NORM_1
        by_z += _by_harmonic(given, 2, 1, COUNT) * _NORM_1
        by_x += _by_harmonic(given, 3, 1, COUNT) * _NORM_1
    if DEGREES > 2:
        by = _by_harmonic(given, 4, 2, COUNT) * _NORM_2
        by_x += by * y
        by_y += by * x
        by = _by_harmonic(given, 5, 2, COUNT) * _NORM_2
        by_y += by * z
        by_z += by * y
        by = _by_harmonic(given, 6, 2, COUNT) * (2.0 * _AXIAL_2)
        by_x -= by * x
        by_y -= by * y
        by_z += 2.0 * by * z
        by = _by_harmonic(given, 7, 2, COUNT) * _NORM_2
        by_x += by * z
        by_z += by * x
        by = _by_harmonic(given, 8, 2, COUNT) * _NORM_2
        by_x += by * x
        by_y -= by * y
    if DEGREES > 3:
        flat, saddle = 5.0 * z * z - square, 3.0 * (x * x - y * y)
        by = _by_harmonic(given, 9, 3, COUNT) * _OUTER_3
        by_x += 6.0 * by * x * y
        by_y += by * saddle
        by = _by_harmonic(given, 10, 3, COUNT) * (2.0 * _MIDDLE_3)
        by_x += by * y * z
        by_y += by * x * z
        by_z += by * x * y
        by = _by_harmonic(given, 11, 3, COUNT) * _INNER_3
        by_x -= 2.0 * by * x * y
        by_y += by * (flat - 2.0 * y * y)
        by_z += 8.0 * by * y * z
        by = _by_harmonic(given, 12, 3, COUNT) * _AXIAL_3
        by_x -= 6.0 * by * x * z
        by_y -= 6.0 * by * y * z
        by_z += by * (9.0 * z * z - 3.0 * square)
        by = _by_harmonic(given, 13, 3, COUNT) * _INNER_3
        by_x += by * (flat - 2.0 * x * x)
        by_y -= 2.0 * by * x * y
        by_z += 8.0 * by * x * z
        by = _by_harmonic(given, 14, 3, COUNT) * _MIDDLE_3
        by_x += 2.0 * by * x * z
        by_y -= 2.0 * by * y * z
        by_z += by * (x * x - y * y)
        by = _by_harmonic(given, 15, 3, COUNT) * _OUTER_3
        by_x += by * saddle
        by_y -= 6.0 * by * x * y
    along = by_x * x + by_y * y + by_z * z
    to_at = by_vectors_at + 3 * edge
    tl.store(to_at, tl.where(there, (by_x - along * x) / length, 0.0), mask=edge < edges)
    tl.store(to_at + 1, tl.where(there, (by_y - along * y) / length, 0.0), mask=edge < edges)
    tl.store(to_at + 2, tl.where(there, (by_z - along * z) / length, 0.0), mask=edge < edges)


@triton.jit
def _by_harmonic(given, HARMONIC: tl.constexpr, DEGREE: tl.constexpr, COUNT: tl.constexpr):
    """The gradient by one harmonic of edges, (EDGES,), as part of the moment and in the sums."""
    values_at, own_at, harmonics_at, moments_at, by_moments_at, envelope, there = given
    y = tl.load(harmonics_at + HARMONIC, mask=there, other=0.0)
    total = tl.zeros_like(envelope)
    for number in tl.static_range(COUNT):
        value = tl.load(values_at + DEGREE * COUNT + number, mask=there, other=0.0)
        own = envelope * tl.load(own_at + DEGREE * COUNT + number, mask=there, other=0.0)
        moment = tl.load(moments_at + HARMONIC * COUNT + number, mask=there, other=0.0)
        by_moment = tl.load(by_moments_at + HARMONIC * COUNT + number, mask=there, other=0.0)
        total += own * (moment - value * y) + (by_moment - own * y) * value
    return total


@triton.jit
def _direction(vectors_at, edge, there):
    """Of edges that take part, and their lengths."""
    x, y, z = components(vectors_at, edge, there)
    length = length_of(x, y, z)
    return x / length, y / length, z / length, length

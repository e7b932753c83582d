"""The sums of ``passes.py`` by compiled code, which shares atoms out among threads."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.native import library
from halocline.plugins.dispersion.coefficients import Coefficients, Damping, Elements
from halocline.plugins.dispersion.passes import Sums
from halocline.plugins.dispersion.sites import Sites

_SOURCE: Final = Path(__file__).parent / "passes.cpp"

_count, _pointer, _number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double

#: What each function takes behind sites and elements.
_SIGNATURES: Final = {
    "coordination": (_number, ctypes.c_int, _pointer, _pointer),
    "two_body": (_pointer, _number, ctypes.c_int, _pointer),
    "pulled": (_pointer, _number, ctypes.c_int, _pointer),
    "three_body": (_pointer, _number, ctypes.c_int, _pointer),
}


class _Sites(ctypes.Structure):
    """As in ``passes.cpp``, and so are those that follow."""

    _fields_ = (
        *((name, _count) for name in ("atoms", "elements", "groups", "vectors", "home")),
        *((name, _pointer) for name in ("positions", "species", "starts", "boxes", "lattice")),
    )


class _Elements(ctypes.Structure):
    _fields_ = (
        ("zero", _count),
        *((name, _number) for name in ("s6", "s8", "s9")),
        *((name, _pointer) for name in ("covalent", "ratios", "sixth", "eighth", "three")),
    )


class _Coefficients(ctypes.Structure):
    _fields_ = tuple((name, _pointer) for name in ("weights", "rows", "slopes"))


class _Sums(ctypes.Structure):
    _fields_ = tuple((name, _pointer) for name in ("energies", "forces", "virials", "slopes"))


@cache
def load_passes() -> ctypes.CDLL:
    """The library.

    Raises:
        KernelError: it cannot be compiled here.
    """
    found = library("dispersion", _SOURCE.read_text(encoding="utf-8"))
    for name, behind in _SIGNATURES.items():
        function = getattr(found, name)
        function.argtypes, function.restype = (_pointer, _pointer, *behind), None
    return found


def coordination(sites: Sites, elements: Elements, cutoff: float) -> tuple[NDArray[np.float64], float]:
    """See there."""
    counted, nearest = (np.empty(len(sites.positions)) for _ in range(2))
    places = counted.ctypes.data, nearest.ctypes.data
    _call("coordination", sites, elements, None, cutoff, torch.get_num_threads(), *places)
    return counted, float(nearest.min())


def two_body(
    sites: Sites, elements: Elements, coefficients: Coefficients, damping: Damping, cutoff: float
) -> Sums:
    """See there."""
    return _summed("two_body", sites, elements, damping, coefficients, cutoff)


def pulled(sites: Sites, elements: Elements, slopes: NDArray[np.float64], cutoff: float) -> Sums:
    """See there."""
    return _summed("pulled", sites, elements, None, np.ascontiguousarray(slopes), cutoff)


def three_body(
    sites: Sites, elements: Elements, coefficients: Coefficients, damping: Damping, cutoff: float
) -> Sums:
    """See there."""
    return _summed("three_body", sites, elements, damping, coefficients, cutoff)


def _summed(
    name: str,
    sites: Sites,
    elements: Elements,
    damping: Damping | None,
    given: Coefficients | NDArray[np.float64],
    cutoff: float,
) -> Sums:
    """Call a function that fills sums; arrays live until it returns."""
    sums = Sums.zero(len(sites.positions))
    out = _Sums(*(each.ctypes.data for each in sums))
    if isinstance(given, Coefficients):
        held = _Coefficients(*(each.ctypes.data for each in given))
        place = ctypes.addressof(held)
    else:
        place = given.ctypes.data
    _call(name, sites, elements, damping, place, cutoff, torch.get_num_threads(), ctypes.addressof(out))
    return sums


def _call(name: str, sites: Sites, elements: Elements, damping: Damping | None, *behind: Any) -> None:
    """Call a function with what it knows of sites and elements; arrays live until it returns."""
    positions, species, numbers, _, starts, boxes, vectors, home = sites
    arrays = [each.ctypes.data for each in (positions, species, starts, boxes, vectors)]
    counts = len(positions), len(numbers), len(starts) - 1, len(vectors), home
    factors = (0, 0.0, 0.0, 0.0)
    if damping is not None:
        factors = (int(damping.name == "zero"), damping.s6, damping.s8, damping.s9)
    tables = [np.ascontiguousarray(each) for each in elements[2:]]
    given = _Sites(*counts, *arrays), _Elements(*factors, *(each.ctypes.data for each in tables))
    getattr(load_passes(), name)(*map(ctypes.addressof, given), *behind)

"""Reference coefficients and damping parameters of DFT-D3, as the package tad-dftd3 brings them.

That package (Apache-2.0, of the authors of DFT-D3) holds the published tables: C6 coefficients of reference
systems and their coordination numbers, ratios of moments, covalent and van der Waals radii, and parameters of
functionals.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import import_module
from typing import Any, Final, NamedTuple, final

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.errors import UsageError, unknown_name

#: Å in a Bohr, by which simple-dftd3 converts radii (CODATA 2018).
ANGSTROM: Final = 0.529177210903

#: Å, by which radii may differ from what was published: that of a number of 4 Å in float32, and of the Bohr.
ROUNDED: Final = 1e-6


@final
class Tables(NamedTuple):
    """All by atomic number Z up to the last element that has them, in atomic units.

    Attributes:
        c6: (Z, Z, R, R), Hartree·Bohr⁶, between reference systems; zero where there is none.
        numbers: (Z, R), coordination numbers of the reference systems; negative where there is none.
        moments: (Z,), √(½ √Z ⟨r⁴⟩/⟨r²⟩), Bohr.
        covalent: (Z,), covalent radii times 4/3, Bohr.
        distances: (Z, Z), cutoff radii R₀ of pairs, Bohr.
    """

    c6: NDArray[np.float64]
    numbers: NDArray[np.float64]
    moments: NDArray[np.float64]
    covalent: NDArray[np.float64]
    distances: NDArray[np.float64]

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols of the elements that have reference systems."""
        known = (self.numbers >= 0.0).any(axis=1) & (np.arange(len(self.numbers)) > 0)
        return tuple(symbol for symbol, there in zip(chemical_symbols, known, strict=False) if there)

    @property
    def digest(self) -> str:
        """SHA-256 of all numbers."""
        return hashlib.sha256(b"".join(table.tobytes() for table in self)).hexdigest()


@cache
def tables() -> Tables:
    """The tables.

    Raises:
        UsageError: tad-dftd3 is not installed.
    """
    data, radii = _module("tad_dftd3.data"), _module("tad_mctc.data.radii")
    wide = {"dtype": torch.float64, "device": torch.device("cpu")}
    reference = _module("tad_dftd3.reference").Reference(**wide)
    last = len(reference.cn)
    covalent = _published(0.75 * radii.COV_D3(**wide)[:last], 2) * 4.0 / 3.0
    distances = _published(radii.VDW_PAIRWISE(**wide)[:last, :last], 4)
    c6, numbers, moments = (
        np.ascontiguousarray(table.numpy()) for table in (reference.c6, reference.cn, data.R4R2(**wide)[:last])
    )
    return Tables(c6, numbers, moments, covalent, distances)


def _published(lengths: torch.Tensor, decimals: int) -> NDArray[np.float64]:
    """Lengths in Bohr as they were published, in Å with so many decimals: tad-dftd3 has them in float32."""
    published = np.round(lengths.numpy() * ANGSTROM, decimals)
    if np.abs(published - lengths.numpy() * ANGSTROM).max() > ROUNDED:
        raise UsageError(
            "The radii of tad-dftd3 are not those that were published; install another version of it."
        )
    return np.ascontiguousarray(published / ANGSTROM)


def damping_parameters(functional: str, damping: str) -> dict[str, float]:
    """The parameters of a functional, such as ``s8``, ``a1`` and ``a2``.

    Args:
        functional: such as ``pbe``; case and hyphens do not matter.
        damping: ``bj`` or ``zero``.

    Raises:
        UsageError: no such functional, it has no parameters for this damping, or tad-dftd3 is not installed.
    """
    lookup = _module("tad_dftd3.param").get_functional_params
    wide: dict[str, Any] = {"dtype": torch.float64, "device": torch.device("cpu")}
    try:
        found = lookup(functional, damping=damping, **wide)
    except KeyError:
        raise unknown_name("functional with parameters of D3", functional, _functionals()) from None
    except ValueError:
        raise UsageError(
            f"D3 has no parameters of {functional!r} for {damping} damping; try the other one."
        ) from None
    return {name: float(value) for name, value in found.items() if isinstance(value, torch.Tensor)}


def _functionals() -> list[str]:
    """Names that the package knows, its own aliases among them."""
    from importlib.resources import files
    from tomllib import loads

    folder = files("tad_dftd3.param")
    parameters = loads((folder / "parameters.toml").read_text(encoding="utf-8"))["parameter"]
    aliases = loads((folder / "aliases.toml").read_text(encoding="utf-8"))["alias"]
    return [*(name for name, entry in parameters.items() if "d3" in entry), *aliases]


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"D3 takes its tables from tad-dftd3, which cannot be imported ({error}); "
            "pip install 'halocline[d3]' brings it."
        ) from error

"""Models as Nequix keeps them: a line of JSON, then arrays without names in the order of its modules."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ase.data import chemical_symbols
from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.arrays import read_arrays
from halocline.zoo.foreign.model import (
    COUNT,
    FLAG,
    LENGTH,
    ForeignModel,
    Rule,
    check_blocks,
    check_tensors,
    only,
    read_hyperparameters,
    show,
)
from halocline.zoo.foreign.nequix_layout import nequix_layout

#: How a file begins, where archives of torch.save have PK.
_MARK: Final = b"{"

#: Bytes, far more than the settings of a training take.
_LONGEST_LINE = 1 << 20

_NUMBER = Rule("a finite number", lambda v: type(v) in (int, float) and abs(v) < math.inf)
_POSITIVE = Rule("a positive number", lambda value: _NUMBER.holds(value) and value > 0)

#: Settings on which the function depends; all others are those of training.
_SETTINGS: dict[str, Rule] = {
    "atomic_numbers": Rule("a list of different atomic numbers", lambda value: _are_elements(value)),
    "hidden_irreps": Rule("text", lambda value: isinstance(value, str)),
    "lmax": Rule("0 to 3", lambda value: type(value) is int and 0 <= value <= 3),
    "n_layers": COUNT,
    "cutoff": LENGTH,
    "radial_basis_size": COUNT,
    "radial_polynomial_p": Rule(
        "a whole number from 2 to 99", lambda v: _NUMBER.holds(v) and 2 <= v < 100 and v == int(v)
    ),
    "radial_mlp_size": COUNT,
    "radial_mlp_layers": COUNT,
    "avg_n_neighbors": _POSITIVE,
    "index_weights": only(False),
    "layer_norm": FLAG,
    "scale": _NUMBER,
    "shift": _NUMBER,
}

#: Channels, degree and parity.
_TERM = re.compile(r"(\d{1,5})x([0-3])([eo])")


def begins_with_settings(path: Path) -> bool:
    """Whether a file begins as those of Nequix do."""
    with path.open("rb") as file:
        return file.read(len(_MARK)) == _MARK


def read_nequix(path: Path) -> ForeignModel:
    """Read a model of Nequix.

    Args:
        path: a file of it, whose name usually ends in ``.nqx``.

    Returns:
        Sizes and choices, and the tensors under the names of its modules. What else of a training's settings
        follows the weights, as single numbers, is left out.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, or has parts that are not known here.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    with path.open("rb") as file:
        settings = _settings(path, file.readline(_LONGEST_LINE))
        config = _config(path, settings)
        arrays = read_arrays(path, file)
    check_blocks(path, {str(number): array for number, array in enumerate(arrays)}, config["layers"])
    tensors = _named(path, arrays, nequix_layout(config))
    facts = {"files": {path.name: digest(path)}, "model": "Nequix"}
    return ForeignModel(dialect="nequix", config=config, tensors=tensors, facts=facts)


def _settings(path: Path, line: bytes) -> dict[str, Any]:
    try:
        settings = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise CheckpointError(
            f"{path} is not a file of Nequix: its first line must be a table of settings in JSON."
        )
    return read_hyperparameters(path, {k: v for k, v in settings.items() if k in _SETTINGS}, _SETTINGS)


def _config(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        # Upstream counts elements in the order of their numbers, however they are listed.
        "species": [chemical_symbols[number] for number in sorted(given["atomic_numbers"])],
        "irreps": _channels(path, given["hidden_irreps"], given["lmax"]),
        "layers": given["n_layers"],
        "lmax": given["lmax"],
        "cutoff": float(given["cutoff"]),
        "bessels": given["radial_basis_size"],
        "envelope_order": int(given["radial_polynomial_p"]),
        "radial_units": [given["radial_mlp_size"]] * given["radial_mlp_layers"],
        "neighbours": float(given["avg_n_neighbors"]),
        "normalised": given["layer_norm"],
        "scale": float(given["scale"]),
        "shift": float(given["shift"]),
    }


def _channels(path: Path, text: str, max_degree: int) -> list[int]:
    """Channels of the degrees from 0 on, whose parities must be those of harmonics."""
    found = [_TERM.fullmatch(term.strip()) for term in text.split("+")]
    terms = [(int(match[2]), match[3]) for match in found if match is not None]
    expected = [(degree, "eo"[degree % 2]) for degree in range(len(found))]
    channels = [int(match[1]) for match in found if match is not None]
    if terms != expected or len(terms) > max_degree + 1 or not all(map(COUNT.holds, channels)):
        raise CheckpointError(
            f"The irreps in {path} must be written like '128x0e + 64x1o + 32x2e', up to the degree "
            f"{max_degree} of its harmonics, not {show(text)}."
        )
    return channels


def _named(path: Path, arrays: list[Tensor], layout: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Arrays under the names of their places; those that follow must be single numbers."""
    tensors = dict(zip(layout, arrays, strict=False))
    check_tensors(path, tensors, layout)
    if any(array.ndim for array in arrays[len(layout) :]):
        raise CheckpointError(f"{path} has more arrays than its settings ask for, which are {len(layout)}.")
    return tensors


def _are_elements(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(type(number) is int and 0 < number < len(chemical_symbols) for number in value)
        and 0 < len(value) == len(set(value))
    )

"""What Halocline writes into the metadata of a safetensors file: one key, whose value is canonical JSON.

One key, because the library writes several in a random order and the same model would give different files.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

from halocline.canonical import parse_strict_json, to_canonical_json
from halocline.checkpoint.card import check_card
from halocline.errors import CheckpointError

METADATA_KEY = "halocline"
FORMAT_VERSION = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The fields of version 1, beside ``format_version``; their meaning is that of `Header`."""

    backbone: str
    config: dict[str, Any]
    reference_energies: dict[str, float]
    card: dict[str, Any]
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str) or not self.backbone:
            raise CheckpointError(f"the name of its backbone is {self.backbone!r}, not a string")
        for name in ("config", "reference_energies", "card"):
            if not isinstance(getattr(self, name), dict):
                raise CheckpointError(f"{name} is not a table")
        if not isinstance(self.sha256, str) or not _SHA256.fullmatch(self.sha256):
            raise CheckpointError(f"sha256 is {self.sha256!r}, not 64 hexadecimal digits")
        for symbol, energy in self.reference_energies.items():
            _check_reference_energy(symbol, energy)
        check_card(self.card)


def parse_metadata(text: str) -> Metadata:
    """Read the metadata.

    Raises:
        CheckpointError: they are damaged or of another version.
    """
    try:
        fields = parse_strict_json(text)
        # There are many ways to write a value; only one is accepted, so that no changed byte goes unnoticed.
        canonical = to_canonical_json(fields) == text
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"its metadata are not valid JSON ({error})") from error
    if not isinstance(fields, dict):
        raise CheckpointError("its metadata are not a JSON object")
    _check_version(fields.pop("format_version", None))
    if not canonical:
        raise CheckpointError("its metadata are not in canonical form, so they were changed after it was written")
    if set(fields) != set(Metadata.__dataclass_fields__):
        raise CheckpointError(f"its metadata have the fields {sorted(fields)}, which are not those of the format")
    return Metadata(**fields)


def format_metadata(fields: Mapping[str, Any]) -> str:
    """Write the metadata as text.

    Raises:
        CheckpointError: a value has no form in JSON.
    """
    try:
        return to_canonical_json({"format_version": FORMAT_VERSION, **fields})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"a checkpoint holds only plain JSON values beside its tensors; {error}") from error


def _check_version(version: Any) -> None:
    if type(version) is not int or version < 0:
        raise CheckpointError(f"its format version is {version!r}, not a number")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"it has format version {version} and this Halocline reads {FORMAT_VERSION}; update Halocline"
        )
    if version < FORMAT_VERSION:
        raise CheckpointError(
            f"it has format version {version} and this Halocline reads {FORMAT_VERSION}; "
            "update the file: pull the model again, or save it anew from its recipe"
        )


def _check_reference_energy(symbol: str, energy: Any) -> None:
    if not _SYMBOL.fullmatch(symbol):
        raise CheckpointError(f"a reference energy is given for {symbol!r}, which is no chemical symbol")
    if type(energy) not in (int, float) or not math.isfinite(energy):
        raise CheckpointError(f"the reference energy of {symbol} is {energy!r}, not a finite number")


def content_digest(
    fields: Mapping[str, Any],
    tensors: Iterable[tuple[str, str, tuple[int, ...], bytes | memoryview]],
) -> str:
    """SHA-256 over the metadata, and over names, dtypes, shapes and bytes of the tensors.

    It does not depend on where in the file the tensors lie. The hashed text is canonical JSON of the metadata
    without ``sha256``, to which ``tensors`` is added: a list of [name, dtype, shape] in the order of the names.
    After it come the bytes of the tensors in the same order.

    Args:
        fields: the metadata without ``format_version`` and ``sha256``.
        tensors: name, dtype as in safetensors, shape and bytes (little-endian, C order) of each tensor.

    Raises:
        CheckpointError: a value has no form in JSON.
    """
    ordered = sorted(tensors, key=lambda tensor: tensor[0])
    table = [[name, dtype, list(shape)] for name, dtype, shape, _ in ordered]
    digest = hashlib.sha256(format_metadata({**fields, "tensors": table}).encode("utf-8"))
    for _, _, _, data in ordered:
        digest.update(data)
    return digest.hexdigest()

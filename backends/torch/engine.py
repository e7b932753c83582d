"""What packages of kind ``program`` tell engines in other languages, in words that need no parser of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from ase.data import atomic_numbers

from halocline.errors import LoweringError
from halocline.graph import Radius
from halocline.lowering import Program
from halocline.model import Backbone

#: What names in the metadata begin with.
PREFIX: Final = "halocline.program."


def refusal(backbone: Backbone) -> str:
    """Why engines cannot give a model what it reads, neighbours within one cutoff alone; empty if they can."""
    if not isinstance(backbone.neighbours, Radius):
        return (
            f"{backbone.name!r} does not take all neighbours within one cutoff, which is what engines that run a "
            "program give; evaluate it by Halocline, such as with its ASE calculator."
        )
    if backbone.conditions:
        names = ", ".join(condition.name for condition in backbone.conditions)
        return (
            f"{backbone.name!r} has to be told {names}, which engines that run a program do not know of; "
            "export kind=structure, which takes it as an input."
        )
    if not backbone.derives_forces:
        return (
            f"{backbone.name!r} tells forces by themselves, and engines that run a program take derivatives of "
            "the energy; export kind=structure."
        )
    return ""


def require_served(backbone: Backbone) -> None:
    """See that engines can give a model what it reads.

    Raises:
        LoweringError: they cannot, for the reason that `refusal` tells.
    """
    if reason := refusal(backbone):
        raise LoweringError(reason)


def metadata(program: Program, references: Mapping[str, float]) -> dict[str, str]:
    """Names and values, each of the latter one word or several with blanks between.

    Args:
        program: of kind ``program``, with flat edges.
        references: eV by element, which energies of the program lack.
    """
    manifest = program.manifest
    assert manifest.neighbours is not None
    facts = {
        "torch": torch.__version__.partition("+")[0],
        "precision": manifest.precision.value,
        "cutoff": repr(float(manifest.neighbours["cutoff"])),
        "hops": str(manifest.hops),
        "species": " ".join(manifest.species),
        "numbers": " ".join(str(atomic_numbers[symbol]) for symbol in manifest.species),
        "references": " ".join(repr(float(references.get(symbol, 0.0))) for symbol in manifest.species),
        "inputs": " ".join(value.name for value in manifest.inputs),
    }
    return {PREFIX + name: value for name, value in facts.items()}

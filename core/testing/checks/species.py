"""Elements that a model was not made for are refused, never mapped to others."""

from __future__ import annotations

from ase import Atoms
from ase.data import chemical_symbols

from halocline.errors import UnknownElementError
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject


def check_species(subject: Subject) -> None:
    """A structure with a foreign element raises UnknownElementError; one of each own element does not."""
    own = subject.backbone.species
    for symbol in own:
        subject.potential()(Atoms([symbol], info=subject.samples.states), dtype="float64", device="cpu")
    foreign = [symbol for symbol in chemical_symbols[1:] if symbol not in own]
    if not foreign:
        raise NotApplicable("The model knows every element.")
    try:
        pair = Atoms([own[0], foreign[0]], positions=[[0, 0, 0], [0, 0, 1]], info=subject.samples.states)
        subject.potential()(pair, device="cpu")
    except UnknownElementError:
        return
    raise Failure(f"{foreign[0]} is evaluated although the model was made for {', '.join(own)}.")

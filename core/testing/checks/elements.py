"""With more elements, a backbone is what it was for those that it knew."""

from __future__ import annotations

from typing import Final

from halocline.errors import BackboneError
from halocline.model.widening import widened
from halocline.testing.checks.saving import check_config
from halocline.testing.comparison import require_same
from halocline.testing.report import NotApplicable
from halocline.testing.subject import Subject

#: Of which the first that a backbone does not know is added to it.
COMMON: Final = ("H", "C", "O", "Si", "Fe")


def check_elements(subject: Subject) -> None:
    """A backbone that takes new elements gives what it gave for its own, and is built from its config again.

    Raises:
        NotApplicable: it cannot be fitted with new elements.
        Failure: it can, and one of these does not hold.
    """
    backbone = subject.backbone
    new = [symbol for symbol in COMMON if symbol not in backbone.species][:1]
    if not new:
        raise NotApplicable(f"The backbone knows {', '.join(COMMON)} already.")
    try:
        wide = Subject(widened(backbone, new))
    except BackboneError as error:
        raise NotApplicable(f"It cannot be fitted with new elements: {error}") from error
    atoms = subject.samples.molecule
    require_same("with a new element that no atom has", wide.evaluate(atoms), subject.evaluate(atoms))
    check_config(wide)

"""The model can be lowered: it runs on every backend, not only where autograd is."""

from __future__ import annotations

from halocline.errors import LoweringError
from halocline.lowering import lower
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.testing.report import Failure
from halocline.testing.subject import Subject


def check_lowering(subject: Subject) -> None:
    """In each form it becomes a graph of plain operations, with its numbers on sizes it was not traced with."""
    for form in subject.forms:
        try:
            lower(FrozenModel.freeze(subject.backbone, Precision.FLOAT64, Capabilities.reference(form)))
        except LoweringError as error:
            raise Failure(f"In the form {form.value!r}: {error}") from error

"""The model can be lowered, and every backend has a word for every operation of it."""

from __future__ import annotations

from halocline.aggregation import Form
from halocline.errors import LoweringError
from halocline.lowering import lower
from halocline.plugin import registry
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject


def check_lowering(subject: Subject) -> None:
    """In each form it becomes a graph of plain operations, right on sizes that it was not traced with, too.

    Raises:
        Failure: it cannot be lowered.
    """
    for form in subject.forms:
        try:
            lower(FrozenModel.freeze(subject.backbone, Precision.FLOAT64, Capabilities.reference(form)))
        except LoweringError as error:
            raise Failure(f"In the form {form.value!r}: {error}") from error


def check_operations(subject: Subject) -> None:
    """The backends that are installed translate all operations, derivatives included.

    Raises:
        Failure: a backend has no translation of an operation; both are named with the line that calls it.
        NotApplicable: the stages do not declare the table form.
    """
    if Form.TABLE not in subject.forms:
        raise NotApplicable("Backends other than PyTorch run the table form, which it does not declare.")
    program = lower(FrozenModel.freeze(subject.backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE)))
    missing = []
    for component in registry().components("executor"):
        executor = registry().load("executor", component.qualified_name)
        if executor.diagnose().usable and (operations := executor.untranslated(program)):
            missing.append(f"{component.name} has no translation of {', '.join(operations)}")
    if missing:
        raise Failure(f"{'; '.join(missing)}. Write these lines with other operations.")

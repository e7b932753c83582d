"""The numbers are those of the model whatever the host program has done to torch."""

from __future__ import annotations

from halocline.context import evaluation_context
from halocline.model.build import build_with_seed
from halocline.program import Precision
from halocline.testing.comparison import require_agreement
from halocline.testing.hosts import HOSTS
from halocline.testing.subject import Subject


def check_host_contexts(subject: Subject) -> None:
    """Built and first evaluated within a host's context, then outside; and the other way round."""
    atoms = subject.samples.crystal
    for precision in Precision:
        for form in subject.forms:
            expected = subject.evaluate(atoms, form=form, precision=precision)
            for name, host in HOSTS.items():
                with host():
                    later = subject.evaluate(atoms, form=form, precision=precision)
                    rebuilt = _rebuilt(subject)
                    first = rebuilt.evaluate(atoms, form=form, precision=precision)
                after = rebuilt.evaluate(atoms, form=form, precision=precision)
                told = f"in {precision.value} and the form {form.value!r}"
                require_agreement(f"{told} under {name}", later, expected, precision)
                require_agreement(f"{told}, built under {name}", first, expected, precision)
                require_agreement(f"{told}, built under {name} and used outside", after, expected, precision)


def _rebuilt(subject: Subject) -> Subject:
    """The same model, built anew."""
    backbone = build_with_seed(type(subject.backbone), subject.backbone.config)
    with evaluation_context():
        backbone.load_state_dict(subject.backbone.state_dict())
    return Subject(backbone)

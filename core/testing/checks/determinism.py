"""The same input gives the same bits."""

from __future__ import annotations

from halocline.testing.comparison import require_identical
from halocline.testing.subject import Subject


def check_determinism(subject: Subject) -> None:
    """Evaluated twice, with other structures in between and in a fresh program, results are bit-equal."""
    samples = subject.samples
    for name, atoms in samples.small().items():
        first = subject.evaluate(atoms)
        subject.evaluate(samples.liquid)
        require_identical(f"of the {name} at a second call", subject.evaluate(atoms), first)
        fresh = Subject(subject.backbone).evaluate(atoms)
        require_identical(f"of the {name} in a fresh program", fresh, first)

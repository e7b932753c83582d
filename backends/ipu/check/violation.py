"""What the check reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Violation:
    """Something that PopTorch would refuse, or compute wrongly without a word.

    Attributes:
        rule: its name, as in the documentation.
        where: the operation, value or part of the manifest.
        sentence: what is wrong with it, and what to do.
    """

    rule: str
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence} [{self.rule}]"

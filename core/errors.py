"""Every error that a user can cause, under one root.

A message is one or two sentences: what is wrong, with the value that is wrong, and what to do about it.
The command line prints it without a traceback and leaves with ``exit_status``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar


class HaloclineError(Exception):
    """Root of all errors raised on purpose."""

    exit_status: ClassVar[int] = 1  # the work failed


class UsageError(HaloclineError):
    """The call itself was wrong: an unknown name, option or value."""

    exit_status: ClassVar[int] = 2


class StructureError(HaloclineError):
    """A structure cannot be evaluated: unreadable, not finite, without volume, or outside the model's species."""


class UnknownElementError(StructureError):
    """A structure holds an element that the model was not made for."""


class NotFiniteError(StructureError):
    """A model gives a structure an energy, a force or a stress that is not a finite number."""


class CheckpointError(HaloclineError):
    """A checkpoint is damaged, hostile, or of another version."""


class PluginError(HaloclineError):
    """A plugin cannot be loaded or breaks its contract."""


class BackboneError(HaloclineError):
    """A backbone breaks the stage contract or was configured wrongly."""


class KernelError(HaloclineError):
    """A faster stage cannot take the place of a plain one, or computes something else."""


class PrecisionError(HaloclineError):
    """What was asked for was not what was computed in."""


class LoweringError(HaloclineError):
    """A backbone cannot be turned into a program of plain tensor operations, or a program breaks its rules."""


class ArtefactError(HaloclineError):
    """A program cannot be compiled or kept, is damaged, or was made for another version or machine."""


class DistributedError(HaloclineError):
    """The ranks of a distributed evaluation could not start, disagree, or one of them died or hangs."""


class ZooError(HaloclineError):
    """A model could not be found, fetched or verified."""


class TrainingError(HaloclineError):
    """Training data or a training run cannot be used."""


class OutputError(HaloclineError):
    """Results cannot be written, or what is there does not belong to what should go on."""


class DynamicsError(HaloclineError):
    """A dynamics or relaxation run had to stop."""


class UnstableDynamicsError(DynamicsError):
    """A dynamics run came to a step from which it must not go on: what follows would be nonsense."""


@contextmanager
def within(place: str) -> Iterator[None]:
    """Begin the message of every error of the block with the file or the key that it is about."""
    try:
        yield
    except HaloclineError as error:
        error.args = (f"{place}: {error}",)
        raise


def unknown_name(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for a name that is not known, with the nearest names or the whole list."""
    names = sorted(known)
    # Long names are seldom written out: one of their words, misspelt, is enough.
    words = {word.lower(): full for full in reversed(names) for word in re.split("[-_/ ]", full)}
    whole = {full.lower(): full for full in reversed(names)}
    near = [whole[each] for each in difflib.get_close_matches(name.lower(), whole, n=3, cutoff=0.5)] or list(
        dict.fromkeys(words[word] for word in difflib.get_close_matches(name.lower(), words, n=3, cutoff=0.7))
    )
    if near:
        hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif names:
        hint = "known are " + ", ".join(names) + "."
    else:
        hint = "there are none."
    return UsageError(f"There is no {what} named {name!r}; {hint}")

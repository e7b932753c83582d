"""Frames of many files, one after another, and what the model makes of each."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from ase import Atoms

from halocline.digests import file_digest
from halocline.errors import HaloclineError, StructureError
from halocline.evaluator.result import Result
from halocline.potential.many import outcomes
from halocline.structures.read import stream_frames
from halocline.structures.source import STANDARD_INPUT

if TYPE_CHECKING:
    from halocline.data.labels import LabelReader
    from halocline.evaluator import Evaluator
    from halocline.potential.potential import Potential

#: Frames whose labels are looked for together.
_TOGETHER: Final = 256


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One structure as it was read.

    Attributes:
        file: where it comes from, as the caller named it.
        number: its place in that file, from 0.
        content: the structure with whatever labels the file holds; or why it, or all from here on, cannot be read.
    """

    file: str
    number: int
    content: Atoms | StructureError

    @property
    def atoms(self) -> Atoms:
        """The structure of a frame that was read."""
        assert isinstance(self.content, Atoms)
        return self.content

    def __str__(self) -> str:
        return f"{self.file}, frame {self.number}"


@final
@dataclass(frozen=True, slots=True)
class EvaluatedFrame:
    """A frame and its result, or an error that names the frame."""

    frame: Frame
    result: Result | HaloclineError


def read_all(files: Sequence[str], file_format: str | None = None) -> Generator[Frame]:
    """Read the frames of files as they are needed; a file that cannot be read on is followed by the next.

    Args:
        files: paths, or `halocline.structures.source.STANDARD_INPUT`.
        file_format: ASE's name of their format, if names and content do not tell.
    """
    for file in files:
        number = 0
        try:
            for content in stream_frames(file, file_format):
                yield Frame(file, number, content)
                number += 1
        except StructureError as error:
            yield Frame(file, number, error)


def evaluate_frames(
    potential: Potential, evaluator: Evaluator, frames: Iterable[Frame], head: str | None = None
) -> Generator[EvaluatedFrame]:
    """Evaluate frames many at a time, and yield them in their order; see `Potential.map`.

    Args:
        potential: the model.
        evaluator: from `Potential.evaluator`.
        frames: read when results are asked for, and a few ahead.
        head: that is to answer; see a call of the potential.
    """
    waiting: deque[Frame] = deque()

    def structures() -> Iterator[Atoms]:
        for frame in frames:
            waiting.append(frame)
            if isinstance(frame.content, Atoms):
                yield frame.content

    for outcome in outcomes(potential, evaluator, structures(), head):
        while isinstance(error := (frame := waiting.popleft()).content, StructureError):
            yield EvaluatedFrame(frame, error)
        if isinstance(outcome, HaloclineError):
            outcome.args = (f"{frame}: {outcome}",)
        yield EvaluatedFrame(frame, outcome)
    for frame in waiting:
        assert isinstance(frame.content, StructureError)
        yield EvaluatedFrame(frame, frame.content)


def looked_at(reader: LabelReader, evaluated: Iterable[EvaluatedFrame]) -> Generator[EvaluatedFrame]:
    """The same frames; those that come together are looked at together for what they call their labels."""
    rest = iter(evaluated)
    while some := list(itertools.islice(rest, _TOGETHER)):
        reader.look([each.frame for each in some if isinstance(each.frame.content, Atoms)])
        yield from some


def file_digests(files: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file as it is now; of standard input there is none."""
    return {file: file_digest(Path(file)) for file in files if file != STANDARD_INPUT}

"""Samples for one step after another; where they are not in memory, a thread makes the next ones meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, final, overload

from halocline.data.labels import Labels
from halocline.training.problem import Problem
from halocline.training.samples import Sample

#: Steps whose samples are made ahead.
_AHEAD: Final = 2


@final
class MadeWhenAsked(Sequence[Sample]):
    """The samples of some frames of a problem, none of which is kept here.

    Args:
        problem: what is fitted.
        frames: numbers of the frames.
        taught: what the teacher says, of those frames that it is asked about.
    """

    def __init__(self, problem: Problem, frames: Sequence[int], taught: Mapping[int, Labels]) -> None:
        self._problem, self._frames, self._taught = problem, frames, taught

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        problem, frame = self._problem, self._frames[index]
        return Sample(
            problem.graphs[frame], problem.labels[frame], problem.reference(frame), self._taught.get(frame)
        )


def in_steps(samples: Sequence[Sample], steps: Iterable[Iterable[int]]) -> Generator[list[Sample]]:
    """The samples of one step after another. What goes wrong with one is raised when its step is asked for.

    Args:
        samples: of all frames: a list, or `MadeWhenAsked`.
        steps: places in it.
    """
    if isinstance(samples, list):
        yield from ([samples[i] for i in step] for step in steps)
        return
    coming: deque[Future[list[Sample]]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="halocline-samples") as thread:
        try:
            for step in steps:
                coming.append(thread.submit(lambda places: [samples[i] for i in places], step))
                if len(coming) > _AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)

"""Ranks that are threads of one process: they meet where processes would."""

import threading
from concurrent.futures import ThreadPoolExecutor

from halocline.training.team import Team


class ThreadTeam(Team):
    """Ranks that are threads of one process, of which one runs at a time: they share torch's default dtype."""

    def __init__(self, rank, desks, turn, barrier):
        super().__init__(rank, len(desks))
        self._desks, self._turn, self._barrier = desks, turn, barrier

    def sum(self, values):
        self._desks[self.rank] = values.clone()
        self._meet()
        total = sum(self._desks[1:], start=self._desks[0])
        self._meet()
        values.copy_(total)

    def _meet(self):
        self._turn.release()
        try:
            self._barrier.wait()
        finally:
            self._turn.acquire()


def run_together(work, ranks):
    """Call a function with each of so many teams at the same time; the first error is raised."""
    desks, turn, barrier = [None] * ranks, threading.Lock(), threading.Barrier(ranks, timeout=60.0)

    def guarded(rank):
        try:
            with turn:
                return work(ThreadTeam(rank, desks, turn, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(ranks) as pool:
        futures = [pool.submit(guarded, rank) for rank in range(ranks)]
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]

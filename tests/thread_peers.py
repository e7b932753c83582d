"""Ranks that are threads of one process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from halocline.backends.ddp.resident.peers import Alone, Peers


class ThreadPeers(Peers):
    """One of several ranks that put what they have for each other on a board."""

    def __init__(self, rank, board, barrier):
        self.rank, self.size = rank, len(board)
        self.board, self.barrier = board, barrier

    def swap(self, out, lengths=None):
        assert len(out) == self.size
        found = [each[self.rank].copy() for each in self._post(out)]
        assert lengths is None or [len(rows) for rows in found] == list(lengths)
        return found

    def gathered(self, array):
        return np.stack(self._post(array.copy()))

    def _post(self, what):
        self.board[self.rank] = what
        self.barrier.wait()
        found = list(self.board)
        self.barrier.wait()
        return found


def on_ranks(size, work):
    """What ``work(peers)`` returns on each of so many ranks."""
    if size == 1:
        return [work(Alone())]
    board, barrier = [None] * size, threading.Barrier(size, timeout=60.0)

    def guarded(rank):
        try:
            return work(ThreadPeers(rank, board, barrier))
        except BaseException:
            barrier.abort()  # or the others would wait for it
            raise

    with ThreadPoolExecutor(size) as pool:
        results = [pool.submit(guarded, rank) for rank in range(size)]
    failures = [each.exception() for each in results if each.exception() is not None]
    for failure in sorted(failures, key=lambda each: isinstance(each, threading.BrokenBarrierError)):
        raise failure
    return [each.result() for each in results]

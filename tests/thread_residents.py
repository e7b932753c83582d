"""Ranks that hold atoms, as threads of one process: what they are told and say goes through the wire's bytes."""

from __future__ import annotations

import queue
import threading

from thread_peers import ThreadPeers

from halocline.backends.ddp.messages import TO_DRIVER, TO_RANK, Assignment
from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.backends.ddp.resident.peers import Alone
from halocline.backends.ddp.wire import decode, encode
from halocline.backends.ddp.worker import DomainWorker
from halocline.place import Place
from halocline.program import Precision


def across(message, kinds):
    """What arrives of a message."""
    data = memoryview(b"".join(encode(message)))

    def read(buffer):
        nonlocal data
        buffer[:], data = data[: len(buffer)], data[len(buffer) :]

    return decode(kinds, read)


class ThreadCrew:
    """Does what `Crew` does for ranks that are alive."""

    alive = True

    def __init__(self, backbone, ranks, precision=Precision.FLOAT64):
        board, barrier = [None] * ranks, threading.Barrier(ranks, timeout=60.0)
        assignment = Assignment(
            PortableModel.of(backbone), precision, "torch", "cpu", exchange=False, timeout=60.0
        )
        self.workers = [DomainWorker(assignment, Place(0, 1, 0, 1)) for _ in range(ranks)]
        self.barrier = barrier
        for rank, worker in enumerate(self.workers):
            worker._peers = ThreadPeers(rank, board, barrier) if ranks > 1 else Alone()

    def ask(self, messages, kind):
        answers = queue.SimpleQueue()

        def work(rank):
            try:
                answer = across(self.workers[rank].answer(across(messages[rank], TO_RANK)), TO_DRIVER)
                assert isinstance(answer, kind)
            except Exception as error:
                self.barrier.abort()  # or the others would wait for it
                answer = error
            answers.put((rank, answer))

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(messages))]
        for thread in threads:
            thread.start()
        found = dict(answers.get() for _ in threads)
        for thread in threads:
            thread.join()
        errors = [each for each in found.values() if isinstance(each, Exception)]
        for error in sorted(errors, key=lambda each: isinstance(each, threading.BrokenBarrierError)):
            raise error
        return [found[rank] for rank in range(len(messages))]


def residents(backbone, ranks, **options):
    """Of so many threads."""
    crew = ThreadCrew(backbone, ranks, **options)
    return DdpResidents(lambda: crew, ranks)

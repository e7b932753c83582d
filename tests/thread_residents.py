"""Ranks that hold atoms, as threads of one process: what they are told and say goes through the wire's bytes."""

from __future__ import annotations

import functools
import queue
import threading

import torch
from thread_peers import ThreadPeers

from halocline.backends.ddp.messages import TO_DRIVER, TO_RANK, Assignment
from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.resident.peers import Alone
from halocline.backends.ddp.wire import decode, encode
from halocline.backends.ddp.worker import DomainWorker
from halocline.evaluator.runner import Links
from halocline.place import Place
from halocline.program import Precision


def across(message, kinds):
    """What arrives of a message."""
    data = memoryview(b"".join(encode(message)))

    def read(buffer):
        nonlocal data
        buffer[:], data = data[: len(buffer)], data[len(buffer) :]

    return decode(kinds, read)


class ThreadLinks(Links):
    """Does what `DistributedLinks` does."""

    def __init__(self, peers, domain):
        self.peers, self.sends, self.receives = peers, domain.sends, domain.receives

    def forward(self, rows):
        for halo, arrived in self.swapped(rows, self.sends, self.receives):
            rows[halo] = arrived

    def backward(self, rows):
        arrived = self.swapped(rows, self.receives, self.sends)
        for halo in self.receives:
            rows[halo] = 0
        for owned, of_halo in arrived:
            rows[owned] += of_halo

    def swapped(self, rows, out, into):
        found = self.peers.swap([rows[some].numpy() for some in out], [len(some) for some in into])
        return [(some, torch.from_numpy(arrived)) for some, arrived in zip(into, found, strict=True)]


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
            worker._links_of = functools.partial(ThreadLinks, worker._peers)

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

"""The process of a rank that the driver starts: it is given the descriptor of its line, and the timeout."""

from __future__ import annotations

import os
import socket
import sys

from halocline.allocation import keep_memory
from halocline.backends.ddp.channel import Channel
from halocline.backends.ddp.messages import TO_RANK, hello
from halocline.backends.ddp.service import serve
from halocline.place import Place


def main(descriptor: int, timeout: float) -> None:
    """Serve the driver at the other end of an inherited socket."""
    keep_memory(os.environ)
    os.set_inheritable(descriptor, False)  # a process that outlives this one must not keep the line open
    place = Place.find(os.environ)
    assert place is not None
    channel = Channel(socket.socket(fileno=descriptor), timeout, TO_RANK)
    serve(channel, hello(place.rank), place, timeout, abandon=end_process)
    end_process(0)


def end_process(status: int = 1) -> None:
    """End without asking any other thread: one may be waiting for a rank that is gone."""
    os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))

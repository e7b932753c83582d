"""Where processes that compute together find each other, out of the reach of others wherever that can be had."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, final

# Exported, but not in its types.
from torch.distributed import FileStore, Store, rendezvous  # type: ignore[attr-defined]

from halocline.errors import DistributedError, UsageError
from halocline.place import Place

#: Seconds within which all processes have to come: they may load something large before.
GATHERING: Final = 300.0

#: Environment variable with the descriptor of the store of ranks that were started on this machine.
_DESCRIPTOR: Final = "HALOCLINE_STORE"

#: Key that is there once all ranks are loaded.
_START: Final = "start"

#: Where gloo and nccl listen, unless these say something else already.
_LOOPBACK: Final = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


@final
class PrivateStore:
    """The store of ranks that this process starts: a file in memory, which only those have who inherit it.

    So nobody listens anywhere, nothing lies in a folder, and it is gone with the last of them.

    Attributes:
        descriptor: for the ranks to inherit.

    Raises:
        UsageError: the system has no such files.
    """

    def __init__(self) -> None:
        if not hasattr(os, "memfd_create"):
            raise UsageError("Ranks can be started on Linux only; compute with one process here.")
        self.descriptor = os.memfd_create("halocline-store")
        weakref.finalize(self, os.close, self.descriptor)
        self._store = _open(self.descriptor)

    def variables(self, place: Place) -> dict[str, str]:
        """Environment variables by which a rank finds the store; at the address that torch needs is nobody."""
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        return place.variables() | address | {_DESCRIPTOR: str(self.descriptor)}

    def have_come(self, ranks: Iterable[int]) -> bool:
        """Whether all of these ranks wait in `await_start`."""
        return bool(self._store.check([_sign(rank) for rank in ranks]))

    def start(self) -> None:
        """Let those go on that wait in `await_start`."""
        self._store.set(_START, "")


@functools.cache
def meeting_point(seconds: float = GATHERING) -> Store:
    """The store of the process that has started this one, or else that of torchrun, or of rank 0.

    There is one for a process, as where rank 0 keeps it, it has to live as long. After a restart by torchrun it
    may still hold what the processes before have written.

    Args:
        seconds: within which it has to be there, and each thing that is asked of it.

    Raises:
        DistributedError: it cannot be reached.
    """
    if (private := _inherited()) is not None:
        private.set_timeout(timedelta(seconds=seconds))
        return private
    try:
        store: Store = next(rendezvous("env://", timeout=timedelta(seconds=seconds)))[0]
    except (RuntimeError, ValueError) as error:
        raise DistributedError(f"The ranks did not find the place where they meet: {error}") from error
    return store


def await_start(place: Place) -> None:
    """Say that this rank has been loaded, and wait for the others if these were started on this machine.

    Raises:
        DistributedError: they do not come.
    """
    if (store := _inherited()) is None:
        return
    store.set(_sign(place.rank), "")
    try:
        store.wait([_START], timedelta(seconds=GATHERING))
    except RuntimeError as error:
        raise DistributedError(f"Not all ranks were loaded within {GATHERING:g} s.") from error


def stay_on_node(place: Place) -> None:
    """Let the ranks of one node listen for each other where nobody outside can reach them, unless users say where.

    Args:
        place: of this rank; to call before it joins a process group.
    """
    if place.local_size == place.size:
        for name, interface in _LOOPBACK.items():
            os.environ.setdefault(name, interface)


@functools.cache
def _inherited() -> Store | None:
    """The private store of whoever has started this process. Its own children are no ranks."""
    text = os.environ.pop(_DESCRIPTOR, "")
    if not text:
        return None
    os.set_inheritable(int(text), False)
    return _open(int(text))


def _open(descriptor: int) -> Store:
    return FileStore(f"/proc/self/fd/{descriptor}", -1)


def _sign(rank: int) -> str:
    return f"loaded{rank}"

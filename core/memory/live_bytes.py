"""Memory that a computation holds at its worst moment, tensor by tensor; and errors that say that it ran out."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, final

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from halocline.context import in_evaluation_context

#: What torch's allocator for CPUs says, in an error that is like any other.
_ON_CPU = ("DefaultCPUAllocator", "not enough memory")


@in_evaluation_context
def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensors made by a call that were alive at the same time.

    Storages are counted as they are made and freed, derivatives included, so the number is the same on every
    machine. What operations take for themselves while they run is not seen. The call is made in the evaluation
    context, which would otherwise leave the counter aside as a mode of the host.
    """
    with _Storages() as storages:
        result = call()
    del result
    return int(storages.peak)


@final
class _Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Follows the storages of all tensors that operations return."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._alive = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in here, and asking torch's compiler to keep out would import it, for seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_storage(leaf)._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and (storage := _storage(leaf))._cdata not in given | self._known:
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self._alive += size
        self.peak = max(self.peak, self._alive)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out: of Python and NumPy, or of torch on the CPU or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ON_CPU)

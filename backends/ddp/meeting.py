"""The store through which processes that do not know each other yet find each other."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Final

# Exported, but not in its types.
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

from halocline.errors import DistributedError

#: Seconds within which all processes have to come: they may load something large before.
GATHERING: Final = 300.0


@functools.cache
def meeting_point() -> Store:
    """The store that torchrun, or else rank 0, keeps at the address that the environment names.

    There is one for a process, as where rank 0 keeps it, it has to live as long. After a restart by torchrun it
    may still hold what the processes before have written.

    Raises:
        DistributedError: it cannot be reached.
    """
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=GATHERING)))
    except (RuntimeError, ValueError) as error:
        raise DistributedError(f"The ranks did not find the place where they meet: {error}") from error
    return PrefixStore("halocline", store)

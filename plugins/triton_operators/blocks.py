"""Block sizes of kernels: timed at the first use on a device, and kept for the processes after this one."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from subprocess import SubprocessError
from typing import Any, Final

import torch
import triton

from halocline import forks
from halocline.artefacts import cached
from halocline.durations import announced
from halocline.errors import ArtefactError, KernelError, UsageError
from halocline.files import write_atomically

_logger = logging.getLogger(__name__)

#: Keyword arguments of a launch: sizes of blocks by their names, and ``num_warps``.
Blocks = dict[str, int]

#: What a candidate fails with that this device cannot run, or where nothing can be compiled.
FAILURES: Final = (triton.TritonError, RuntimeError, OSError, SubprocessError)

#: Elements that a launch works on from which on its time tells block sizes apart. Below, hardly more than the
#: launch itself is timed, and the first candidate runs.
ENOUGH: Final = 1 << 20

#: Launches of a candidate whose median counts, after some that do not, the first of which compiles.
_WARM_UP, _REPEATS = 2, 5

_chosen: dict[tuple[object, ...], Blocks] = {}
_lock = forks.lock()

Seconds = Callable[[Callable[[], object]], float]


def distinct(found: Sequence[Blocks]) -> tuple[Blocks, ...]:
    """Candidates in their order, each once."""
    return tuple(dict(each) for each in dict.fromkeys(tuple(blocks.items()) for blocks in found))


def blocks_for(
    kernel: Any,
    about: tuple[object, ...],
    candidates: Sequence[Blocks],
    device: torch.device,
    work: int,
    run: Callable[[Blocks], object],
) -> Blocks:
    """The block sizes to launch a kernel with.

    Those that were the fastest on this device when they were first asked for with enough work are kept in the
    cache folder. On the CPU, where Triton's interpreter stands in for a GPU, nothing is timed.

    Args:
        kernel: the function of Triton.
        about: what else the choice depends on, such as dtype and channels.
        candidates: all that can be chosen; the first is right for any launch.
        device: of the tensors.
        work: elements that this launch works on.
        run: launches with some candidate.

    Raises:
        KernelError: none can be run.
    """
    if device.type != "cuda":
        return candidates[0]
    name = f"{kernel.fn.__module__.rpartition('.')[2]}.{kernel.fn.__name__}"
    known = (name, about, device)
    if (found := _chosen.get(known)) is not None:
        return found
    if work < ENOUGH:
        return candidates[0]
    with _lock:
        if known not in _chosen:
            key = {
                "blocks": name,
                "source": hashlib.sha256(inspect.getsource(kernel.fn).encode()).hexdigest(),
                "about": ", ".join(map(str, about)),
                "candidates": json.dumps(candidates),
                "device": _device_name(device),
                "triton": triton.__version__,
            }
            _chosen[known] = kept(key, candidates, run, seconds_on_gpu)
        return _chosen[known]


def kept(
    key: Mapping[str, str], candidates: Sequence[Blocks], run: Callable[[Blocks], object], seconds: Seconds
) -> Blocks:
    """The fastest candidate as the cache folder has it, or as it is measured now.

    Args:
        key: everything that the choice depends on.
        candidates: all of them.
        run: launches with one.
        seconds: that a call takes.

    Raises:
        KernelError: none can be run.
    """

    def build(path: Path) -> None:
        with announced(f"Choosing block sizes of {key['blocks']!r} on {key['device']}, once"):
            write_atomically(path, json.dumps(fastest(candidates, run, seconds)).encode())

    def load(data: bytes) -> Blocks:
        found: Blocks = json.loads(data)
        return found

    try:
        return cached(key, ".blocks", build, load, f"block sizes of {key['blocks']!r}")
    except (ArtefactError, UsageError) as error:  # the cache folder is not there, or cannot be relied on
        _tell(f"{error} Until then block sizes are chosen anew in every process.")
        return fastest(candidates, run, seconds)


def fastest(candidates: Sequence[Blocks], run: Callable[[Blocks], object], seconds: Seconds) -> Blocks:
    """The candidate whose calls take the least time, the earlier of equals; those that fail are left out.

    Raises:
        KernelError: all fail; the reason is that of the first.
    """
    best, least, failures = None, float("inf"), list[Exception]()
    for blocks in candidates:
        try:
            took = seconds(lambda blocks=blocks: run(blocks))  # type: ignore[misc]
        except torch.OutOfMemoryError:
            raise
        except FAILURES as error:
            failures.append(error)
        else:
            if took < least:
                best, least = blocks, took
    if best is None:
        raise KernelError(f"Triton can run it with no block sizes: {failures[0]}")
    return best


def seconds_on_gpu(call: Callable[[], object]) -> float:
    """The median of what calls take on the current device."""
    for _ in range(_WARM_UP):
        call()
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(_REPEATS)]
    for start, end in pairs:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return 1e-3 * float(median(start.elapsed_time(end) for start, end in pairs))


def _device_name(device: torch.device) -> str:
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} {properties.major}.{properties.minor}"


@cache
def _tell(message: str) -> None:
    """Warn once in a process."""
    _logger.warning("%s", message)

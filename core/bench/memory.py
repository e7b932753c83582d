"""Memory of this process, or of the device that it computes on."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from halocline.doctor.machine import free_memory


def peak_memory(device: str) -> int:
    """The most bytes that were in use so far: of the process, or of torch on a CUDA device."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return _high_water_mark()


def available_memory(device: str) -> int:
    """Bytes that could be taken in addition."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()


def _high_water_mark() -> int:
    """Resident bytes at their peak.

    On Linux ``ru_maxrss`` starts with the value of the process that started this one; the status file does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

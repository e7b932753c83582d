"""What a backend says of itself: usable here or not, why, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state of one backend on this machine.

    Attributes:
        usable: whether an executor can be made here.
        reason: why it is not usable, and what to do about it, in one sentence; empty if it is.
        versions: version of each package that it runs on, by name.
        devices: what ``--device`` accepts here, such as ``cpu`` and ``cuda:0``.
        details: whatever else explains its speed or its numbers, such as threads and kernels, by name.
    """

    usable: bool
    reason: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    details: dict[str, str] = field(default_factory=dict)

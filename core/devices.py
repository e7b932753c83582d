"""Names of devices: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch

from halocline.errors import UsageError

#: Kinds of device that torch computes on here.
KINDS: Final = ("cpu", "cuda")


@final
@dataclass(frozen=True, slots=True)
class Device:
    """A device by kind and number.

    Attributes:
        kind: one of `KINDS`.
        index: number of a GPU; None where none was said, which is the current one.
    """

    kind: str
    index: int | None = None

    @property
    def name(self) -> str:
        """The name that torch has for it, such as ``cuda:1``."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    def require_there(self, why: str = "was asked for") -> None:
        """Make sure that torch sees the device.

        Args:
            why: it has to, for the message.

        Raises:
            UsageError: it does not.
        """
        there = torch.cuda.device_count()
        if self.kind == "cuda" and (self.index or 0) >= there:
            raise UsageError(
                f"The device {self.name!r} {why}, but torch sees {there} CUDA devices; the device cpu needs none."
            )


def read_device(name: str, default: str | None = None) -> Device:
    """Read the name of a device, which need not be there.

    Args:
        name: see above.
        default: the kind that ``auto`` is; by default CUDA if there is one, else the CPU.

    Raises:
        UsageError: it is no such name.
    """
    if name == "auto":
        return Device(default or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind, colon, index = name.partition(":")
    numbered = kind == "cuda" and index.isascii() and index.isdigit()
    if kind not in KINDS or (colon and not numbered):
        raise UsageError(f"There is no device {name!r}; use auto, cpu, cuda or cuda:N.")
    return Device(kind, int(index) if colon else None)


def device_there(name: str) -> str:
    """What torch calls a device that it sees.

    Args:
        name: as for `read_device`.

    Raises:
        UsageError: it is no name of a device, or there is no such device.
    """
    device = read_device(name)
    device.require_there()
    return device.name

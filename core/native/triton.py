"""Whether operators that are written in Triton run on this machine."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from halocline.errors import KernelError

#: What installs it, where torch has not brought it along.
_EXTRA: Final = "pip install 'halocline[triton]'"


def require_triton() -> str:
    """The version of Triton, which is not imported.

    Raises:
        KernelError: it is not installed.
    """
    try:
        return version("triton")
    except PackageNotFoundError:
        raise KernelError(f"Triton is not installed, which compiles code for GPUs: {_EXTRA}") from None

"""Whether code that is compiled on this machine runs on it, and on its GPUs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from halocline.isolation import call
from halocline.native import library
from halocline.native.compiler import compiler_version
from halocline.native.prebuilt import prebuilt
from halocline.native.triton import require_triton

_LANES = """
#include "lanes.h"
#include "rows.h"
extern "C" int lanes() {
  int64_t most = 0;
  halo::for_rows(2 * halo::LANES<float>, 2, [&](int64_t, int64_t last) {
    if (last == 2 * halo::LANES<float>) most = last;
  });
  return int(most / 2);
}
"""


def describe_native(seconds: float) -> str:
    """The width of its vectors and the compiler, or why there is none of it.

    Args:
        seconds: after which it counts as hanging.
    """
    outcome = call("halocline.doctor.native:examine", {}, seconds)
    return str(outcome.values[0]) if outcome.values else f"not usable: {outcome.failure}"


def load_lanes() -> ctypes.CDLL:
    """The library that is examined.

    Raises:
        KernelError: it cannot be had here.
    """
    return library("lanes", _LANES)


def examine(argument: dict[str, str]) -> Iterator[str]:
    """Compile a library, or find it in the cache, and run it.

    Yields:
        What is to be said of it.

    Raises:
        KernelError: it cannot be compiled or loaded.
    """
    del argument
    lanes = load_lanes().lanes
    compiler = compiler_version()
    if prebuilt("lanes", _LANES) is None:
        yield f"usable: {lanes()} float32 lanes, compiled by {compiler}"
    else:
        others = f"others are compiled by {compiler}" if compiler else "there is no compiler for others"
        yield f"usable: {lanes()} float32 lanes, prebuilt; {others}"


def describe_triton(seconds: float) -> str:
    """The version of Triton and the GPU that it is for, or why kernels are not used on GPUs.

    Args:
        seconds: after which it counts as hanging.
    """
    outcome = call("halocline.doctor.native:examine_triton", {}, seconds)
    return str(outcome.values[0]) if outcome.values else f"not usable: {outcome.failure}"


def examine_triton(argument: dict[str, str]) -> Iterator[str]:
    """Look for Triton, and for a GPU.

    Yields:
        What is to be said of it.

    Raises:
        KernelError: it is not installed.
    """
    import torch

    del argument
    version = require_triton()
    if torch.cuda.is_available():
        yield f"{version}, for {torch.cuda.get_device_name()}"
    else:
        yield f"not used: {version} is installed, and torch sees no GPU"

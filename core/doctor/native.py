"""Whether code that is compiled on this machine runs on it."""

from __future__ import annotations

from collections.abc import Iterator

from halocline.isolation import call
from halocline.native import library
from halocline.native.compiler import compiler_version

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


def examine(argument: dict[str, str]) -> Iterator[str]:
    """Compile a library, or find it in the cache, and run it.

    Yields:
        What is to be said of it.

    Raises:
        KernelError: it cannot be compiled or loaded.
    """
    del argument
    lanes = library("lanes", _LANES).lanes()
    yield f"usable: {lanes} float32 lanes, compiled by {compiler_version()}"

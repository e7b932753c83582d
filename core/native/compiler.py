"""The C++ compiler of this machine: which one it is, what it compiles for, and one call of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from halocline.errors import KernelError

#: Headers that sources may include.
HEADERS: Final = Path(__file__).parent / "include"

#: How everything is compiled. NaN stays NaN and sums keep their order: nothing here is -ffast-math. Libraries are
#: loaded beside others that may have functions of the same names: each calls its own.
FLAGS: Final = (
    *("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast"),
    *("-fPIC", "-shared", "-fno-exceptions", "-fno-rtti", "-pthread"),
    *(() if sys.platform == "darwin" else ("-Wl,-Bsymbolic",)),
)


def find_compiler() -> str | None:
    """The C++ compiler that torch would call: ``CXX``, or the usual one of the system; None if it is not there."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def compiler_version() -> str:
    """How the C++ compiler introduces itself; empty if there is none."""
    compiler = find_compiler()
    return _answer(compiler, "--version").partition("\n")[0] if compiler else ""


def require_compiler() -> str:
    """The path of the compiler.

    Raises:
        KernelError: there is none.
    """
    compiler = find_compiler()
    if compiler is None:
        raise KernelError(
            "There is no C++ compiler here: install g++, or name yours in the environment variable CXX."
        )
    return compiler


def target(compiler: str, flags: Sequence[str]) -> str:
    """What a compiler would do with some flags, in its own words: its version, and every instruction set by name.

    With -march=native this is what code depends on of the processor. Nothing is compiled.
    """
    return _answer(compiler, "-###", "-x", "c++", "-E", *flags, os.devnull)


def compile_library(name: str, source: str, flags: Sequence[str], path: Path) -> None:
    """Compile C++ to a shared library.

    Args:
        name: of the library, for messages.
        source: the text.
        flags: all of them.
        path: of the library, in a folder for this alone.

    Raises:
        KernelError: there is no compiler, or it refuses the source.
        OSError: the source cannot be written.
    """
    compiler = require_compiler()
    text = path.with_name(f"{name}.cpp")
    text.write_text(source, encoding="utf-8")
    done = _call(compiler, *flags, f"-I{HEADERS}", "-o", str(path), str(text))
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        errors = [line for line in lines if " error: " in line] or lines or [f"status {done.returncode}"]
        why = errors[-1].removeprefix(f"{text.parent}/")
        raise KernelError(f"{compiler} cannot compile the library {name!r}: {why}")


@cache
def _answer(compiler: str, *arguments: str) -> str:
    """All that a compiler says; the same in one process."""
    done = _call(compiler, *arguments)
    return done.stdout + done.stderr


def _call(compiler: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [compiler, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"LC_ALL": "C"},  # messages in one language, whatever the user's
    )

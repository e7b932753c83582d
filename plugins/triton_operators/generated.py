"""Kernels that are written for each model, as modules.

Triton compiles a function from its text, which it has `inspect` read from the file that the function is from: text
that was only executed has none. Modules are therefore files, in folders of this process: they are written in
milliseconds. What takes seconds, and is kept, is what Triton makes of them; its cache goes by their text.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from halocline import forks

_lock = forks.lock()

#: They go with the process. Each module has one, as a forked child that ends takes those along that it knows of.
_folders: list[tempfile.TemporaryDirectory[str]] = []


def module_of(name: str, text: str) -> ModuleType:
    """The module of a text, which is imported once in a process.

    Args:
        name: what it is about, an identifier.
        text: of the module.
    """
    unique = f"halocline_{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with _lock:
        if unique not in sys.modules:
            _folders.append(tempfile.TemporaryDirectory(prefix="halocline-kernels-"))
            path = Path(_folders[-1].name) / f"{unique}.py"
            path.write_text(text, encoding="utf-8")
            spec = importlib.util.spec_from_file_location(unique, path)
            assert spec is not None
            assert spec.loader is not None
            made = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(made)
            sys.modules[unique] = made
        return sys.modules[unique]

"""Who is timed: a peer in its environment, or this package in some way of running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from peers.models import MODELS

#: The ways in which this package runs unless others are named.
OURS: Final = ("torch", "torch+compress")

#: After the name of a backend: with tables in the place of radial functions.
COMPRESS: Final = "+compress"

#: What the peers run on GPUs only are options of.
_ACCELERATED: Final = ("cuequivariance", "openequivariance")


@final
@dataclass(frozen=True, slots=True)
class Contender:
    """One who is timed.

    Attributes:
        name: in records and tables.
        who: a peer, or ``halocline``: what its file of a model is made for.
        script: in ``steps``, which runs it.
        python: its interpreter.
        options: that the script takes.
        environment: variables that it gets beside those of this process.
    """

    name: str
    who: str
    script: str
    python: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it is no peer."""
        return self.who == "halocline"


def peer(name: str, python: str, work: Path) -> Contender:
    """One of another package.

    Args:
        name: of its environment.
        python: the interpreter of that.
        work: a folder for what it compiles.
    """
    if name in _ACCELERATED:
        return Contender(name, "mace-torch", "with_mace_torch.py", python, {"accelerator": name})
    environment = {}
    if name == "symmetrix-xl":  # it recommends the others itself
        environment = {
            "SYMMETRIX_JIT_CACHE": str(work / "symmetrix"),
            "OMP_PROC_BIND": "spread",
            "OMP_PLACES": "threads",
        }
    return Contender(name, name, f"with_{name.replace('-', '_')}.py", python, {}, environment)


def ours(way: str, python: str) -> Contender:
    """This package.

    Args:
        way: a backend, followed by ``+compress`` for tables, such as ``torch:kernels=off`` or ``torch+compress``.
        python: this interpreter.
    """
    options = {"backend": way.removesuffix(COMPRESS), "dtype": "float32", "compress": way.endswith(COMPRESS)}
    return Contender(f"halocline {way}", "halocline", "with_halocline.py", python, options)


def reference(python: str) -> Contender:
    """This package in float64 without kernels, which tests hold against the peers' own float64."""
    options = {"backend": "torch", "dtype": "float64"}
    plain = {"HALOCLINE_DISABLE_KERNELS": "all"}
    return Contender("reference", "halocline", "with_halocline.py", python, options, plain)


def contenders(
    model: str, interpreters: Mapping[str, str], ways: Sequence[str], python: str, work: Path
) -> Iterator[Contender]:
    """All who run a model: its peers that have an environment, then this package."""
    for name in MODELS[model].peers:
        if name in interpreters:
            yield peer(name, interpreters[name], work)
    for way in ways:
        if MODELS[model].radial or not way.endswith(COMPRESS):
            yield ours(way, python)

"""``--engine``: who moves the atoms."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Final

#: Each engine: the commands that it carries out, and the function that does.
ENGINES: Final[dict[str, dict[str, str]]] = {
    "ase": {"md": "halocline.cli.md:run_one", "relax": "halocline.cli.relax:run_one"},
    "torch-sim": {"md": "halocline.cli.torch_sim:md", "relax": "halocline.cli.torch_sim:relax"},
    "ranks": {"md": "halocline.cli.md_on_ranks:md"},
}
#: What one does that the others do not.
_ABOUT: Final[dict[str, str]] = {
    "torch-sim": "torch-sim moves all structures of a file, many at a time",
    "ranks": "ranks of ddp keep the atoms of one among themselves",
}
#: Options that mean something to some engines only; they are None unless they are given.
_MEANT_FOR: Final[dict[str, tuple[str, ...]]] = {"batch_atoms": ("torch-sim",)}


def add_engine(parser: argparse.ArgumentParser, command: str) -> None:
    """Add ``--engine`` and the options of single engines, and let the chosen engine carry out the command.

    Args:
        parser: of the command.
        command: its name.
    """
    group = parser.add_argument_group("engine")
    names = [name for name, commands in ENGINES.items() if command in commands]
    group.add_argument(
        "--engine",
        default="ase",
        choices=names,
        help="who moves the atoms: "
        + "; ".join(_ABOUT[name] for name in names if name in _ABOUT)
        + " [%(default)s]",
    )
    group.add_argument(
        "--batch-atoms", type=int, metavar="N", help="torch-sim: structures of so many atoms move together [10000]"
    )
    parser.set_defaults(run=_runner(command))


def _runner(command: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from halocline.errors import UsageError

        for option, engines in _MEANT_FOR.items():
            if getattr(arguments, option) is not None and arguments.engine not in engines:
                given = "--" + option.replace("_", "-")
                raise UsageError(f"{given} means nothing to --engine {arguments.engine}; leave it out.")
        module, _, name = ENGINES[arguments.engine][command].partition(":")
        carry_out: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
        return carry_out(arguments)

    return run

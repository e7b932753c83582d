"""``halocline compress``: write a model with its radial functions as tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.cli.options import add_prune

if TYPE_CHECKING:
    from halocline.potential.potential import Potential


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="name in a zoo, or path of a checkpoint")
    add_prune(parser)
    parser.add_argument(
        "--elements",
        nargs="+",
        metavar="SYMBOL",
        help="that have tables, of a model whose radial functions differ by pairs of elements [all of the model]",
    )
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="the checkpoint to write, .safetensors"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compress one model and print how good its tables are.

    Raises:
        HaloclineError: the model or the file name is no good, or the model cannot be compressed.
    """
    import halocline
    from halocline.cli.export import check_output
    from halocline.cli.output import emit_json, say
    from halocline.cli.tables import facts
    from halocline.errors import KernelError
    from halocline.potential.compress import compressed

    check_output(arguments.output, ".safetensors", arguments.overwrite)
    potential = halocline.load(arguments.model, prune=arguments.prune)
    try:
        made = compressed(potential, arguments.elements)
    except KernelError as error:
        raise KernelError(f"{str(error).removesuffix(' Leave compress away.')}{_hint(potential)}") from error
    made.save(arguments.output)
    say(f"Wrote {arguments.output} ({arguments.output.stat().st_size / 1e6:.1f} MB).")
    about = {"model": arguments.model, "sha256": made.digest(), **made.card["compression"]}
    if arguments.json:
        emit_json(about)
    else:
        facts("", {name.replace("_", " "): _shown(value) for name, value in about.items()})
    return 0


def _hint(potential: Potential) -> str:
    """What may help a model that has many pairs of elements."""
    from halocline.potential.met_species import has_many_pairs

    return " Name those that you need with --elements." if has_many_pairs(potential.backbone) else ""


def _shown(value: object) -> str:
    return f"{value:.0e}" if isinstance(value, float) else str(value)

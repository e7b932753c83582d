"""``halocline prune``: a smaller model as a file, or the smallest that is good enough after fine-tuning."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.cli.options import add_prune
from halocline.errors import UsageError

if TYPE_CHECKING:
    from halocline.model.pruner import PruningReport

#: What the names of recipes end in.
_RECIPE = ".toml"

#: Options of a search, and what they are called in a namespace.
_OF_SEARCH = {
    "--budget": "budget",
    "--then": "then",
    "--resume": "resume",
    "--threads": "threads",
    "--device": "device",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "what",
        metavar="MODEL|RECIPE",
        help="a model by name or path, to be written as it is pruned; or the recipe (.toml) of a fine-tuning, as "
        "for halocline train, by which one model of each size is fitted",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="PATH",
        help="the checkpoint to write, .safetensors; or the folder of the search",
    )
    parser.add_argument("--json", action="store_true", help="print what was made or found as JSON")
    group = parser.add_argument_group("of a model")
    add_prune(group)
    group.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    group = parser.add_argument_group("of a recipe")
    group.add_argument(
        "--budget",
        action="append",
        metavar="TEXT",
        help="most that the mean absolute error on validation frames may be, such as 'forces 50 meV/Å', 'energy 2 "
        "meV/atom' or 'forces 120 %%' of the unpruned model's; all must hold if there are several",
    )
    group.add_argument(
        "--then",
        nargs="+",
        metavar="SPEC",
        help="pruners to try one by one on the cheapest depth within the budget, such as channels:keep=0.75",
    )
    group.add_argument("--resume", action="store_true", help="continue the search in that folder")
    group.add_argument(
        "--threads", type=int, metavar="N", help="processor threads of the process [torch's choice]"
    )
    group.add_argument("--device", help="to fit on: auto, cpu, cuda, cuda:1, ... [auto]")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write a pruned model, or search for one.

    Raises:
        HaloclineError: the options are for something else, or the work failed.
    """
    if arguments.what.endswith(_RECIPE):
        from halocline.cli.prune_search import search

        if arguments.prune is not None or arguments.overwrite:
            raise UsageError("A search finds out by itself how to prune; leave out --prune and --overwrite.")
        if not arguments.budget:
            raise UsageError("A search needs --budget, such as --budget 'forces 50 meV/Å'.")
        return search(arguments)
    for option, name in _OF_SEARCH.items():
        if getattr(arguments, name):
            raise UsageError(f"{option} is for the recipe of a fine-tuning, whose name ends in {_RECIPE}.")
    if arguments.prune is None:
        raise UsageError("Say with --prune what to keep of the model, such as --prune 2.")
    return _write(arguments)


def _write(arguments: argparse.Namespace) -> int:
    import halocline
    from halocline.cli.export import check_output
    from halocline.cli.output import emit_json, say
    from halocline.cli.tables import facts
    from halocline.model.pruner import PruningReport
    from halocline.training.pruning.file import pruned_model

    check_output(arguments.output, ".safetensors", arguments.overwrite)
    made = pruned_model(arguments.what, arguments.prune)
    made.save(arguments.output)
    say(f"Wrote {arguments.output} ({arguments.output.stat().st_size / 1e6:.1f} MB).")
    report = PruningReport.compare(halocline.load(arguments.what).backbone, made.backbone)
    about = {"model": arguments.what, "prune": arguments.prune, "sha256": made.digest(), **_told(report)}
    if arguments.json:
        emit_json(about)
    else:
        facts("", about)
    return 0


def _told(report: PruningReport) -> dict[str, object]:
    """What became smaller, after and before."""
    pairs = {"layers": report.layers, "hops": report.hops, "parameters": report.parameters}
    return {name: f"{after} of {before}" for name, (before, after) in pairs.items()}

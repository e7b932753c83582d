"""Compare this package with its peers, or go on where that stopped.

    python -m peers --output FILE [--quick] [--m3gnet FOLDER] [--table FILE] [--plot FILE]

Every comparison is in the file as soon as it is done; one in which somebody failed is done again by the next call.
`python -m peers.environments` makes the environments of peers; --env names others. Peers without one are left out.
With --quick what matters most is measured within ten minutes on two cores: 216 and 1,000 atoms on one thread
first, then 1,000 on two.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from matrix.record import measured_on

from halocline.cache import find_cache
from halocline.plugin.source import source_digest
from peers.comparison import Effort, Group, compare
from peers.contender import OURS, contenders, reference
from peers.environments import ENVIRONMENTS, add_folder, has_gpu, interpreter
from peers.models import MODELS, Files
from peers.plot import draw
from peers.record import Record
from peers.structures import STRUCTURES
from peers.table import table
from peers.threads import gains, measure_roofs, table_of_gains

#: Atoms that are asked for, and threads, unless others are.
SIZES: Final = (64, 216, 1000, 10648, 97336)
QUICK_SIZES: Final = (216, 1000)
THREADS: Final = (1, 2)

QUICK: Final = Effort(rounds=7, fewest=2, seconds=12.0, patience=90.0)

#: Seconds after which a quick run begins nothing more.
QUICK_LIMIT: Final = 540.0


def main(given: Sequence[str] | None = None) -> int:
    """Compare what is not compared yet; the exit status tells whether all was, and nobody failed."""
    arguments = _parser().parse_args(given)
    interpreters, left_out = environments(arguments)
    for peer, reason in left_out.items():
        print(f"{peer} is left out: {reason}", file=sys.stderr)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    record = Record(arguments.output, measured_on(arguments.device, "peers"), left_out)
    record.roofs = record.roofs or measure_roofs(arguments.device, sorted({1, *arguments.threads}))
    complete = run(arguments, interpreters, record)
    comparisons = record.comparisons.values()
    by_threads = table_of_gains(gains(comparisons, record.roofs))
    print(table(comparisons, times=True), by_threads, sep="\n\n")
    if arguments.table:
        arguments.table.write_text("\n\n".join([table(comparisons, times=False), by_threads]).strip() + "\n")
    if arguments.plot:
        draw(comparisons, arguments.plot)
    failed = any("failure" in found for each in comparisons for found in each["contenders"].values())
    return int(failed or not complete)


def run(arguments: argparse.Namespace, interpreters: dict[str, str], record: Record) -> bool:
    """Compare, as long as there is time; whether there was enough."""
    started = time.monotonic()
    limit = arguments.limit or (QUICK_LIMIT if arguments.quick else float("inf"))
    work = arguments.work
    made_by = source_digest("peers")[:16]  # files of models follow from these sources
    files = Files(work / made_by, interpreters, arguments.m3gnet)
    for group in groups(arguments):
        everybody = list(contenders(group.model, interpreters, arguments.ours, sys.executable, work))
        names = {each.name for each in everybody}
        left = group._replace(sizes=tuple(size for size in group.sizes if not record.has(group.key(size), names)))
        if not left.sizes:
            continue
        print(f"{' · '.join(map(str, left))}", file=sys.stderr, flush=True)
        effort = QUICK if arguments.quick else Effort()
        for comparison in compare(left, everybody, reference(sys.executable), files, effort):
            record.add(comparison)
            if time.monotonic() - started > limit:
                print("The time is over; the same command goes on from here.", file=sys.stderr)
                return False
    return True


def groups(arguments: argparse.Namespace) -> Iterator[Group]:
    """What is to be compared, what matters most first."""
    chosen = {name: MODELS[name] for name in arguments.models}
    for threads in arguments.threads:
        for number in range(max(len(model.structures) for model in chosen.values())):
            for name, model in chosen.items():
                for structure in model.structures[number : number + 1]:
                    if arguments.quick and not _is_quick(number, structure, threads):
                        continue
                    if structure in arguments.structures:
                        sizes = arguments.atoms or (_quick_sizes(number, threads) if arguments.quick else SIZES)
                        yield Group(name, structure, threads, tuple(sorted(sizes)), arguments.device)


def _is_quick(number: int, structure: str, threads: int) -> bool:
    """The first structure of a model; on one thread that of four species, too."""
    return number == 0 or (structure == "four-species" and threads == 1)


def _quick_sizes(number: int, threads: int) -> tuple[int, ...]:
    if threads > 1:
        return QUICK_SIZES[1:]
    return QUICK_SIZES if number == 0 else QUICK_SIZES[:1]


def environments(arguments: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Interpreters of peers by name, and why others have none."""
    named = dict(each.split("=", 1) for each in arguments.env)
    found, left_out = {}, {}
    for peer in arguments.peers:
        python = named.get(peer) or str(interpreter(arguments.environments / peer))
        if ENVIRONMENTS[peer].needs_gpu and (arguments.device == "cpu" or not has_gpu()):
            left_out[peer] = "it runs on GPUs only."
        elif os.access(python, os.X_OK):
            found[peer] = python
        else:
            left_out[peer] = "it has no environment; `python -m peers.environments` makes one."
    return found, left_out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cache = find_cache()
    parser.add_argument("--output", type=Path, required=True, help="the JSON file; what it has already is kept")
    parser.add_argument("--table", type=Path, help="a table of ratios, in Markdown")
    parser.add_argument("--plot", type=Path, help="a PNG of ratios over atoms")
    add_folder(parser, "--environments")
    parser.add_argument(
        "--env", action="append", default=[], metavar="PEER=PYTHON", help="an interpreter; repeatable"
    )
    parser.add_argument("--m3gnet", type=Path, metavar="FOLDER", help="a potential as MatGL publishes it")
    parser.add_argument("--peers", nargs="+", choices=ENVIRONMENTS, default=tuple(ENVIRONMENTS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=tuple(MODELS))
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=tuple(STRUCTURES))
    parser.add_argument("--atoms", nargs="+", type=int, default=(), help=f"{SIZES}, or {QUICK_SIZES} with --quick")
    parser.add_argument("--threads", nargs="+", type=int, default=THREADS)
    parser.add_argument(
        "--ours",
        nargs="+",
        default=OURS,
        metavar="BACKEND[+compress]",
        help="ways in which this package runs, such as torch:kernels=off, torch, torch+compress",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="what matters most, within ten minutes")
    parser.add_argument(
        "--limit", type=float, help=f"seconds after which nothing begins; {QUICK_LIMIT:g} if quick"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=cache and cache / "peers",
        required=cache is None,
        help="folder for files of models, and what peers compile",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

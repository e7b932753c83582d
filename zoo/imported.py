"""Models that users bring, as checkpoints or in files of other packages; the zoo finds them by their new names."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cache import cache_folder, find_cache
from halocline.checkpoint import read_header
from halocline.errors import CheckpointError, UsageError
from halocline.ownership import require_trusted
from halocline.zoo.conversion import format_of, keep, read, store
from halocline.zoo.download import ByteCounter
from halocline.zoo.entry import Entry, Imported
from halocline.zoo.fetch import fetch_unpinned, locked
from halocline.zoo.source import remote

if TYPE_CHECKING:
    from halocline.potential.potential import Potential

_logger = logging.getLogger(__name__)

_NOT_STATED = "not stated"
_SUFFIX = ".safetensors"


#: Of the folder in the cache where imported models lie.
_FOLDER = "imported"


def imported_path(name: str) -> Path:
    """The path of the file of an imported model, whether it is there or is to be.

    Raises:
        UsageError: there is no place to keep files.
    """
    return cache_folder() / _FOLDER / f"{name}{_SUFFIX}"


def imported_names() -> list[str]:
    """Names of all imported models. What only looks like one, a dangling link or a pipe say, is passed over."""
    cache = find_cache()
    names = []
    for path in _files(cache / _FOLDER) if cache else []:
        try:
            require_trusted(path)
        except OSError as error:
            _warn_once(f"{error.strerror or error}; it is passed over.")
        else:
            names.append(path.stem)
    return names


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _warn_once(f"{folder}: {error.strerror}; imported models are not seen.")
        return []
    return [path for path in found if path.suffix == _SUFFIX and not path.name.startswith(".")]


def imported_entry(name: str) -> Entry:
    """The entry of an imported model; of one whose file cannot be read, with what is known without."""
    path = imported_path(name)
    card: dict[str, Any]
    try:
        header = read_header(path)
    except CheckpointError:
        backbone, symbols, card = _NOT_STATED, [], {"summary": "Damaged; import or add it again."}
    else:
        backbone, symbols, card = header.backbone, list(header.reference_energies), header.card
    licence = card.get("licence", {})
    return Entry(
        name=name,
        summary=card.get("summary", _NOT_STATED),
        backbone=backbone,
        species=tuple(symbols),
        address=str(path),
        origin=Imported(path),
        licences={key: str(licence.get(key, _NOT_STATED)) for key in ("code", "weights")},
        citation=tuple(card.get("citation", ())),
    )


def import_remote(url: str, name: str, progress: ByteCounter, form: str | None = None) -> Path:
    """Fetch a file, and convert it as `import_model` does; the card has its address and digest.

    Args:
        url: https://HOST/PATH.
        name: of the result.
        progress: told of every piece that came in.
        form: the format that it must have; None for any.

    Raises:
        HaloclineError: it cannot be fetched, is no such model, or cannot be stored.
    """
    source = remote(url)
    with tempfile.TemporaryDirectory(prefix="halocline-") as folder:
        return import_model(fetch_unpinned(name, source, Path(folder), progress), name, url, form)


def import_model(source: Path, name: str, address: str | None = None, form: str | None = None) -> Path:
    """Convert a model and store it under a name, in the place of an earlier one.

    Args:
        source: a folder of MatGL, or a file of MatterSim, MACE, SevenNet, Nequix, ORB, JMP or PNNL.
        name: of the result.
        address: where it was fetched from, for the card.
        form: the format that it must have; None for any.

    Raises:
        UsageError: it has another format than it must.
        HaloclineError: it is no such model, or cannot be stored.
    """
    found = format_of(source)
    if form not in (None, found):
        raise UsageError(
            f"{name} is the zoo's name of a model of format {form}, and {source.name} has format {found}; "
            "keep yours under another name, with --name."
        )
    model = read(found, source)
    target = imported_path(name)
    card: dict[str, Any] = {
        "name": name,
        "summary": f"Imported from {source.name}.",
        "recipe": {"converted_from": found, **({"source": address} if address else {}), **model.facts},
        "notes": "Nothing was verified after conversion: no energies of this model were known.",
    }
    if model.licence:
        card["licence"] = dict(model.licence)
    if model.citation:
        card["citation"] = list(model.citation)
    with locked(target, name, sum(tensor.nbytes for tensor in model.tensors.values())):
        store(model, card, target, _unchecked)
    return target


def add_checkpoint(source: Path, name: str, *, replace: bool) -> Path:
    """Keep a checkpoint under a name, as it is to the byte.

    Args:
        source: its file.
        name: by which the zoo finds it.
        replace: whether an earlier model of this name may go.

    Raises:
        UsageError: there is a model of this name.
        HaloclineError: it is no checkpoint, is damaged, cannot be loaded, or cannot be stored.
    """
    from halocline.potential.load import load  # here, because it imports torch

    load(source.absolute())  # so that a bare name is no name of the zoo
    target = imported_path(name)
    with locked(target, name, source.stat().st_size):
        if os.path.lexists(target) and not replace:
            raise UsageError(f"There is a model {name} of yours; choose another --name, or say --replace.")
        keep(functools.partial(shutil.copyfile, source), target, _unchecked)
    return target


@functools.cache
def _warn_once(text: str) -> None:
    _logger.warning(text)


def _unchecked(potential: Potential) -> None:
    """That it can be built is all that is known."""
    del potential

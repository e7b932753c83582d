"""The model that a fit starts from, and what becomes of it before the first step."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from halocline.digests import file_digest
from halocline.errors import UsageError, unknown_name, within
from halocline.model import Backbone
from halocline.model.energies_of_atoms import with_energies_of_atoms
from halocline.model.energies_only import left_out, with_energies_only
from halocline.model.heads import head_names, with_one_head
from halocline.model.kept_tables import without_tables
from halocline.model.pruner import pruned
from halocline.model.widening import widened
from halocline.potential.load import load
from halocline.potential.potential import Potential
from halocline.training.recipe import ModelSettings, resolve
from halocline.typed_table import shown

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A model that a fit starts from.

    Attributes:
        name: as the recipe has it.
        digest: SHA-256 of the model as it was found, see `Potential.digest`.
        potential: the model with the chosen head, neither pruned nor with new elements.
        start: its backbone as the fit begins: without moments or charges, with energies of atoms, pruned, and with
            new elements.
        pruned_by: the files that pruners read, as they were named → SHA-256.
    """

    name: str
    digest: str
    potential: Potential
    start: Backbone
    pruned_by: Mapping[str, str] = field(default_factory=dict)


def find_parent(settings: ModelSettings, folder: Path) -> Parent | None:
    """Load the model that a recipe starts from.

    Args:
        settings: of the model.
        folder: to which the path of its file is relative.

    Returns:
        The model and the backbone with which the fit begins; None if the recipe names no model.

    Raises:
        UsageError: there is no such model, head or pruner, or the recipe asks for another config than it has.
        ZooError: the model could not be fetched.
        CheckpointError: its file cannot be read.
        BackboneError: it cannot take new elements or energies of atoms, or its heads cannot be separated.
    """
    if settings.from_ is None:
        return None
    with within("model.from"):
        found = load(model_place(settings.from_, folder))
    _refuse_another(settings, found.backbone)
    potential = _of_head(found, settings)
    start = with_energies_only(without_tables(copy.deepcopy(potential.backbone)))
    if silenced := left_out(potential.backbone):
        logger.warning(
            "%s also tells %s, which no label would correct while its weights move: what is fitted tells "
            "energies, forces and stress alone.",
            *(settings.from_, " and ".join(silenced)),
        )
    if settings.energies_of_atoms:
        with within("model.energies_of_atoms"):
            start = with_energies_of_atoms(start)
    files: dict[str, str] = {}
    if settings.prune is not None:
        with within("model.prune"):
            start, files = pruned_by_files(start, settings.prune, lambda file: resolve(file, folder))
    if settings.new_elements:
        with within("model.new_elements"):
            start = widened(start, settings.new_elements)
    return Parent(
        name=settings.from_, digest=found.digest(), potential=potential, start=start.train(), pruned_by=files
    )


def pruned_by_files(
    backbone: Backbone, prune: int | str, place: Callable[[str], Path] = Path
) -> tuple[Backbone, dict[str, str]]:
    """A smaller backbone, and what `Parent.pruned_by` says.

    Args:
        backbone: stays as it is.
        prune: as for `make_pruner`.
        place: where a file is that an option names.
    """
    files: dict[str, str] = {}

    def noted(name: str) -> Path:
        path = place(name)
        if path.is_file():  # else the pruner says what is wrong
            files[name] = file_digest(path)
        return path

    return pruned(backbone, prune, noted), files


def model_place(name: str, folder: Path) -> str | Path:
    """The file, relative to the recipe as all of its files are; else the name."""
    path = resolve(name, folder)
    is_path = path.suffix == ".safetensors" or path.is_file() or os.sep in name
    return path if is_path else name


def _refuse_another(settings: ModelSettings, parent: Backbone) -> None:
    """What a recipe says of the architecture must be what the parent has.

    Raises:
        UsageError: it is not; the key is named with both values.
    """
    if settings.backbone is not None and settings.backbone.rpartition("/")[2] != parent.name:
        raise UsageError(
            f"model.backbone is {settings.backbone!r}, but {settings.from_} is a {parent.name!r}; leave it out, "
            "or start from another model."
        )
    config: Mapping[str, Any] = parent.config
    for key, value in settings.config.items():
        if key not in config:
            raise UsageError(f"model.config: {unknown_name(f'field of {parent.name!r}', key, config)}")
        if value != config[key]:
            raise UsageError(
                f"model.config.{key} is {shown(value)}, but {settings.from_} has {shown(config[key])}, for which "
                f"its weights were fitted; leave it out, or start from another model{_instead(key)}."
            )


def _instead(key: str) -> str:
    """What a recipe says instead of some keys of a config."""
    keys = {"layers": "prune", "species": "new_elements"}
    return f"; model.{keys[key]} changes it" if key in keys else ""


def _of_head(found: Potential, settings: ModelSettings) -> Potential:
    """The model with one head, whose reference energies have become its own."""
    heads = head_names(found.backbone)
    if settings.head is None and not heads:
        return found
    if not heads:
        raise UsageError(f"model.head is {settings.head!r}, but {settings.from_} has no heads; leave it out.")
    if settings.head is None:
        raise UsageError(
            f"{settings.from_} has the heads {', '.join(heads)}; say in model.head from which one to start."
        )
    if settings.head not in heads:
        raise UsageError(f"model.head: {unknown_name('head', settings.head, heads)}")
    more = found.backbone.head_energies.get(settings.head, {})
    energies = {symbol: energy + more.get(symbol, 0.0) for symbol, energy in found.reference_energies.items()}
    return replace(found, backbone=with_one_head(found.backbone, settings.head), reference_energies=energies)

"""Load a potential by name or from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from halocline.checkpoint import Checkpoint, load_checkpoint
from halocline.context import in_evaluation_context
from halocline.errors import CheckpointError, HaloclineError, UsageError, unknown_name
from halocline.model.backbone import Backbone
from halocline.model.bounded import bounded_by
from halocline.model.build import build_backbone
from halocline.model.kept_tables import give_tables, split
from halocline.model.pruner import pruned
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.potential.term import Term
from halocline.spec import Spec


@in_evaluation_context
def load(name_or_path: str | os.PathLike[str], prune: int | str | None = None) -> Potential:
    """Load a model of the zoo by name, or a checkpoint from a file; or make a term by its name and options.

    Args:
        name_or_path: a name such as those that ``halocline zoo list`` prints; or a path, which exists, ends in
            ``.safetensors`` or contains a separator; or a term that may be added to models, such as
            ``d3:functional=pbe``.
        prune: keep only the first so many message-passing layers; or the name of a pruner with its options, such
            as ``depth:layers=2``.

    Raises:
        UsageError: no model of this name, no such pruner, or the model cannot be pruned so.
        ZooError: the model could not be fetched.
        CheckpointError: the file is missing, damaged, or does not fit its own config.
        PluginError: the plugin that brings the backbone cannot be imported.

    Example:
        >>> import halocline
        >>> halocline.load("lennard-jones-argon").species
        ('Ar',)
    """
    if (spec := _term_of(name_or_path)) is not None:
        if prune is not None:
            raise UsageError(
                f"The term {spec.name!r} has no layers to prune; name it without --prune, or --add it."
            )
        term = cast("Term", spec.build(registry().load("term", spec.name)))
        return Potential(term, dict.fromkeys(term.species, 0.0), dict(term.card))
    return build_potential(load_checkpoint(find(name_or_path)), prune, f"in {name_or_path}")


def _term_of(name: str | os.PathLike[str]) -> Spec | None:
    """Name and options of a term; None of what names anything else."""
    text = os.fspath(name)
    known = registry().names("term")
    return Spec.parse(text) if isinstance(text, str) and text.partition(":")[0] in known else None


@in_evaluation_context
def build_potential(
    checkpoint: Checkpoint, prune: int | str | None = None, where: str = "of the checkpoint"
) -> Potential:
    """Make a checkpoint a potential.

    Args:
        checkpoint: a model.
        prune: as for `load`.
        where: the weights are, for messages.

    Raises:
        UsageError: no such pruner or layers, or no plugin brings the backbone.
        CheckpointError: the weights do not fit the config.
        PluginError: the plugin that brings the backbone cannot be imported.
    """
    stored, tables = split(checkpoint.tensors)
    backbone = _build(checkpoint, stored, where)
    weights = backbone.renewed_weights(stored)
    expected, found = _layout(backbone.state_dict()), _layout(weights)
    if expected != found:
        odd = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        raise CheckpointError(f"The weights {where} do not fit its config: {', '.join(odd[:5])} differ.")
    backbone.load_state_dict(weights)
    if prune is not None:
        backbone = pruned(backbone, prune)
    try:
        give_tables(backbone, tables)
    except CheckpointError as error:
        if prune is not None:
            raise UsageError(
                f"The tables {where} are not those of the radial functions that pruning by {prune!r} leaves. "
                "Prune the exact model, and compress what is left."
            ) from error
        raise CheckpointError(f"The tables {where} do not fit its config: {error}") from error
    return Potential(backbone.eval(), dict(checkpoint.reference_energies), dict(checkpoint.card))


def _build(checkpoint: Checkpoint, weights: Mapping[str, Tensor], where: str) -> Backbone:
    """Build what the config asks for, no larger than the weights justify."""
    try:
        bound = bounded_by(weights, where)
        return build_backbone(checkpoint.backbone, checkpoint.config, within=bound)
    except (HaloclineError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # a config out of a file can ask for anything, also for what its author did not foresee
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"{checkpoint.backbone!r} cannot be built from the config {where}: {reason}."
        ) from error


def _layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and kind of numbers by name. Floats may be stored in any precision, but whole numbers are none."""
    return {name: (tuple(t.shape), _kind(t.dtype)) for name, t in tensors.items()}


def _kind(dtype: torch.dtype) -> str:
    if dtype is torch.bool:
        return "truth values"
    return "floats" if dtype.is_floating_point else "whole numbers"


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """Find the checkpoint of a model, fetching it where the zoo has to.

    Raises:
        UsageError: no zoo knows the name.
    """
    path = Path(name_or_path)
    text = os.fspath(name_or_path)
    if path.suffix == ".safetensors" or path.is_file() or os.sep in text:
        return path
    known: list[str] = []
    for component in registry().components("zoo"):
        zoo: Any = registry().load("zoo", component.qualified_name)()
        if text in zoo.names():
            return Path(zoo.path(text))
        known += zoo.names()
    raise unknown_name("model", text, known)

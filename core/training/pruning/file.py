"""A pruned model as a file, without any fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from halocline.errors import UsageError
from halocline.model.pruner import with_files
from halocline.potential.load import load
from halocline.potential.potential import Potential
from halocline.training.parent import Parent, inherit, pruned_by_files
from halocline.training.recipe import ModelSettings
from halocline.training.result import UNDETERMINED

#: What a card says of the whole model alone.
_OF_THE_WHOLE: Final = ("name", "summary", "errors", "recipe", "notes")

_REMARK: Final = "Pruned by {prune} and not fine-tuned since: a start for training, and not accurate."


def pruned_model(name: str, prune: int | str) -> Potential:
    """A smaller model with a card that says what it was made from.

    Args:
        name: of the model in a zoo, or its file.
        prune: as for `halocline.load`. The card has the names of files in it, and not where they are.

    Raises:
        UsageError: there is no such model or pruner, it cannot be pruned so, or it carries tables.
        CheckpointError: its file cannot be read.
    """
    whole = load(name)
    if whole.compressed:
        raise UsageError(f"{name} is compressed. Prune the exact model, and compress what is left.")
    smaller, files = pruned_by_files(whole.backbone, prune)
    parent = Parent(name=name, digest=whole.digest(), potential=whole, start=smaller.eval(), pruned_by=files)
    kept = {key: value for key, value in whole.card.items() if key not in _OF_THE_WHOLE}
    told = with_files(prune, lambda file: Path(file).name)
    card = inherit(kept, parent, ModelSettings(from_=name, prune=told))
    remarks = [_REMARK.format(prune=told), card.get("notes", "")]
    if UNDETERMINED in whole.card.get("notes", ""):  # of reference energies, which stay
        remarks.append(UNDETERMINED)
    return replace(whole, backbone=smaller, card=card | {"notes": " ".join(filter(None, remarks))})

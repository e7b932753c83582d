"""What the card of a model says of the model that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from halocline.model.energies_only import left_out
from halocline.model.pruner import with_files
from halocline.training.parent.parent import Parent
from halocline.training.recipe import ModelSettings


def inherit(card: Mapping[str, Any], parent: Parent, settings: ModelSettings) -> dict[str, Any]:
    """A card with what it owes to the parent's.

    The licence is the parent's unless the card has one; where the two differ, the notes say so. The parent's
    citations follow the card's own.

    Args:
        card: of the model.
        parent: from which it was made.
        settings: how.
    """
    theirs = parent.potential.card
    inherited = dict(card)
    inherited["parent"] = _lineage(parent, settings)
    citations = [*card.get("citation", ()), *theirs.get("citation", ())]
    if citations:
        inherited["citation"] = list(dict.fromkeys(citations))
    if "licence" in theirs:
        inherited.setdefault("licence", theirs["licence"])
    if remark := licence_remark(card, parent):
        inherited["notes"] = " ".join([card.get("notes", ""), remark]).strip()
    return inherited


def licence_remark(card: Mapping[str, Any], parent: Parent) -> str:
    """A sentence where weights would be under another licence than those that they were made from; else nothing.

    Args:
        card: of the model; without a licence it gets the parent's.
        parent: its own ancestors count as it does.
    """
    ancestors = _licences(parent)
    own = card.get("licence", {}).get("weights") or next((licence for _, licence in ancestors), None)
    others = [(name, licence) for name, licence in ancestors if licence != own]
    if own is None or not others:
        return ""
    made_from = ", ".join(f"{name} ({licence})" for name, licence in dict.fromkeys(others))
    return (
        f"These weights were made from those of {made_from}: whether they may be used and given away under {own} "
        "is for those licences to say."
    )


def _licences(parent: Parent) -> list[tuple[str, str]]:
    """Each ancestor whose card states one, and the licence of its weights, the parent first; names may repeat."""
    card = parent.potential.card
    found = [(public_name(parent.name), card.get("licence", {}).get("weights"))]
    older = card.get("parent")
    while older is not None:
        found.append((older.get("name", "a model before it"), older.get("licence_of_weights")))
        older = older.get("parent")
    return [(name, licence) for name, licence in found if licence]


def public_name(name: str) -> str:
    """The parent as a card may call it: without folders of the machine that trained."""
    return Path(name).name if name.startswith("~") or Path(name).is_absolute() else name


def public_pruning(prune: int | str | None) -> int | str | None:
    """How the parent was pruned, likewise without folders of the machine."""
    return None if prune is None else with_files(prune, public_name)


def _lineage(parent: Parent, settings: ModelSettings) -> dict[str, Any]:
    """The parent, as the card names it."""
    card = parent.potential.card
    licence = card.get("licence", {})
    facts = {
        "name": card.get("name") or public_name(parent.name),
        "sha256": parent.digest,
        "level_of_theory": card.get("level_of_theory"),
        "licence_of_code": licence.get("code"),
        "licence_of_weights": licence.get("weights"),
        "head": settings.head,
        "energies": "of atoms" if settings.energies_of_atoms else None,
        "pruned": public_pruning(settings.prune),
        "pruned_by_sha256": ", ".join(f"{public_name(file)} {sha256}" for file, sha256 in parent.pruned_by.items())
        or None,
        "without": ", ".join(left_out(parent.potential.backbone)) or None,
        "new_elements": ", ".join(settings.new_elements) or None,
        "parent": card.get("parent"),
    }
    return {name: value for name, value in facts.items() if value is not None}

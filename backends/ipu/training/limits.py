"""What of a recipe this backend can do. All else is refused by name: nothing that is asked for is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Final

from halocline.errors import UsageError
from halocline.model import Backbone
from halocline.training.recipe import Recipe
from halocline.typed_table import shown

#: Table → the keys whose every value is heeded, here or by what is done before and after the fit. Others must have
#: the value that they have when they are left out.
HEEDED: Final = {
    "data": None,
    "model": {"backbone", "from_", "head", "prune", "new_elements", "config"},
    "training": {
        "epochs",
        "batch_size",
        "batch_atoms",
        "batch_edges",
        "learning_rate",
        "warmup_steps",
        "final_fraction",
        "schedule",
        "energy_weight",
        "forces_weight",
        "reweighting",
        "ema_decay",
        "validate",
        "gradient_clip",
        "stopping",
        "seed",
    },
    "references": None,
    "log": None,
    "card": None,
}


def refuse_unheeded(recipe: Recipe, target: str) -> None:
    """Refuse a recipe that asks for more.

    Raises:
        UsageError: it does; the message has the key and its value.
    """
    for key, value in _unheeded(recipe):
        said = key if is_dataclass(value) else f"{key} = {shown(value)}"
        raise UsageError(f"{said} cannot be done by the backend ipu; leave it out, or train with torch.")
    if recipe.training.fitted.stress > 0.0:
        raise UsageError("training.reweighting asks for stress, which the backend ipu does not fit; use torch.")
    decay = recipe.training.ema_decay
    if target != "cpu" and decay > 0.0:
        raise UsageError(
            f"training.ema_decay = {decay:g} cannot be done by ipu:target={target}: weights stay on the device "
            "between steps, so nothing averages them. Set it to 0."
        )


def refuse_what_is_told(backbone: Backbone) -> None:
    """Refuse a model whose forces are no derivatives, or whose energy is told by a head of the whole.

    Raises:
        UsageError: it says more than energies of atoms.
    """
    if more := backbone.outputs[1:]:
        raise UsageError(
            f"The backend ipu fits energies of atoms and their derivatives, and {backbone.name!r} also returns "
            f"{', '.join(more)}; train with torch."
        )


def _unheeded(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Keys and values that are neither heeded nor the default."""
    for table in fields(recipe):
        value = getattr(recipe, table.name)
        if table.name not in HEEDED:
            if value != _default(table):
                yield table.name, value
        elif (heeded := HEEDED[table.name]) is not None:
            for field in fields(value):
                if field.name not in heeded and getattr(value, field.name) != _default(field):
                    yield f"{table.name}.{field.name}", getattr(value, field.name)


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default

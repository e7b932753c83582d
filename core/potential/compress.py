"""A compressed model: the exact one, and tables of its radial functions that it is evaluated with from then on."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from halocline.aggregation import Form, RadialFunction, TabulatedFunction
from halocline.context import in_evaluation_context
from halocline.errors import KernelError, UsageError, unknown_name
from halocline.model.adapters import merged
from halocline.model.backbone import Backbone
from halocline.model.kept_tables import is_compressed, radial_functions
from halocline.potential.combined import Combined
from halocline.potential.met_species import narrowed
from halocline.potential.term import Term
from halocline.program import Capabilities, FrozenModel, Precision

if TYPE_CHECKING:
    from halocline.potential.potential import Potential


@in_evaluation_context
def compressed(potential: Potential, elements: Collection[str] | None = None) -> Potential:
    """A copy of a model that carries tables of its radial functions, and says in its card how good they are.

    Its weights are those of the original, so the tables can be held against the functions wherever it is loaded.

    Args:
        potential: stays as it is.
        elements: chemical symbols whose pairs have tables, where functions differ by pairs; all by default.

    Raises:
        KernelError: it has no radial functions, or tables of them would be too large or not good enough.
        UsageError: it is compressed already, does not know an element, or its functions do not differ by pairs.
        BackboneError: it is a sum or a committee, whose terms are compressed one by one.
    """
    if isinstance(potential.backbone, Combined | Term):
        potential.backbone.refuse()
    if is_compressed(potential.backbone):
        raise UsageError("The model is compressed already; take the one that it was made from.")
    backbone = copy.deepcopy(merged(potential.backbone))
    exact = dataclasses.replace(potential, backbone=backbone).digest()
    symbols = _asked(backbone, elements)
    frozen = FrozenModel.freeze(
        backbone if elements is None else narrowed(backbone, set(symbols)),
        *(Precision.FLOAT64, Capabilities.reference(Form.EDGES, kernels=True)),
        compress=True,
    )
    errors = [_give_table(function, path, frozen.backbone) for path, function in radial_functions(backbone)]
    (kernel,) = {(each.kernel, each.version) for each in frozen.replaced if not each.exact}
    about: dict[str, Any] = {
        "exact_sha256": exact,
        "kernel": kernel[0],
        "kernel_version": kernel[1],
        "value_error": max(value for value, _ in errors),
        "slope_error": max(slope for _, slope in errors),
        "stage_error": max(each.measured for each in frozen.replaced if not each.exact),
    }
    if _differ_by_pairs(backbone):
        about["elements"] = " ".join(symbols)
    return dataclasses.replace(potential, backbone=backbone, card=potential.card | {"compression": about})


def _asked(backbone: Backbone, elements: Collection[str] | None) -> list[str]:
    """The elements that have tables, in the model's order."""
    if elements is None:
        return list(backbone.species)
    for symbol in elements:
        if symbol not in backbone.species:
            raise unknown_name("element of this model", symbol, backbone.species)
    if not _differ_by_pairs(backbone):
        raise UsageError(
            f"The radial functions of {backbone.name!r} are the same for all elements; do not choose among them."
        )
    return [symbol for symbol in backbone.species if symbol in elements]


def _differ_by_pairs(backbone: Backbone) -> bool:
    return any(function.pairs is not None for _, function in radial_functions(backbone))


def _give_table(function: RadialFunction, path: str, frozen: Backbone) -> tuple[float, float]:
    """Have a radial function carry the table that took its place in a frozen model; the errors of that."""
    try:
        table = frozen.get_submodule(path)
    except AttributeError:
        table = None
    if not isinstance(table, TabulatedFunction):
        raise KernelError(f"No kernel has put a table in the place of the radial function {path!r}.")
    function.kept = table.to_keep()
    return table.errors

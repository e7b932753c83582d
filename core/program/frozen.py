"""A model frozen in one dtype and one form, ready to be lowered or to be run as it is."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, final

import torch
from torch._subclasses.fake_tensor import FakeTensor

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.errors import BackboneError
from halocline.model.adapters import merged
from halocline.model.backbone import Backbone, Output
from halocline.model.condition import require_consistent


class Precision(StrEnum):
    """Floating-point types that a model can be frozen in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def torch(self) -> torch.dtype:
        """The torch dtype of this name."""
        return torch.float64 if self is Precision.FLOAT64 else torch.float32


@final
@dataclass(frozen=True, slots=True)
class FrozenModel:
    """A backbone as executors are given it.

    Attributes:
        backbone: in ``precision``, in evaluation mode, without gradients for its parameters. Not shared.
        precision: dtype of vectors, energies and gradients.
        form: layout of edges that its inputs must have.
    """

    backbone: Backbone
    precision: Precision
    form: Form

    @classmethod
    @in_evaluation_context
    def freeze(cls, backbone: Backbone, precision: Precision, form: Form) -> Self:
        """Copy the backbone and cast it; the original stays as it is.

        Raises:
            BackboneError: a stage cannot work in this form, or needs something no evaluator provides yet; or
                weights have no values.
        """
        for name, tensor in backbone.state_dict(keep_vars=True).items():
            if tensor.is_meta or isinstance(tensor, FakeTensor):
                raise BackboneError(
                    f"{name!r} of {backbone.name!r} has a shape and no values (device meta): load its weights."
                )
        for name, stage in backbone.stages():
            if form not in stage.spec.forms:
                raise BackboneError(f"Stage {name!r} of {backbone.name!r} cannot work on the form {form.value!r}.")
            beyond = stage.spec.edge_state or any(each.at != "receiver" for each in stage.spec.index_sets)
            if beyond and stage.spec.hops < 2:
                raise BackboneError(
                    f"Stage {name!r} of {backbone.name!r} reads edges that end at other atoms than those it "
                    "writes; let it declare 2 hops, and find or compute those edges on its outer block."
                )
        require_consistent(backbone.conditions, backbone.name)
        outputs = backbone.outputs
        if outputs[:1] != (Output.ENERGIES,) or len(set(outputs)) < len(outputs):
            raise BackboneError(
                f"{backbone.name!r} declares the outputs {', '.join(outputs) or 'none'}; energies come first, and "
                "each of the others once."
            )
        if (Output.POOLED in outputs) != (backbone.pooled_head is not None):
            raise BackboneError(
                f"{backbone.name!r} has a pooled head if it declares pooled vectors, and only then."
            )
        frozen = copy.deepcopy(merged(backbone)).to(precision.torch).eval().requires_grad_(False)
        return cls(frozen, precision, form)

"""A model frozen in one dtype and one form, ready to be lowered or to be run as it is."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Self, final

from torch._subclasses.fake_tensor import FakeTensor

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.errors import BackboneError, UsageError
from halocline.model.adapters import merged
from halocline.model.backbone import Backbone, Output
from halocline.model.condition import require_consistent
from halocline.program.capabilities import Capabilities, Precision
from halocline.program.policy import PrecisionPolicy
from halocline.program.replacement import Replacement, replace_stages


@final
@dataclass(frozen=True, slots=True)
class FrozenModel:
    """A backbone as executors are given it.

    Attributes:
        backbone: in ``precision``, in evaluation mode, without gradients for its parameters. Not shared.
        precision: dtype of vectors, energies and gradients.
        capabilities: of the executor that it was frozen for.
        replaced: stages that faster ones have taken the place of.
    """

    backbone: Backbone
    precision: Precision
    capabilities: Capabilities
    replaced: tuple[Replacement, ...] = ()

    @property
    def form(self) -> Form:
        """Layout of edges that its inputs must have."""
        return self.capabilities.form

    @classmethod
    @in_evaluation_context
    def freeze(
        cls,
        backbone: Backbone,
        precision: Precision,
        capabilities: Capabilities,
        device: str = "cpu",
        *,
        compress: bool = False,
        policy: PrecisionPolicy | None = None,
    ) -> Self:
        """Copy the backbone, cast it, and have kernels replace stages where some are installed for them.

        Args:
            backbone: it stays as it is.
            precision: to cast to.
            capabilities: of the executor, or `Capabilities.reference`.
            device: on which it will run; the model itself stays on the CPU.
            compress: let tables take the place of radial functions, which is faster and not exact.
            policy: regions of the backbone that compute in other dtypes, for programs of ``precision``; no stage
                is replaced then.

        Raises:
            BackboneError: a stage cannot work in this form, or needs something no evaluator provides yet; or
                weights have no values.
            KernelError: the model cannot be compressed.
            UsageError: the backbone has no such region, or the policy does not suit the form or compression.
        """
        _require_values(backbone)
        _require_support(backbone, capabilities.form)
        plain = merged(backbone)
        frozen = copy.deepcopy(plain)
        if policy is not None:
            _require_suitable(policy, precision, capabilities.form, compress=compress)
            policy.apply(frozen)
        model = cls(frozen.to(precision.torch) if policy is None else frozen, precision, capabilities)
        frozen.eval().requires_grad_(False)
        if policy is None:
            replaced = replace_stages(plain, model, device, compress=compress)
            model = dataclasses.replace(model, replaced=replaced)
        for name, stage in frozen.stages():
            stage.frozen_as = name
        return model


def _require_values(backbone: Backbone) -> None:
    for name, tensor in backbone.state_dict(keep_vars=True).items():
        if tensor.is_meta or isinstance(tensor, FakeTensor):
            raise BackboneError(
                f"{name!r} of {backbone.name!r} has a shape and no values (device meta): load its weights."
            )


def _require_suitable(policy: PrecisionPolicy, precision: Precision, form: Form, *, compress: bool) -> None:
    if policy.program is not precision:
        raise UsageError(f"The policy {policy} is for programs of {policy.program}, not of {precision}.")
    if form is not Form.EDGES:
        raise UsageError(f"The policy {policy} is for backends that take flat edges, such as torch.")
    if compress:
        raise UsageError(f"Radial functions from tables have no precision policy; leave out compress or {policy}.")


def _require_complete(backbone: Backbone) -> None:
    """Readouts see complete values alone."""
    for depth, name in enumerate(("embed", *(f"layers.{layer}" for layer in range(len(backbone.layers))))):
        if depth in backbone.readouts and dict(backbone.stages())[name].spec.incomplete:
            raise BackboneError(
                f"Stage {name!r} of {backbone.name!r} writes incomplete values, and a readout follows it; let it "
                "declare one hop more instead."
            )


def _require_support(backbone: Backbone, form: Form) -> None:
    # A stage of one hop finds edges that end at the atoms it reads if a stage with hops came before, which wrote
    # those of all atoms that it wrote itself. That it returns them is seen when the stages run.
    found = False
    for name, stage in backbone.stages():
        if form not in stage.spec.forms:
            raise BackboneError(f"Stage {name!r} of {backbone.name!r} cannot work on the form {form.value!r}.")
        beyond = stage.spec.edge_state or any(each.reaches_out for each in stage.spec.index_sets)
        if beyond and stage.spec.hops < (1 if found and stage.spec.edge_state else 2):
            raise BackboneError(
                f"Stage {name!r} of {backbone.name!r} reads edges that end at other atoms than those it "
                "writes; let it declare 2 hops, and find or compute those edges on its outer block."
            )
        found = stage.spec.hops > 0
    _require_complete(backbone)
    require_consistent(backbone.conditions, backbone.name)
    outputs = backbone.outputs
    if outputs[:1] != (Output.ENERGIES,) or len(set(outputs)) < len(outputs):
        raise BackboneError(
            f"{backbone.name!r} declares the outputs {', '.join(outputs) or 'none'}; energies come first, and "
            "each of the others once."
        )
    if (Output.POOLED in outputs) != (backbone.pooled_head is not None):
        raise BackboneError(f"{backbone.name!r} has a pooled head if it declares pooled vectors, and only then.")

"""A model can be trained on forces: they are differentiable by its parameters."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from halocline.model import Backbone
from halocline.program import Precision, ProgramInputs, energies_and_gradients
from halocline.program.layout import lay_out
from halocline.testing import tolerances
from halocline.testing.checks.derivatives import difference
from halocline.testing.comparison import require_close
from halocline.testing.evaluate import divide
from halocline.testing.report import NotApplicable
from halocline.testing.subject import Subject


def check_training(subject: Subject) -> None:
    """A loss of energies and forces, by the parameters: against finite differences, in each form.

    Raises:
        Failure: they differ by more than the tolerance.
        NotApplicable: the model has no parameters.
    """
    if not any(True for _ in subject.backbone.parameters()):
        raise NotApplicable("It has no parameters.")
    graph = subject.graph(subject.samples.molecule)
    for form in subject.forms:
        backbone = copy.deepcopy(subject.backbone).double().requires_grad_(True)
        (part,) = divide(graph, subject.backbone.hops, None)
        inputs = lay_out(graph, part, form, Precision.FLOAT64)
        _check_gradient(backbone, inputs, form.value)


def _check_gradient(backbone: Backbone, inputs: ProgramInputs, form: str) -> None:
    parameters = list(backbone.parameters())
    start = [p.detach().clone() for p in parameters]
    generator = torch.Generator().manual_seed(8)
    direction = [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in parameters]
    gradients = torch.autograd.grad(_loss(backbone, inputs), parameters, materialize_grads=True, allow_unused=True)
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))

    def loss(step: float) -> float:
        with torch.no_grad():
            for parameter, value, shift in zip(parameters, start, direction, strict=True):
                parameter.copy_(value + step * shift)
        return _loss(backbone, inputs).item()

    slope = difference(loss, tolerances.PARAMETER_STEP).extrapolated
    scale = max(1.0, abs(expected))
    what = f"Gradients of a force loss in the form {form!r}, and finite differences,"
    require_close(what, slope, expected, tolerances.PARAMETER_DIFFERENCE * scale)


def _loss(backbone: Backbone, inputs: ProgramInputs) -> Tensor:
    """Mean squares of energies, edge gradients, and all else that the model says of atoms."""
    return sum(
        ((each**2).mean() for each in energies_and_gradients(backbone, inputs, differentiable=True)),
        start=torch.zeros(()),
    )

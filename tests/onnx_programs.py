"""Lowered programs and sessions that the tests of the ONNX backend share; each is made once."""

from __future__ import annotations

from functools import cache

import torch

from halocline.aggregation import Form
from halocline.backends.onnx.convert import to_onnx
from halocline.backends.onnx.executor import OnnxExecutor
from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
from halocline.lowering import lower
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.program import Capabilities, FrozenModel, Precision


@cache
def backbone(name, layers=None):
    """The example of a backbone, with offsets that are not zero; cut to some layers if asked."""
    model = build_backbone(name, registry().load("backbone", name).example_config(), seed=1)
    random = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        if weight.ndim == 1:
            weight.data.normal_(0.0, 0.1, generator=random)
    return model if layers is None else registry().load("pruner", "depth")(layers=layers).prune(model)[0]


@cache
def lowered(name, precision, layers=None):
    """A program in table form with free sizes."""
    return lower(FrozenModel.freeze(backbone(name, layers), precision, Capabilities.reference(Form.TABLE)))


@cache
def model(name, precision, layers=None):
    """The same as an ONNX model."""
    return to_onnx(lowered(name, precision, layers))


@cache
def evaluator(name, precision, layers=None):
    """ONNX Runtime as users get it, with one thread."""
    return LocalEvaluator(backbone(name, layers), OnnxExecutor(device="cpu", threads=1), precision)


@cache
def reference(name, layers=None):
    """The eager definition in float64."""
    return LocalEvaluator(backbone(name, layers), TorchExecutor(device="cpu"), Precision.FLOAT64)

"""The check `operations` names everything that a backend cannot translate, at once, with the model's lines."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")

from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.plugins.backbones.schnet.radial import ShiftedSoftplus
from halocline.testing import check_backbone


def line_of(text):
    """Where this file says something."""
    lines = Path(__file__).read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.strip().startswith(text)]
    return f"test_operations_check.py, line {number}"


def odd(x):
    """Two operations of which ONNX models know nothing, the second in its derivative as well."""
    a = torch.special.i0(x)
    one = torch.ones_like(x)  # autograd records nothing of it
    b = torch.special.erfcx(x.square())
    return a + one * b


def test_all_operations_are_named_with_their_lines(monkeypatch):
    monkeypatch.setattr(ShiftedSoftplus, "forward", lambda self, x: odd(x))
    model = build_backbone("schnet", registry().load("backbone", "schnet").example_config())
    (result,) = check_backbone(model, checks=["operations"]).results
    assert result.status == "failed"
    assert result.message.startswith("onnx has no translation of aten.")
    assert f"i0.default ({line_of('a = torch.special.i0')})" in result.message
    assert f"i1.default ({line_of('a = torch.special.i0')})" in result.message  # the derivative of i0
    assert f"erfcx.default ({line_of('b = torch.special.erfcx')})" in result.message


@pytest.mark.parametrize("name", ["schnet", "lennard-jones", "m3gnet"])
def test_what_comes_in_the_box_is_translated(name):
    model = build_backbone(name, registry().load("backbone", name).example_config())
    assert check_backbone(model, checks=["operations"]).ok

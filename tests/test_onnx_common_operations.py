"""What models commonly use is translated to ONNX, with its derivative, in both precisions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from common_operations import OPERATIONS
from torch.fx.experimental.proxy_tensor import make_fx

pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")
import onnxruntime

from halocline.backends.onnx.convert import to_onnx
from halocline.lowering import Value
from halocline.lowering.decompositions import decompositions
from halocline.lowering.trace import make_plain, whatever_the_sizes
from halocline.program import Precision

#: Kernels and formulas differ from torch's by some roundings of the largest value.
ROUNDINGS = 32

#: Free sizes: those of the trace are among none of them.
ROWS = (1, 3, 8)


def value_and_gradient(function):
    """Of a function of x (n, m), where m is known to be 4 inside, as sizes of layers are."""

    weights = {dtype: torch.eye(4, dtype=dtype) for dtype in (torch.float32, torch.float64)}

    def evaluate(x):
        leaf = x.detach().requires_grad_(True)
        y = function(leaf @ weights[x.dtype])
        return y.detach().reshape(-1), torch.autograd.grad((y * y + y).sum(), leaf)[0]

    return evaluate


def as_session(function, dtype):
    """The function, traced as programs are, in ONNX Runtime."""
    with whatever_the_sizes():
        graph = make_fx(function, decompositions(), "symbolic", _allow_non_fake_inputs=True)(
            torch.zeros(5, 4, dtype=dtype)
        )
    (x,) = graph.graph.find_nodes(op="placeholder")
    x.target = "x"
    make_plain(graph, Precision(str(dtype).removeprefix("torch.")), "function")
    floats = str(dtype).removeprefix("torch.")
    manifest = SimpleNamespace(
        backbone="function",
        kind="program",
        inputs=(Value("x", floats, ("n", "m"), "", ""),),
        outputs=(Value("y", floats, ("size",), "", ""), Value("d", floats, ("rows", "columns"), "", "")),
        to_json=dict,
    )
    model = to_onnx(SimpleNamespace(graph=graph, manifest=manifest))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_and_its_derivative(name, dtype):
    function = value_and_gradient(OPERATIONS[name])
    session = as_session(function, dtype)
    for rows in ROWS:
        x = 4.0 * torch.rand(rows, 4, dtype=dtype, generator=torch.Generator().manual_seed(rows)) - 2.0
        for result, expected in zip(session.run(None, {"x": x.numpy()}), function(x), strict=True):
            assert result.dtype == expected.numpy().dtype
            tolerance = ROUNDINGS * torch.finfo(dtype).eps * max(1.0, float(expected.abs().max()))
            np.testing.assert_allclose(result, expected.numpy(), rtol=0.0, atol=tolerance)


FUNCTIONS = {
    "erf": (torch.erf, -7.0, 7.0),
    "erfc": (torch.erfc, -7.0, 7.0),
    "atan": (torch.atan, -1e3, 1e3),
    "asin": (torch.asin, -1.0, 1.0),
    "acos": (torch.acos, -1.0, 1.0),
    "asinh": (torch.asinh, -1e3, 1e3),
    "acosh": (torch.acosh, 1.0, 1e3),
    "atanh": (torch.atanh, -0.999, 0.999),
    "sinh": (torch.sinh, -700.0, 700.0),
    "cosh": (torch.cosh, -700.0, 700.0),
    "expm1": (torch.expm1, -50.0, 700.0),
    "log1p": (torch.log1p, -0.999, 1e3),
}

#: Of functions that lose digits where torch's do not: these are good to a rounding of 1.
ABSOLUTE = {"erfc"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_without_an_operator_is_good_to_its_last_digits(name):
    function, low, high = FUNCTIONS[name]
    session = as_session(lambda x: (function(x).reshape(-1), x), torch.float64)
    near = np.concatenate([np.logspace(-12, 0, 400), -np.logspace(-12, 0, 400)])
    x = np.concatenate([np.linspace(low, high, 4000), near[(near >= low) & (near <= high)], 1.0 + np.abs(near)])
    x = x[(x >= low) & (x <= high)]
    x = x[: len(x) // 4 * 4].reshape(-1, 4)
    result, _ = session.run(None, {"x": x})
    expected = function(torch.from_numpy(x)).numpy().reshape(-1)
    scale = np.ones_like(expected) if name in ABSOLUTE else np.maximum(np.abs(expected), 1e-300)
    assert np.max(np.abs(result - expected) / scale) <= 8 * np.finfo(float).eps

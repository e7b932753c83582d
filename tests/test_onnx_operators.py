"""Every operation that is translated gives what torch gives, at sizes it was not traced with."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")
import onnxruntime

from halocline.backends.onnx.convert import to_onnx
from halocline.errors import LoweringError
from halocline.lowering import Value

#: Kernels differ from torch's by a few roundings of values of order one.
ROUNDINGS = 8

FUNCTIONS = {
    "powers": lambda x, i: x.abs() ** 6 + (x.abs() + 0.5) ** x + x.square(),
    "roots": lambda x, i: x.abs().sqrt() + (x.abs() + 1.0).rsqrt() + (x * x + 1.0).reciprocal(),
    "transcendental": lambda x, i: x.exp() + x.sin() * x.cos() + torch.log(x.abs() + 0.1) + x.tanh(),
    "activations": lambda x, i: torch.sigmoid(x) + torch.relu(x) + torch.nn.functional.silu(x),
    "steps": lambda x, i: x.floor() + x.ceil() + x.sign(),
    "affine": lambda x, i: torch.add(x, x, alpha=3) - torch.sub(1.0, x, alpha=2) + x / 7.0,
    "clamps": lambda x, i: x.clamp(-0.3, 0.4) + x.clamp(max=0.1) + torch.maximum(x, -x),
    "comparisons": lambda x, i: torch.where((x > 0.1) & (x <= 0.7) | (x == 0.0) | (i[:, None] != 1), x, -x),
    "integers and floats": lambda x, i: x * i[:, None] + (i < x.shape[1])[:, None] * x,
    "sizes": lambda x, i: x * x.shape[0] + x.new_full((x.shape[0], 1), 0.1) * (x.shape[1] * 2 - x.shape[0]),
    "rows": lambda x, i: x.index_select(0, i) + x[i] + x[:, 1:2] + x.select(1, -1)[:, None],
    "elements": lambda x, i: x.gather(1, i.clamp(max=1)[:, None]) + x[2:][:, ::2].sum(),
    "reductions": lambda x, i: x.sum(1, keepdim=True) + x.mean(0) + x.amax(1, True) - x.amin() + x.sum(),
    "products": lambda x, i: (
        torch.addmm(x[:, :1], x, x.T @ x, beta=0.5, alpha=2.0) + torch.bmm(x[None], x.T @ x[None])[0]
    ),
    "layouts": lambda x, i: x.view(-1, 1).permute(1, 0).expand(2, -1).sum(0).view(x.shape) + x[None].squeeze(0),
    "joins": lambda x, i: torch.cat([x, x.new_zeros(2, x.shape[1]), torch.ones_like(x)])[1 : x.shape[0] + 1],
    "casts": lambda x, i: (x > 0).to(x.dtype) + i.to(x.dtype)[:, None] * x,
}


def as_model(function, dtype):
    """Trace a function of x (n, m) and i (n,) with free sizes; return the ONNX model's session."""
    example = (torch.zeros(5, 3, dtype=dtype), torch.zeros(5, dtype=torch.int64))
    graph = make_fx(function, core_aten_decompositions(), tracing_mode="symbolic")(*example)
    for node, name in zip(graph.graph.find_nodes(op="placeholder"), ("x", "i"), strict=True):
        node.target = name
    (output,) = graph.graph.find_nodes(op="output")
    output.args = ((output.args[0],),)
    floats = str(dtype).removeprefix("torch.")
    manifest = SimpleNamespace(
        backbone="function",
        kind="program",
        inputs=(Value("x", floats, ("n", "m"), "", ""), Value("i", "int64", ("n",), "", "")),
        outputs=(Value("y", floats, ("rows", "columns"), "eV", "result"),),
        to_json=dict,
    )
    model = to_onnx(SimpleNamespace(graph=graph, manifest=manifest))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_function(function, dtype):
    session = as_model(function, dtype)
    for seed, (rows, columns) in enumerate([(5, 3), (9, 4), (1, 3), (4, 2)]):
        random = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, columns, dtype=dtype, generator=random)
        i = torch.randint(rows, (rows,), generator=random)
        expected = function(x, i).numpy()
        (result,) = session.run(None, {"x": x.numpy(), "i": i.numpy()})
        assert result.dtype == expected.dtype
        tolerance = ROUNDINGS * torch.finfo(dtype).eps * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(result, expected, rtol=0.0, atol=tolerance)


def test_numbers_keep_all_their_digits():
    session = as_model(lambda x, i: x * 0.1 + torch.pi, torch.float64)
    x = np.random.default_rng(0).normal(size=(4, 3))
    (result,) = session.run(None, {"x": x, "i": np.zeros(4, np.int64)})
    np.testing.assert_array_equal(result, x * 0.1 + np.pi)


def test_log1p_of_small_numbers_keeps_its_digits():
    session = as_model(lambda x, i: torch.log1p(x), torch.float64)
    x = np.logspace(-20, 2, 30).reshape(10, 3)
    (result,) = session.run(None, {"x": x, "i": np.zeros(10, np.int64)})
    np.testing.assert_allclose(result, np.log1p(x), rtol=ROUNDINGS * np.finfo(float).eps)


def test_softplus_does_not_overflow():
    def softplus(x, i):
        return torch.log1p(torch.exp(-x.abs())) + torch.relu(x)

    session = as_model(softplus, torch.float64)
    x = np.linspace(-900.0, 900.0, 30).reshape(10, 3)
    (result,) = session.run(None, {"x": x, "i": np.zeros(10, np.int64)})
    np.testing.assert_allclose(result, np.logaddexp(0.0, x), atol=np.finfo(float).eps)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x, i: x.sort(1).values, "aten.sort"),
        (lambda x, i: x[i, i.clamp(max=1)][:, None], "one tensor of integers"),
    ],
)
def test_what_cannot_be_translated_is_named(function, name):
    with pytest.raises(LoweringError, match=name):
        as_model(function, torch.float64)

"""Devices and providers: what contradicts, is not there or falls back is said, never worked around."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

import halocline.backends.onnx.packages as packages
from halocline.backends.onnx.engine import report_placement
from halocline.backends.onnx.executor import OnnxExecutor
from halocline.backends.onnx.target import Target, choose_target
from halocline.errors import UsageError
from halocline.program import Precision
from halocline.spec import Spec

CPU = ["CPUExecutionProvider"]
GPU = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def gpus(monkeypatch):
    """Two CUDA devices, as far as torch says; nothing is computed on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")


@pytest.mark.parametrize(
    ("device", "provider", "chosen"),
    [
        ("auto", "auto", Target("cuda", "cuda", 0)),
        ("cpu", "auto", Target("cpu", "cpu")),
        ("auto", "cpu", Target("cpu", "cpu")),
        ("cuda:1", "auto", Target("cuda", "cuda", 1)),
        ("auto", "tensorrt", Target("tensorrt", "cuda", 0)),
        ("cuda:1", "tensorrt", Target("tensorrt", "cuda", 1)),
    ],
)
def test_device_and_provider_decide_each_other(gpus, device, provider, chosen):
    assert choose_target(device, provider, GPU) == chosen


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_target("auto", "auto", GPU) == Target("cpu", "cpu")
    assert choose_target("auto", "auto", CPU).device == "cpu"


@pytest.mark.parametrize(
    ("device", "provider", "available", "message"),
    [
        ("cpu", "cuda", GPU, "leave one of them out"),
        ("cuda", "cpu", GPU, "leave one of them out"),
        ("cuda", "auto", CPU, r"onnxruntime-gpu.*halocline\[gpu\]"),
        ("auto", "tensorrt", CPU, "onnxruntime-gpu"),
        ("cuda:2", "auto", GPU, "torch sees 2"),
        ("auto", "openvino", GPU, "openvino"),
        ("tpu", "auto", GPU, "tpu"),
        ("cpu:1", "auto", GPU, "cpu:1"),
        ("cuda:x", "auto", GPU, "cuda:x"),
    ],
)
def test_what_is_not_there_is_refused(gpus, device, provider, available, message):
    with pytest.raises(UsageError, match=message):
        choose_target(device, provider, available)


def test_tensorrt_must_not_round_to_tf32(gpus, monkeypatch):
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    with pytest.raises(UsageError, match="NVIDIA_TF32_OVERRIDE=0"):
        choose_target("cuda", "tensorrt", GPU)


def test_providers_as_sessions_take_them():
    assert Target("cpu", "cpu").providers == [("CPUExecutionProvider", {})]
    cuda = ("CUDAExecutionProvider", {"device_id": 1, "use_tf32": 0})
    assert Target("cuda", "cuda", 1).providers == [cuda]
    assert Target("tensorrt", "cuda", 1).providers == [("TensorrtExecutionProvider", {"device_id": 1}), cuda]
    assert Target("tensorrt", "cuda").precisions == (Precision.FLOAT32,)


def session_with(*subgraphs, providers=tuple(GPU)):
    """A session that gave these operations to these providers."""
    info = [
        SimpleNamespace(ep_name=name, get_nodes=lambda ops=ops: [SimpleNamespace(op_type=op) for op in ops])
        for name, ops in subgraphs
    ]
    return SimpleNamespace(get_providers=lambda: providers, get_provider_graph_assignment_info=lambda: info)


def test_operations_that_fall_back_are_named(caplog):
    session = session_with(
        ("CUDAExecutionProvider", ["Mul", "Gather"]), ("CPUExecutionProvider", ["Log", "Sin", "Log"])
    )
    with caplog.at_level(logging.WARNING):
        report_placement(session, Target("cuda", "cuda"))
    (record,) = caplog.records
    assert record.getMessage() == "Not on CUDAExecutionProvider but on CPUExecutionProvider: 2 × Log, 1 × Sin."


def test_nothing_is_said_where_nothing_falls_back(caplog):
    report_placement(session_with(("CUDAExecutionProvider", ["Mul"])), Target("cuda", "cuda"))
    assert not caplog.records


def test_a_provider_that_did_not_start_is_an_error():
    with pytest.raises(UsageError, match="could not start CUDAExecutionProvider"):
        report_placement(session_with(providers=tuple(CPU)), Target("cuda", "cuda"))


def test_a_runtime_that_cannot_tell_is_an_error():
    session = SimpleNamespace(get_providers=lambda: GPU)
    with pytest.raises(UsageError, match="fall back"):
        report_placement(session, Target("cuda", "cuda"))


def test_this_runtime_tells_what_runs_where():
    pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")
    from onnx_programs import model

    from halocline.backends.onnx.engine import _session, misplaced

    session = _session(model("lennard-jones", Precision.FLOAT64).SerializeToString(), Target("cpu", "cpu"), 1, {})
    assert misplaced(session, Target("cpu", "cpu")) == {}
    assert misplaced(session, Target("cuda", "cuda"))["CPUExecutionProvider"]["Gather"] > 0


def test_options_are_read_from_the_name():
    spec = Spec.parse("onnx:threads=2,provider=cpu")
    assert spec.build(OnnxExecutor, device="auto").device == "cpu"
    with pytest.raises(UsageError, match="threads"):
        Spec.parse("onnx:threads=two").build(OnnxExecutor, device="auto")
    with pytest.raises(UsageError, match="-1 threads"):
        OnnxExecutor(threads=-1)


def test_missing_packages_are_named_with_the_fix(monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(packages, "import_module", refuse)
    with pytest.raises(UsageError, match=r"onnx, which is missing: pip install 'halocline\[onnx\]'"):
        OnnxExecutor()
    diagnosis = OnnxExecutor.diagnose()
    assert not diagnosis.usable
    assert "pip install" in diagnosis.reason


def test_diagnosis_says_what_there_is():
    diagnosis = OnnxExecutor.diagnose()
    assert diagnosis.usable
    assert set(diagnosis.versions) == {"onnx", "onnxruntime"}
    assert "cpu" in diagnosis.devices
    assert "CPUExecutionProvider" in diagnosis.details["providers"]

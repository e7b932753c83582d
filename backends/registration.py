"""The executors, evaluators, fitters and exporters that come in the box."""

from __future__ import annotations

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_executors() -> list[Component]:
    """Describe the executors."""
    return [
        Component("torch", "halocline.backends.torch.executor:TorchExecutor", "PyTorch on a CPU or a GPU"),
        Component(
            "onnx", "halocline.backends.onnx.executor:OnnxExecutor", "ONNX Runtime on a CPU or an NVIDIA GPU"
        ),
        Component("ipu", "halocline.backends.ipu.executor:IpuExecutor", "Graphcore IPUs through PopTorch"),
    ]


@hookimpl
def halocline_evaluators() -> list[Component]:
    """Describe the evaluators."""
    return [
        Component("ddp", "halocline.backends.ddp.evaluator:DdpEvaluator", "many processes, each with any executor")
    ]


@hookimpl
def halocline_fitters() -> list[Component]:
    """Describe what trains elsewhere than in torch."""
    return [
        Component(
            "ipu", "halocline.backends.ipu.training.fitter:IpuFitter", "packs of structures on Graphcore IPUs"
        )
    ]


@hookimpl
def halocline_exporters() -> list[Component]:
    """Describe the exporters."""
    return [
        Component("aot", "halocline.backends.torch.exporter:AotExporter", "packages that PyTorch runs alone"),
        Component("onnx", "halocline.backends.onnx.exporter:OnnxExporter", "models that ONNX Runtime runs alone"),
        Component("ipu", "halocline.backends.ipu.exporter:IpuExporter", "programs of fixed shape for IPUs"),
        Component(
            "lammps-mliap",
            "halocline.backends.mliap.exporter:MliapExporter",
            "objects for LAMMPS' ML-IAP",
        ),
    ]

"""What PyTorch computes with on this machine."""

from __future__ import annotations

import torch

from halocline.artefacts.compiler import compiler_version
from halocline.executor import Diagnosis


def diagnose() -> Diagnosis:
    """PyTorch is always there; say what it computes with. Nothing is changed, and no device is woken."""
    versions = {"torch": str(torch.__version__)}
    if torch.version.cuda:
        versions["CUDA"] = torch.version.cuda
    return Diagnosis(
        usable=True,
        versions=versions,
        devices=("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))),
        details={
            "threads": str(torch.get_num_threads()),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "C++ compiler": compiler_version() or "none; compile=inductor and compile=aot need one",
            "float32 products on the CPU": _products(),
            "TF32 on GPUs": "allowed" if torch.backends.cuda.matmul.allow_tf32 else "not allowed",
        },
    )


def _products() -> str:
    """Which library multiplies float32 matrices.

    torch hands them to oneDNN only where the host program allows it to round them; whether it then really rounds
    depends on the processor.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "BLAS; this torch has no oneDNN"
    allowed = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    if allowed in ("bf16", "tf32") and torch.backends.mkldnn.enabled:
        return f"oneDNN, which may round to {allowed}"
    return "BLAS; oneDNN is there and not asked for"

"""The whole program on torch's meta device: every operation can tell its result's shape without data."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from halocline.backends.ipu.check.call import Violation
from halocline.backends.ipu.program_file import IpuProgram
from halocline.backends.ipu.rehearsal.subject import load_replay


def rehearse_meta(program: IpuProgram) -> Iterator[Violation]:
    """PopTorch infers shapes with these kernels, of the version of torch that it was built for."""
    inputs = [torch.empty(each.shape, dtype=getattr(torch, each.dtype), device="meta") for each in program.inputs]
    try:
        with torch.no_grad():
            outputs = load_replay(program).to("meta")(*inputs)
    except Exception as error:  # every operation has errors of its own
        yield Violation("shape-inference", "the program", f"it does not run without data ({error}).")
        return
    found = [(str(each.dtype).removeprefix("torch."), list(each.shape)) for each in outputs]
    declared = [(each["dtype"], list(each["shape"])) for each in program.manifest["outputs"]]
    if found != declared:
        yield Violation("signature", "the outputs", f"the manifest says {declared}, not {found}.")

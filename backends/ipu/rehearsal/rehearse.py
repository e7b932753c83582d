"""Run a program on the CPU in every way in which it could go wrong on an IPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from halocline.backends.ipu.check.call import Violation
from halocline.backends.ipu.check.operations import LATEST
from halocline.backends.ipu.program_file import IpuProgram
from halocline.backends.ipu.rehearsal.coercion import rehearse_coercion
from halocline.backends.ipu.rehearsal.dispatch import rehearse_dispatch
from halocline.backends.ipu.rehearsal.numerics import rehearse_numerics
from halocline.backends.ipu.rehearsal.padding import rehearse_padding
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram, load_replay
from halocline.errors import LoweringError
from halocline.model.backbone import Backbone
from halocline.program.capacity import Capacity


def rehearse(
    program: IpuProgram, backbone: Backbone, capacity: Capacity, *, sdk: str = LATEST
) -> tuple[Violation, ...]:
    """Run everything; a second or so for small programs.

    Args:
        program: that conforms.
        backbone: from which it was lowered.
        capacity: with which.
        sdk: version of the SDK that will compile it.

    Returns:
        What went wrong; empty if nothing did.

    Raises:
        LoweringError: no structure fits into the capacity.
    """
    subject = RehearsedProgram(program, backbone, capacity)
    return (
        *rehearse_meta(program),
        *rehearse_dispatch(subject, sdk),
        *rehearse_coercion(subject),
        *rehearse_padding(subject),
        *rehearse_numerics(subject),
    )


def require_rehearsal(program: IpuProgram, backbone: Backbone, capacity: Capacity) -> None:
    """Refuse a program that does not pass.

    Raises:
        LoweringError: with what went wrong.
    """
    if violations := rehearse(program, backbone, capacity):
        listed = " ".join(map(str, violations))
        raise LoweringError(f"The program does not do on the CPU what an IPU must do. {listed}")


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

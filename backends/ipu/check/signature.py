"""Inputs and outputs: what the manifest promises is what the program has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from halocline.backends.ipu.check.call import TensorType
from halocline.backends.ipu.check.violation import Violation
from halocline.backends.ipu.program_file import IpuProgram


def check_signature(program: IpuProgram, types: Mapping[str, TensorType]) -> Iterator[Violation]:
    """Compare with the manifest, whose sizes are those that structures are padded to."""
    manifest = {side: program.manifest.get(side, ()) for side in ("inputs", "outputs")}
    promised = [(value["name"], value["dtype"], list(value["shape"])) for value in manifest["inputs"]]
    inputs = [(value.name, value.dtype, list(value.shape)) for value in program.inputs]
    if inputs != promised:
        yield Violation("signature", "the inputs", f"the manifest says {promised}, not {inputs}.")
    returned = [(value["dtype"], list(value["shape"])) for value in manifest["outputs"]]
    results = [types[name] for name in program.outputs]
    given = [(str(each.dtype).removeprefix("torch."), list(each.shape or ())) for each in results]
    # Where a result is unknown, the operation that hides it is reported.
    if all(result.known for result in results) and given != returned:
        yield Violation("signature", "the outputs", f"the manifest says {returned}, not {given}.")
    yield from _check_parameters(program)


def _check_parameters(program: IpuProgram) -> Iterator[Violation]:
    """Only floats can be trained: PopTorch makes constants of integers."""
    for name in program.parameters:
        array: Any = program.constants.get(name)
        if array is None or array.dtype.kind != "f":
            yield Violation("signature", name, "it is said to be trained, but is no constant of floats.")

"""Names, each given once before it is read; and inputs and outputs, which are those that the manifest promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from halocline.backends.ipu.check.call import TensorType, Violation
from halocline.backends.ipu.program_file import IpuProgram, references


def check_names(program: IpuProgram) -> Iterator[Violation]:
    """Find names that are read before they are given, or given twice: no tensor could be followed then."""
    given: set[str] = set()
    for name in (*(value.name for value in program.inputs), *program.constants):
        yield from _give(name, given, "the inputs and constants")
    for number, operation in enumerate(program.operations):
        where = f"operation {number} ({operation.target})"
        for name in sorted(set(references([operation.args, operation.kwargs])) - given):
            yield Violation("name", where, f"it reads {name!r} before anything gives it.")
        for name in operation.results:
            yield from _give(name, given, where)
    for name in program.outputs:
        if name not in given:
            yield Violation("name", "the outputs", f"nothing gives {name!r}.")


def _give(name: str, given: set[str], where: str) -> Iterator[Violation]:
    if name in given:
        yield Violation("name", where, f"the name {name!r} is given a second time.")
    given.add(name)


def check_signature(program: IpuProgram, types: Mapping[str, TensorType]) -> Iterator[Violation]:
    """Find inputs, outputs and parameters that are not those of the manifest, whose sizes are padded ones."""
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

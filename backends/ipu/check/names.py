"""Names: each given once, before it is read."""

from __future__ import annotations

from collections.abc import Iterator

from halocline.backends.ipu.check.violation import Violation
from halocline.backends.ipu.program_file import IpuProgram, references


def check_names(program: IpuProgram) -> Iterator[Violation]:
    """Without this, no tensor can be followed through the program."""
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

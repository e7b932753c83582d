"""The neutral program: fixed shapes, a plain list of ATen operations, no pickle.

On disk it is one zip archive, stored without compression, of two members:

``program.json``
    ``format`` (`runner.FORMAT`), ``version`` (`runner.VERSION`), ``manifest`` (of the lowering), ``inputs``,
    ``operations``, ``outputs``, ``parameters``, ``options``, and ``constants_sha256``: of the other member.
``constants.npz``
    weights and other constants, written by `numpy.savez`, read with ``allow_pickle=False``.

Equal programs have equal bytes. Every tensor has a name that is given once: it is an input, a constant, or the
result of one operation, and an operation reads only names given before it. An argument of an operation is one of

* ``{"ref": name}``: a tensor;
* ``{"dtype": "float32"}``: a dtype, by its name in torch;
* ``{"float": "inf"}``: a number that JSON does not have: ``inf``, ``-inf`` or ``nan``;
* a number, a bool, a string, None, or a list of arguments.

Sizes are plain integers. There are no devices, layouts or memory formats among the arguments, every output is the
result of an operation, no number stands where an operation takes a tensor, and no operation makes a tensor from
sizes and numbers alone: those are constants.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ipu.runner import CONSTANTS, FORMAT, PROGRAM, VERSION, ProgramError, read_program
from halocline.errors import LoweringError
from halocline.files import write_atomically

#: What inputs and constants may be.
DTYPES = frozenset({"float32", "int32", "int64", "bool"})


@final
@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that the program is given.

    Attributes:
        name: unique among all tensors of the program.
        dtype: ``float32``, ``int32``, ``int64`` or ``bool``.
        shape: fixed.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class Operation:
    """One call of an ATen operation.

    Attributes:
        target: with its overload, such as ``aten.mul.Tensor``.
        args: see the module.
        kwargs: see the module.
        results: names of the tensors it gives, in order.
    """

    target: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class IpuProgram:
    """A program of fixed shapes.

    Attributes:
        inputs: in the order in which they are given.
        constants: name → array of float32, int32, int64 or bool.
        operations: in the order in which they run.
        outputs: names of results of operations.
        manifest: of the lowering, as JSON; see `halocline.lowering.Manifest`.
        parameters: name of a constant → name of the backbone's parameter it is, for those that can be trained.
        options: for PopTorch; see `runner.ipu_options`.
    """

    inputs: tuple[Input, ...]
    constants: Mapping[str, NDArray[Any]]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    manifest: dict[str, Any]
    parameters: dict[str, str] = field(default_factory=dict)
    options: dict[str, float] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The program as it is written to a file, which `IpuProgram.read` reads."""
        constants = io.BytesIO()
        np.savez(constants, **dict(sorted(self.constants.items())))  # type: ignore[arg-type]
        table = {
            "format": FORMAT,
            "version": VERSION,
            "manifest": self.manifest,
            "inputs": [asdict(value) for value in self.inputs],
            "operations": [asdict(operation) for operation in self.operations],
            "outputs": self.outputs,
            "parameters": self.parameters,
            "options": self.options,
            "constants_sha256": hashlib.sha256(constants.getvalue()).hexdigest(),
        }
        program = json.dumps(table, sort_keys=True, allow_nan=False, indent=1).encode()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for name, data in ((PROGRAM, program), (CONSTANTS, constants.getvalue())):
                file.writestr(zipfile.ZipInfo(name), data)  # dated 1980, so that equal programs have equal bytes
        return archive.getvalue()

    def write(self, path: Path) -> None:
        """Write the archive atomically.

        Raises:
            OSError: the file cannot be written.
        """
        write_atomically(path, self.to_bytes())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and verify an archive.

        Raises:
            LoweringError: it is damaged, of another version, or no such program at all.
            OSError: the file cannot be read.
        """
        try:
            table, constants = read_program(path)
            program = cls._from_table(table, constants)
            program.require_sound()
        except ProgramError as error:
            raise LoweringError(str(error)) from error
        except (LookupError, TypeError, ValueError) as error:
            raise LoweringError(f"{path} is no sound IPU program ({error}); export the model again.") from error
        return program

    @classmethod
    def _from_table(cls, table: dict[str, Any], constants: dict[str, NDArray[Any]]) -> Self:
        return cls(
            inputs=tuple(Input(each["name"], each["dtype"], tuple(each["shape"])) for each in table["inputs"]),
            constants=constants,
            operations=tuple(
                Operation(each["target"], tuple(each["args"]), each["kwargs"], tuple(each["results"]))
                for each in table["operations"]
            ),
            outputs=tuple(table["outputs"]),
            manifest=table["manifest"],
            parameters=table["parameters"],
            options=table["options"],
        )

    def require_sound(self) -> None:
        """Require that names are given once and before they are read, dtypes and targets of a known kind.

        Raises:
            ValueError: with the first thing that is wrong.
        """
        given = [value.name for value in self.inputs] + list(self.constants)
        dtypes = [value.dtype for value in self.inputs] + [str(array.dtype) for array in self.constants.values()]
        if set(dtypes) - DTYPES:
            raise ValueError(f"it holds {min(set(dtypes) - DTYPES)}")
        for operation in self.operations:
            if not re.fullmatch(r"aten\.\w+\.\w+", operation.target):
                raise ValueError(f"it calls {operation.target!r}")
            missing = set(references([operation.args, operation.kwargs])).difference(given)
            if missing:
                raise ValueError(f"it reads {min(missing)!r} before anything gives it")
            given.extend(operation.results)
        if len(set(given)) < len(given):
            raise ValueError("it gives a name twice")
        computed = {name for operation in self.operations for name in operation.results}
        if not computed.issuperset(self.outputs) or not set(self.parameters) <= set(self.constants):
            raise ValueError("it names outputs or parameters that it does not have")


def references(argument: Any) -> Iterator[str]:
    """Names of the tensors in an argument, or in lists and tables of arguments."""
    if isinstance(argument, dict):
        if "ref" in argument:
            yield argument["ref"]
        argument = list(argument.values())
    if isinstance(argument, list | tuple):
        for part in argument:
            yield from references(part)

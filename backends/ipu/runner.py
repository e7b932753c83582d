"""Runs programs of the IPU backend: on plain torch, or on IPUs through PopTorch.

One file without Halocline, in the syntax of Python 3.8, because PopTorch lives in an interpreter of its own. It
needs torch and numpy, and poptorch for the targets ``ipu`` and ``ipu-model``::

    python runner.py PROGRAM.ipu.zip --target cpu

Requests come on stdin, replies go to stdout: see docs/ipu.md for the messages.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # The channel is set apart before any library can print to stdout or read from stdin.
    REQUESTS, REPLIES = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.path.pop(0)  # this folder, whose files are not modules of their own

import argparse
import hashlib
import importlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FORMAT = "halocline-ipu-program"
VERSION = 1

#: Members of a program file.
PROGRAM, CONSTANTS = "program.json", "constants.npz"


class ProgramError(Exception):
    """A program file cannot be used."""


def read_program(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read and verify a program file: the content of ``program.json``, and the constants by name.

    Raises:
        ProgramError: the file cannot be read, is damaged, or is of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its members are compressed")
            program, constants = (archive.read(name) for name in (PROGRAM, CONSTANTS))
        table = json.loads(program.decode())
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise ValueError("it does not say that it is one")
        if table.get("version") != VERSION:
            raise ValueError(f"it is of version {table.get('version')}, and version {VERSION} is read here")
        if hashlib.sha256(constants).hexdigest() != table["constants_sha256"]:
            raise ValueError("its constants do not have the digest that it names")
        with np.load(io.BytesIO(constants), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProgramError(f"{path} cannot be read as an IPU program: {error}; export the model again.") from error
    return table, arrays


class Replay(torch.nn.Module):
    """A program as a module: its operations one after another.

    Args:
        table: content of ``program.json``.
        arrays: the constants.
        trained: parameters are to be trained.
    """

    def __init__(self, table: dict[str, Any], arrays: dict[str, NDArray[Any]], trained: bool = False) -> None:
        super().__init__()
        self.inputs, self.outputs = table["inputs"], table["outputs"]
        self.names = list(arrays)
        for name, array in arrays.items():
            tensor = torch.from_numpy(array)
            if trained and name in table["parameters"]:
                self.register_parameter(name, torch.nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)
        self.steps = [(_operation(each["target"]), each) for each in table["operations"]]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in order, for inputs in order."""
        values = {name: getattr(self, name) for name in self.names}
        values.update({each["name"]: tensor for each, tensor in zip(self.inputs, inputs)})  # noqa: B905
        for function, step in self.steps:
            kwargs = {key: _decode(value, values) for key, value in step["kwargs"].items()}
            results = function(*_decode(step["args"], values), **kwargs)
            values.update(zip(step["results"], [results] if isinstance(results, Tensor) else results))  # noqa: B905
        return tuple(values[name] for name in self.outputs)


def _operation(target: str) -> Any:
    try:
        _, name, overload = target.split(".")
        return getattr(getattr(torch.ops.aten, name), overload)
    except (AttributeError, ValueError) as error:
        raise ProgramError(f"torch {torch.__version__} has no operation {target}.") from error


def _decode(value: Any, values: dict[str, Tensor]) -> Any:
    """An argument of an operation from its JSON."""
    if isinstance(value, list):
        return [_decode(part, values) for part in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        readers: dict[str, Any] = {"ref": values.get, "dtype": lambda name: getattr(torch, name), "float": float}
        return readers[kind](content)
    return value


class PackedLoss(torch.nn.Module):
    """Weighted mean squares of the errors in energies and forces of whole structures in one pack.

    The pack has N atoms, each with a row in every table, and room for G structures.

    Args:
        replay: the program.
        energy: weight, of errors in eV.
        force: weight, of errors in eV/Å.
    """

    mark: Any = staticmethod(lambda loss: loss)  # tells PopTorch which tensor is the loss

    def __init__(self, replay: Replay, energy: float, force: float) -> None:
        super().__init__()
        self.replay, self.energy, self.force = replay, energy, force
        names = [each["name"] for each in replay.inputs]
        self.transposed, self.seeds = names.index("transposed"), names.index("seeds")

    def forward(self, *tensors: Tensor) -> Tensor:
        """The loss.

        Args:
            tensors: inputs of the program; members (G, N), 1 where an atom belongs to a structure; energies (G,);
                present (G,), 1 for structures that are there; forces (N, 3).
        """
        inputs, (members, energies, present, forces) = tensors[:-4], tensors[-4:]
        transposed, seeds = inputs[self.transposed], inputs[self.seeds]
        found, gradients = self.replay(*inputs)[:2]
        slots = gradients.reshape(-1, 3).index_select(0, transposed.reshape(-1))
        pulls = gradients.sum(1) - slots.reshape(transposed.shape[0], transposed.shape[1], 3).sum(1)
        energy_errors = (torch.mv(members, found * seeds) - energies) * present
        force_errors = (pulls - forces) * seeds.unsqueeze(1)
        energy = (energy_errors * energy_errors).sum() / present.sum()
        force = (force_errors * force_errors).sum() / (3.0 * seeds.sum())
        loss: Tensor = self.mark(self.energy * energy + self.force * force)
        return loss


class ProgramWorker:
    """Evaluates a program, or trains its parameters by one optimiser step a call.

    Args:
        table: content of ``program.json``.
        arrays: the constants.
        target: ``cpu``, ``ipu`` or ``ipu-model``.
        settings: None to evaluate; to train: ``optimiser`` (``sgd`` or ``adam``), ``rate``, and the weights
            ``energy`` and ``force``.
    """

    def __init__(
        self, table: dict[str, Any], arrays: dict[str, NDArray[Any]], target: str, settings: dict[str, Any] | None
    ) -> None:
        self._replay = Replay(table, arrays, trained=settings is not None)
        self._model: Any = self._replay
        self._optimiser: Any = None
        if settings is not None:
            optimisers: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
            self._optimiser = optimisers[settings["optimiser"]](self._replay.parameters(), lr=settings["rate"])
            self._model = PackedLoss(self._replay, settings["energy"], settings["force"])
        self._compiled = target != "cpu"
        if self._compiled:
            poptorch = importlib.import_module("poptorch")
            options = ipu_options(poptorch, target, table["options"])
            if settings is None:
                self._model = poptorch.inferenceModel(self._model.eval(), options)
            else:
                self._model.mark = lambda loss: poptorch.identity_loss(loss, reduction="none")
                self._model = poptorch.trainingModel(self._model.train(), options, optimizer=self._optimiser)

    def call(self, tensors: list[Tensor]) -> list[Tensor]:
        """Outputs in order; in training, the loss before the step."""
        if self._optimiser is None or self._compiled:
            results = self._model(*tensors)
            return [results] if isinstance(results, Tensor) else list(results)
        self._optimiser.zero_grad()
        loss = self._model(*tensors)
        loss.backward()
        self._optimiser.step()
        return [loss.detach()]

    def parameters(self) -> dict[str, Tensor]:
        """The trained parameters, by the names of the constants of the program."""
        if self._compiled:
            self._model.copyWeightsToHost()
        return {name: tensor.detach().cpu() for name, tensor in self._replay.named_parameters()}


def ipu_options(poptorch: Any, target: str, options: dict[str, Any]) -> Any:
    """PopTorch's options.

    A program may have one option, ``available_memory``: the part of the memory that gathers and products may take.
    """
    chosen = poptorch.Options()
    if target == "ipu-model":
        chosen.useIpuModel(True)
    if "available_memory" in options:
        chosen.setAvailableMemoryProportion({"IPU0": options["available_memory"]})
    return chosen


def write_message(stream: BinaryIO, header: dict[str, Any], arrays: Iterable[NDArray[Any]] = ()) -> None:
    """Write a header and arrays as one message, and send it off; `read_message` reads it."""
    parts = []
    for array in arrays:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
        parts.append(buffer.getvalue())
    text = json.dumps({**header, "sizes": [len(part) for part in parts]}).encode()
    stream.write(b"".join([struct.pack("<Q", len(text)), text, *parts]))
    stream.flush()


def read_message(read: Callable[[int], bytes]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read a message; EOFError where ``read`` gives less than it was asked for."""

    def exactly(size: int) -> bytes:
        data = read(size)
        if len(data) < size:
            raise EOFError("the stream ended")
        return data

    (length,) = struct.unpack("<Q", exactly(8))
    header = json.loads(exactly(length).decode())
    parts = [io.BytesIO(exactly(size)) for size in header.pop("sizes")]
    return header, [np.lib.format.read_array(part, allow_pickle=False) for part in parts]


def require_inputs(arrays: list[NDArray[Any]], inputs: list[dict[str, Any]]) -> None:
    """Refuse arrays that are not what the program declares; there may be more of them.

    Raises:
        ValueError: one is missing, or of another dtype or shape.
    """
    for number, each in enumerate(inputs):
        given = [(str(array.dtype), list(array.shape)) for array in arrays[number : number + 1]]
        if given != [(each["dtype"], each["shape"])]:
            raise ValueError("{name} must be {dtype} of shape {shape}".format(**each) + f", not {given}")


def serve(worker: ProgramWorker, inputs: list[dict[str, Any]], requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while True:
        try:
            header, arrays = read_message(requests.read)
        except EOFError:
            return
        try:
            if header["do"] == "parameters":
                named = worker.parameters()
                reply, results = {"names": list(named)}, list(named.values())
            else:
                require_inputs(arrays, inputs)
                reply, results = {}, worker.call([torch.from_numpy(array) for array in arrays])
            write_message(replies, {"reply": "done", **reply}, [result.numpy() for result in results])
        except Exception as error:  # the host decides what to do about it
            write_message(replies, {"reply": "failed", "error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Load the program that the command line names, then answer requests until the other end is closed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--target", choices=("cpu", "ipu", "ipu-model"), required=True)
    parser.add_argument("--train", type=json.loads, metavar="JSON", help="settings; see the class ProgramWorker")
    arguments = parser.parse_args()
    try:
        table, arrays = read_program(arguments.program)
        worker = ProgramWorker(table, arrays, arguments.target, arguments.train)
    except (ProgramError, OSError) as error:
        sys.exit(str(error))
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__}
    write_message(REPLIES, {"reply": "ready", "versions": versions, "inputs": table["inputs"]})
    serve(worker, table["inputs"], REQUESTS, REPLIES)


if __name__ == "__main__":
    main()

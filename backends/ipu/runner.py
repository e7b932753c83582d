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
    """What a pack of whole structures adds to the loss of a step: weighted squares of energy and force errors.

    The pack has N atoms, each with a row in every table, and room for G structures. Weights hold everything that
    turns a sum into the mean that is wanted, and are zero where there is no label, no structure or no atom.

    Args:
        replay: the program. One that returns nothing but energies is trained on nothing else.
    """

    mark: Any = staticmethod(lambda loss: loss)  # tells PopTorch which tensor is the loss

    def __init__(self, replay: Replay) -> None:
        super().__init__()
        self.replay, self.with_forces = replay, len(replay.outputs) > 1
        names = [each["name"] for each in replay.inputs]
        self.count, self.transposed = len(names), names.index("transposed") if self.with_forces else -1

    def forward(self, *tensors: Tensor) -> Tensor:
        """The loss, ().

        Args:
            tensors: inputs of the program; members (G, N), 1 where an atom belongs to a structure; energies (G,),
                eV, and their weights (G,); with forces these (N, 3), eV/Å, and their weights (N,).
        """
        inputs, labels = tensors[: self.count], tensors[self.count :]
        members, energies, energy_weights = labels[:3]
        outputs = self.replay(*inputs)
        errors = torch.mv(members, outputs[0]) - energies
        loss: Tensor = (energy_weights * errors * errors).sum()
        if self.with_forces:
            forces, force_weights = labels[3:]
            errors = self._forces(outputs[1], inputs[self.transposed]) - forces
            loss = loss + (force_weights.unsqueeze(1) * errors * errors).sum()
        marked: Tensor = self.mark(loss)
        return marked

    @staticmethod
    def _forces(gradients: Tensor, transposed: Tensor) -> Tensor:
        slots = gradients.reshape(-1, 3).index_select(0, transposed.reshape(-1))
        return gradients.sum(1) - slots.reshape(transposed.shape[0], transposed.shape[1], 3).sum(1)


class ProgramWorker:
    """Evaluates a program.

    Args:
        table: content of ``program.json``.
        arrays: the constants.
        target: ``cpu``, ``ipu`` or ``ipu-model``.
    """

    def __init__(self, table: dict[str, Any], arrays: dict[str, NDArray[Any]], target: str) -> None:
        self._model: Any = Replay(table, arrays)
        if target != "cpu":
            poptorch = importlib.import_module("poptorch")
            options = ipu_options(poptorch, target, table["options"])
            self._model = poptorch.inferenceModel(self._model.eval(), options)

    def answer(self, header: dict[str, Any], tensors: list[Tensor]) -> tuple[dict[str, Any], list[Tensor]]:
        """Outputs in order."""
        if header["do"] != "call":
            raise ValueError("a program that is evaluated answers calls only, not {do}".format(**header))
        results = self._model(*tensors)
        return {}, [results] if isinstance(results, Tensor) else list(results)


class CpuTrainer:
    """Trains the parameters of a program by PyTorch's Adam, and averages them.

    Args:
        replay: the program, whose parameters are to be trained.
        settings: ``packs`` of each step; ``clip``, the largest norm of a gradient.
    """

    def __init__(self, replay: Replay, settings: dict[str, Any]) -> None:
        self._packs, self._clip = settings["packs"], settings["clip"]
        self._loss = PackedLoss(replay)
        self._weights = dict(replay.named_parameters())
        self._averages = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._adam = torch.optim.Adam(self._weights.values())

    def step(self, tensors: list[Tensor], rate: float, decay: float) -> list[Tensor]:
        """The loss before the step, and the norm of its gradient. If that is not finite, nothing is changed."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.zero_grad()
        total = torch.zeros(())
        for pack in zip(*(tensor.chunk(self._packs) for tensor in tensors)):  # noqa: B905
            loss = self._loss(*pack)
            loss.backward()
            total = total + loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(list(self._weights.values()), self._clip)
        if torch.isfinite(norm):
            self._adam.step()
            with torch.no_grad():
                for name, weight in self._weights.items():
                    self._averages[name].lerp_(weight, 1.0 - decay)
        return [total, norm.detach()]

    def state(self) -> dict[str, Tensor]:
        """All that changes from step to step: ``model.NAME``, ``average.NAME``, ``adam.NAME.KEY``."""
        state = {"model." + name: weight.detach() for name, weight in self._weights.items()}
        state.update({"average." + name: average for name, average in self._averages.items()})
        for name, weight in self._weights.items():
            state.update({f"adam.{name}.{key}": value for key, value in self._adam.state.get(weight, {}).items()})
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Go back to a state. A parameter without moments has had no gradient yet."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["model." + name])
                self._averages[name].copy_(state["average." + name])
                prefix = f"adam.{name}."
                moments = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
                if moments:
                    self._adam.state[weight] = {key: value.clone() for key, value in moments.items()}


class IpuTrainer:
    """Trains the parameters of a program by PopTorch's Adam, on an IPU. It keeps no average of them.

    Args:
        replay: the program, whose parameters are to be trained.
        settings: as for `CpuTrainer`.
        poptorch: the package.
        options: of PopTorch.
    """

    def __init__(self, replay: Replay, settings: dict[str, Any], poptorch: Any, options: Any) -> None:
        # The packs of a step are added up on the device, as their losses are; weights have made means of both.
        options.Training.gradientAccumulation(settings["packs"])
        options.Training.accumulationAndReplicationReductionType(poptorch.ReductionType.Sum)
        options.outputMode(poptorch.OutputMode.Sum)
        loss = PackedLoss(replay)
        loss.mark = lambda value: poptorch.identity_loss(value, reduction="none")
        self._weights = dict(replay.named_parameters())
        # A rate that is named here may change later.
        self._adam = poptorch.optim.Adam(replay.parameters(), lr=1e-3, max_grad_norm=settings["clip"])
        self._model = poptorch.trainingModel(loss.train(), options, optimizer=self._adam)

    def step(self, tensors: list[Tensor], rate: float, decay: float) -> list[Tensor]:
        """The loss before the step."""
        if decay:
            raise ValueError("weights stay on the IPU between steps, so nothing averages them")
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._model.setOptimizer(self._adam)
        loss: Tensor = self._model(*tensors)
        return [loss.sum()]

    def state(self) -> dict[str, Tensor]:
        """All that changes from step to step: ``model.NAME``, and ``poptorch.PART.NAME`` of its optimiser."""
        state: dict[str, Tensor] = {}
        if self._model.isCompiled():
            self._model.copyWeightsToHost()
            kept = self._adam.state_dict()
            for part in ("ipu_state", "ipu_param"):
                state.update({f"poptorch.{part}.{name}": value for name, value in kept[part].items()})
        state.update({"model." + name: weight.detach().cpu().clone() for name, weight in self._weights.items()})
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Go back to a state, before the first step."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["model." + name])
        parts: dict[str, dict[str, Tensor]] = {"ipu_state": {}, "ipu_param": {}}
        for name, value in state.items():
            if name.startswith("poptorch."):
                _, part, rest = name.split(".", 2)
                parts[part][rest] = value
        if parts["ipu_state"]:
            self._adam.load_state_dict({**self._adam.state_dict(), **parts})


class TrainingWorker:
    """Trains the parameters of a program, one step of Adam a message.

    Args:
        table: content of ``program.json``.
        arrays: the constants.
        target: ``cpu``, ``ipu`` or ``ipu-model``.
        settings: see `CpuTrainer`.
    """

    def __init__(
        self, table: dict[str, Any], arrays: dict[str, NDArray[Any]], target: str, settings: dict[str, Any]
    ) -> None:
        replay = Replay(table, arrays, trained=True)
        self._trainer: Any
        if target == "cpu":
            self._trainer = CpuTrainer(replay, settings)
        else:
            poptorch = importlib.import_module("poptorch")
            options = ipu_options(poptorch, target, table["options"])
            self._trainer = IpuTrainer(replay, settings, poptorch, options)

    def answer(self, header: dict[str, Any], tensors: list[Tensor]) -> tuple[dict[str, Any], list[Tensor]]:
        """Take a step, give the state, or go back to one."""
        if header["do"] == "step":
            return {}, self._trainer.step(tensors, header["rate"], header["decay"])
        if header["do"] == "state":
            state = self._trainer.state()
            return {"names": list(state)}, list(state.values())
        if header["do"] == "load":
            self._trainer.load(dict(zip(header["names"], tensors)))  # noqa: B905
            return {}, []
        raise ValueError("a program that is trained does not answer {do}".format(**header))


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


def require_inputs(arrays: list[NDArray[Any]], inputs: list[dict[str, Any]], packs: int = 1) -> None:
    """Refuse arrays that are not what the program declares; there may be more of them.

    Args:
        arrays: to be given to the program.
        inputs: as it declares them.
        packs: how many of each lie behind one another.

    Raises:
        ValueError: one is missing, or of another dtype or shape.
    """
    for number, each in enumerate(inputs):
        given = [(str(array.dtype), list(array.shape)) for array in arrays[number : number + 1]]
        shape = [packs * each["shape"][0], *each["shape"][1:]] if packs > 1 else each["shape"]
        if given != [(each["dtype"], shape)]:
            raise ValueError(f"{each['name']} must be {each['dtype']} of shape {shape}, not {given}")


def serve(worker: Any, inputs: list[dict[str, Any]], packs: int, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while True:
        try:
            header, arrays = read_message(requests.read)
        except EOFError:
            return
        try:
            if header["do"] in ("call", "step"):
                require_inputs(arrays, inputs, packs)
            reply, results = worker.answer(header, [torch.from_numpy(array) for array in arrays])
            write_message(replies, {"reply": "done", **reply}, [result.numpy() for result in results])
        except Exception as error:  # the host decides what to do about it
            write_message(replies, {"reply": "failed", "error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Load the program that the command line names, then answer requests until the other end is closed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--target", choices=("cpu", "ipu", "ipu-model"), required=True)
    parser.add_argument("--train", type=json.loads, metavar="JSON", help="settings; see the class CpuTrainer")
    arguments = parser.parse_args()
    try:
        table, arrays = read_program(arguments.program)
        worker: Any
        if arguments.train is None:
            worker = ProgramWorker(table, arrays, arguments.target)
        else:
            worker = TrainingWorker(table, arrays, arguments.target, arguments.train)
    except (ProgramError, OSError) as error:
        sys.exit(str(error))
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__}
    write_message(REPLIES, {"reply": "ready", "versions": versions, "inputs": table["inputs"]})
    serve(worker, table["inputs"], (arguments.train or {}).get("packs", 1), REQUESTS, REPLIES)


if __name__ == "__main__":
    main()

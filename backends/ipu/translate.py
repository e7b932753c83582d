"""From a lowered graph to a program of the IPU backend."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, final

import torch
from torch import Tensor, fx

from halocline.backends.ipu.calls import (
    dtype_name,
    evaluate,
    fixed_size,
    is_factory,
    plain_call,
    result_names,
    takes_tensor,
)
from halocline.backends.ipu.program_file import Input, IpuProgram, Operation, references
from halocline.errors import LoweringError
from halocline.lowering import Program
from halocline.program import Precision

_aten = torch.ops.aten

#: Operations that hand on the tensor they are given.
_NOTHING: Final = (_aten.alias.default, _aten.detach.default)

#: Arguments that mean nothing to a program without devices and strides.
_DROPPED: Final = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking"})


def from_lowered(program: Program, parameters: Mapping[str, Tensor] | None = None) -> IpuProgram:
    """Write a graph of fixed sizes down as a program.

    Args:
        program: in float32, with a capacity.
        parameters: those of the backbone that was lowered, by name, if they are to be trained.

    Raises:
        LoweringError: it is in float64, has free sizes, or holds something that no program can.
    """
    if program.manifest.precision is not Precision.FLOAT32:
        raise LoweringError("Programs for IPUs compute in float32; lower the model in that precision.")
    translator = _Translator(program.graph, parameters or {})
    for node in program.graph.graph.nodes:
        translator.add(node)
    operations, read = _live(translator.operations, translator.outputs)
    return IpuProgram(
        inputs=tuple(translator.inputs),
        constants={name: tensor.numpy() for name, tensor in translator.constants.items() if name in read},
        operations=tuple(operations),
        outputs=tuple(translator.outputs),
        manifest=program.manifest.to_json(),
        parameters={name: home for name, home in translator.parameters.items() if name in read},
    )


def energies_only(program: IpuProgram) -> IpuProgram:
    """A program that computes energies and no gradients, with the inputs that it then needs."""
    outputs = program.outputs[:1]
    operations, read = _live(list(program.operations), list(outputs))
    inputs = tuple(each for each in program.inputs if each.name in read)
    names = {each.name for each in inputs}
    manifest = program.manifest | {
        "inputs": [each for each in program.manifest["inputs"] if each["name"] in names],
        "outputs": program.manifest["outputs"][:1],
    }
    return replace(
        program,
        inputs=inputs,
        constants={name: array for name, array in program.constants.items() if name in read},
        operations=tuple(operations),
        outputs=outputs,
        manifest=manifest,
        parameters={name: home for name, home in program.parameters.items() if name in read},
    )


@final
class _Translator:
    """Takes the nodes of one graph in order.

    Attributes:
        inputs: found so far.
        operations: likewise.
        outputs: names.
        constants: those that something reads.
        parameters: names of those that can be trained, and what the backbone calls them.
    """

    def __init__(self, graph: fx.GraphModule, parameters: Mapping[str, Tensor]) -> None:
        self._graph = graph
        self._homes = {tensor.data_ptr(): name for name, tensor in parameters.items()}
        #: Nodes that depend on no input, and on no weight but single numbers that are not trained.
        self._known: dict[fx.Node, Tensor] = {}
        #: Names of the results of every node that has other names than its own.
        self._names: dict[fx.Node, tuple[str, ...]] = {}
        self.inputs: list[Input] = []
        self.operations: list[Operation] = []
        self.outputs: list[str] = []
        self.constants: dict[str, Tensor] = {}
        self.parameters: dict[str, str] = {}

    def add(self, node: fx.Node) -> None:
        """Take the next node."""
        if node.op == "placeholder":
            value = node.meta["val"]
            self.inputs.append(
                Input(node.name, dtype_name(value.dtype), tuple(fixed_size(n) for n in value.shape))
            )
            self._names[node] = (node.name,)
        elif node.op == "get_attr":
            self._add_buffer(node)
        elif node.op == "output":
            self._add_outputs(node)
        elif node.target is operator.getitem:
            source, index = node.args
            self._names[node] = (self._names[source][index],)  # type: ignore[index]
        elif node.target in _NOTHING:
            self._same(node, node.args[0])
        else:
            self._add_operation(node)

    def _add_buffer(self, node: fx.Node) -> None:
        name = str(node.target)
        tensor = getattr(self._graph, name).detach().cpu().contiguous()
        home = self._homes.get(tensor.data_ptr())
        self._names[node] = (name,)
        if home is None and tensor.ndim == 0:
            self._known[node] = tensor
            return
        self.constants[name] = tensor
        if home is not None:
            self.parameters[name] = home

    def _add_operation(self, node: fx.Node) -> None:
        if is_factory(node) or all(source in self._known for source in node.all_input_nodes):
            self._known[node] = evaluate(node, self._known)
            return
        target, args, kwargs = plain_call(node)
        declared = target._schema.arguments
        encoded = [
            self._encode_tensor(value) if takes_tensor(argument) else self._encode(value)
            for argument, value in zip(declared, args, strict=False)
        ]
        named = {key: self._encode(value) for key, value in kwargs.items() if key not in _DROPPED}
        self._names[node] = result_names(node)
        self.operations.append(Operation(str(target), tuple(encoded), named, self._names[node]))

    def _add_outputs(self, node: fx.Node) -> None:
        """Every output is the result of an operation; inputs and constants are copied."""
        results = {name for operation in self.operations for name in operation.results}
        for output in node.args[0]:  # type: ignore[union-attr]
            name = self._encode(output)["ref"]
            if name in results and name not in self.outputs:
                self.outputs.append(name)
                continue
            copy = f"output_{len(self.outputs)}"
            self.operations.append(Operation("aten.clone.default", ({"ref": name},), {}, (copy,)))
            self.outputs.append(copy)

    def _same(self, node: fx.Node, source: Any) -> None:
        self._names[node] = self._names.get(source, (source.name,))
        if source in self._known:
            self._known[node] = self._known[source]

    def _encode(self, value: Any) -> Any:
        """An argument as JSON; see `program_file`."""
        if isinstance(value, fx.Node):
            return {"ref": self._reference(value)}
        if isinstance(value, torch.dtype):
            return {"dtype": dtype_name(value)}
        if isinstance(value, float) and value - value != 0.0:
            return {"float": str(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list | tuple):
            return [self._encode(part) for part in value]
        raise LoweringError(f"A program of fixed sizes cannot hold the argument {value!r}.")

    def _encode_tensor(self, value: Any) -> Any:
        """Likewise, where a tensor is wanted; PyTorch allows a number there, an IPU does not."""
        if not isinstance(value, bool | int | float):
            return self._encode(value)
        tensor = torch.tensor(value, dtype=torch.float32 if isinstance(value, float) else None)
        name = f"literal_{value!r}".replace("-", "minus_").replace("+", "").replace(".", "_")
        self.constants[name] = tensor
        return {"ref": name}

    def _reference(self, node: fx.Node) -> str:
        (name,) = self._names.get(node, (node.name,))
        if node in self._known:
            self.constants[name] = self._known[node]
        return name


def _live(operations: list[Operation], outputs: list[str]) -> tuple[list[Operation], set[str]]:
    """The operations that outputs depend on, and the names of all that is read."""
    read, live = set(outputs), []
    for operation in reversed(operations):
        if read.intersection(operation.results):
            live.append(operation)
            read.update(references([operation.args, operation.kwargs]))
    return live[::-1], read

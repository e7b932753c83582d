"""Read a program as calls, and follow types through it on torch's meta device.

PopTorch infers shapes and dtypes in the same way: it cannot compile an operation without a kernel for that device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from halocline.backends.ipu.check.call import Call, TensorType, Violation, tensors_in
from halocline.backends.ipu.program_file import IpuProgram, Operation


def read_calls(program: IpuProgram) -> tuple[dict[str, TensorType], list[Call], list[Violation]]:
    """Resolve every operation.

    Args:
        program: whose names are all given before they are read.

    Returns:
        The type of each tensor by name, the calls in order, and operations that torch does not have or would not
        call like this; those are not among the calls.
    """
    types = {value.name: _declared(value.name, value.dtype, value.shape) for value in program.inputs}
    for name, array in program.constants.items():
        types[name] = TensorType(name, getattr(torch, str(array.dtype)), array.shape)
    calls: list[Call] = []
    violations: list[Violation] = []
    for number, operation in enumerate(program.operations):
        where = f"operation {number} ({operation.target})"
        results = tuple(TensorType(name) for name in operation.results)
        call = _read_call(operation, where, types, results)
        if isinstance(call, Call):
            calls.append(call)
            results = call.results
        else:
            violations.append(call)
        types.update({result.name: result for result in results})
    return types, calls, violations


def _read_call(
    operation: Operation, where: str, types: Mapping[str, TensorType], results: tuple[TensorType, ...]
) -> Call | Violation:
    overload = find_overload(operation.target)
    if overload is None:
        return Violation(
            "operation", where, "this is no ATen operation of torch; programs have no control flow and no others."
        )
    try:
        args = [_decode(value, types) for value in operation.args]
        kwargs = {key: _decode(value, types) for key, value in operation.kwargs.items()}
        arguments = bind(overload, args, kwargs)
    except (TypeError, AttributeError) as error:
        return Violation("arguments", where, f"its arguments do not fit the operation: {error}.")
    if not all(tensor.known for tensor in tensors_in(arguments)):
        return Call(where, overload, arguments, results)
    try:
        found = _infer(overload, args, kwargs, operation.results)
    except Exception as error:  # every operation has errors of its own
        return Call(where, overload, arguments, results, failure=str(error).partition("\n")[0])
    return Call(where, overload, arguments, found)


def find_overload(target: str) -> torch._ops.OpOverload[Any, Any] | None:
    """The operation of a name such as ``aten.mul.Tensor``."""
    namespace, _, rest = target.partition(".")
    name, _, overload = rest.partition(".")
    packet = getattr(torch.ops.aten, name, None) if namespace == "aten" and name else None
    found = getattr(packet, overload or "default", None)
    return found if isinstance(found, torch._ops.OpOverload) else None


def bind(overload: torch._ops.OpOverload[Any, Any], args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, with the schema's defaults.

    Raises:
        TypeError: too many, too few, or unknown ones.
    """
    schema = overload._schema.arguments
    positional = [argument.name for argument in schema if not argument.kwarg_only]
    if len(args) > len(positional):
        raise TypeError(f"it takes {len(positional)} arguments and {len(args)} are given")
    given = {**dict(zip(positional, args, strict=False)), **kwargs}
    defaults = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    bound = {**defaults, **given}
    names = {argument.name for argument in schema}
    if bound.keys() != names:
        raise TypeError(f"{', '.join(sorted(bound.keys() ^ names))} unknown or missing")
    return bound


def _declared(name: str, dtype: str, shape: tuple[int, ...]) -> TensorType:
    """The type of an input; unknown where the file declares no such type."""
    known = isinstance(getattr(torch, dtype, None), torch.dtype) and all(type(n) is int and n >= 0 for n in shape)
    return TensorType(name, getattr(torch, dtype), tuple(shape)) if known else TensorType(name)


def _decode(value: Any, types: Mapping[str, TensorType]) -> Any:
    """An argument of the program file."""
    match value:
        case {"ref": name}:
            return types[name]
        case {"dtype": name}:
            return getattr(torch, name)
        case {"float": number}:
            return float(number)
        case list() | tuple():
            return [_decode(part, types) for part in value]
        case _:
            return value


def _infer(
    overload: torch._ops.OpOverload[Any, Any], args: Any, kwargs: Mapping[str, Any], names: tuple[str, ...]
) -> tuple[TensorType, ...]:
    """Call the operation on tensors without data."""
    with torch.no_grad():
        result = overload(*_on_meta(args), **{key: _on_meta(value) for key, value in kwargs.items()})
    results = [result] if isinstance(result, Tensor) else list(result)
    if len(results) != len(names) or not all(isinstance(each, Tensor) for each in results):
        raise TypeError(f"it gives {len(results)} results and the program names {len(names)}")
    return tuple(
        TensorType(name, each.dtype, tuple(each.shape)) for name, each in zip(names, results, strict=True)
    )


def _on_meta(value: Any) -> Any:
    if isinstance(value, TensorType):
        assert value.shape is not None
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    return [_on_meta(part) for part in value] if isinstance(value, list) else value

"""A reader of the pickles that ``torch.save`` writes of plain data. It can build data and do nothing else.

A pickle is a program. Python's own machine runs it with whatever functions it names; the one here knows the two
dozen operations that plain data needs, and the four names below. There is nothing that a file could call. Where
whole objects are asked for, whatever else it names becomes a record of what was to be called, and with what.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from halocline.errors import CheckpointError
from halocline.zoo.foreign.archive import STORAGES, Archive, Storage, TensorReader
from halocline.zoo.foreign.model import show_name


class _Name(NamedTuple):
    """A name that the pickle uses: inert, it only says what is meant."""

    module: str
    name: str


@final
@dataclass(eq=False, slots=True)
class ForeignObject:
    """The record of what a pickle would have made by calling something; it does nothing.

    Attributes:
        name: of what it would have called, with its module.
        arguments: of the call.
        state: of the object that it would have got: its attributes, where it is one of a class of Python's.
    """

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


_DICT = _Name("collections", "OrderedDict")
_TENSOR = _Name("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = _Name("torch._utils", "_rebuild_parameter")
_STORAGES = {_Name("torch", name): dtype for name, dtype in STORAGES.items()}
_ALLOWED = {_DICT, _TENSOR, _PARAMETER, *_STORAGES}

#: What dictionaries of tensors and plain data name.
PLAIN_NAMES = {".".join(name) for name in _ALLOWED}

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARGUMENTS = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_torch_file(path: Path) -> Any:
    """Read what ``torch.save`` wrote: dictionaries, lists, tuples, text, numbers and tensors.

    Raises:
        CheckpointError: it is no such file, is damaged, or holds anything else.
    """
    return _read(path, objects=False)


def read_torch_objects(path: Path) -> Any:
    """Read what ``torch.save`` wrote of whole objects, such as modules: plain data and `ForeignObject`.

    Raises:
        CheckpointError: it is no such file, is damaged, or does what no ``torch.save`` does.
    """
    return _read(path, objects=True)


def _read(path: Path, *, objects: bool) -> Any:
    with Archive(path) as archive:
        machine = _Machine(path, TensorReader(archive), objects=objects)
        try:
            return machine.run(archive.pickle())
        except CheckpointError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise CheckpointError(f"The pickle in {path} is damaged: {reason}.") from error


@final
class _Machine:
    """Operations of protocol 2 on a stack.

    Args:
        path: the file, for messages.
        tensors: makes tensors.
        objects: record calls of names that plain data does not need, instead of refusing the file.
    """

    def __init__(self, path: Path, tensors: TensorReader, *, objects: bool) -> None:
        self._path = path
        self._objects = objects
        self._tensors = tensors
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """Build what a pickle describes."""
        for operation, argument, _ in pickletools.genops(program):
            self._step(operation.name, argument)
        (result,) = self._stack
        return result

    def _step(self, name: str, argument: Any) -> None:
        if name in _ARGUMENTS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self._stack.append(tuple(self._pop(_TUPLES[name])))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        else:
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "STOP":
                pass
            case "MARK":
                self._marks.append(len(self._stack))
            case "TUPLE":
                self._stack.append(tuple(self._pop_to_mark()))
            case "GLOBAL":
                self._stack.append(self._name(argument))
            case "BINPERSID":
                self._stack.append(self._storage(self._stack.pop()))
            case "REDUCE":
                arguments, function = self._stack.pop(), self._stack.pop()
                self._stack.append(self._reduce(function, arguments))
            case "NEWOBJ" if self._objects:
                arguments, kind = self._stack.pop(), self._stack.pop()
                self._stack.append(self._record(kind, arguments))
            case "BUILD":
                state = self._stack.pop()  # plain data has no attributes; those of a state dict are versions
                if isinstance(self._stack[-1], ForeignObject):
                    self._stack[-1].state = state
            case "SETITEM" | "SETITEMS":
                items = self._pop(2) if name == "SETITEM" else self._pop_to_mark()
                self._fill(items)
            case "APPEND" | "APPENDS":
                items = self._pop(1) if name == "APPEND" else self._pop_to_mark()
                self._target(list).extend(items)
            case _:
                raise CheckpointError(f"The pickle in {self._path} uses {name}, which plain data does not need.")

    def _name(self, argument: str) -> _Name:
        name = _Name(*argument.split(" ", 1))
        if name not in _ALLOWED and not self._objects:
            raise CheckpointError(
                f"{self._path} asks for {'.'.join(name)!r}, which plain tensors do not need; it was not run."
            )
        return name

    def _storage(self, reference: Any) -> Storage:
        match reference:
            case ("storage", _Name() as kind, str(key), str(), int()) if kind in _STORAGES:
                return Storage(key, _STORAGES[kind])
            case ("storage", _Name() as kind, *_):
                kinds = ", ".join(STORAGES)
                raise CheckpointError(
                    f"{self._path} has tensors of {show_name('.'.join(kind))}; only {kinds} are read."
                )
        raise CheckpointError(f"{self._path} refers to something else than a storage of tensors.")

    def _reduce(self, function: Any, arguments: Any) -> Any:
        match function, arguments:
            case _Name() as name, () if name == _DICT:
                return {}
            case _Name() as name, (Storage() as storage, offset, size, stride, *_) if name == _TENSOR:
                return self._tensors.read(storage, offset, size, stride)
            case _Name() as name, (tensor, *_) if name == _PARAMETER:
                return tensor
        if self._objects:
            return self._record(function, arguments)
        raise CheckpointError(
            f"The pickle in {self._path} calls something in a way that plain tensors do not need."
        )

    def _record(self, function: Any, arguments: Any) -> ForeignObject:
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise CheckpointError(f"The pickle in {self._path} calls something that has no name.")
        return ForeignObject(".".join(function), arguments)

    def _fill(self, items: list[Any]) -> None:
        keys = items[::2]
        allowed = str | int | ForeignObject if self._objects else str | int
        if len(items) % 2 or not all(isinstance(key, allowed) for key in keys):
            raise CheckpointError(f"{self._path} has a dictionary with keys that are neither text nor numbers.")
        self._target(dict).update(zip(keys, items[1::2], strict=True))

    def _target(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise CheckpointError(f"The pickle in {self._path} fills something that is no {kind.__name__}.")
        return self._stack[-1]

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise CheckpointError(f"The pickle in {self._path} is damaged: it takes more than it has built.")
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return items

    def _pop_to_mark(self) -> list[Any]:
        return self._pop(len(self._stack) - self._marks.pop())

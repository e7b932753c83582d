"""How messages travel: a header of JSON that names the type, and raw arrays. Nothing in them can be run.

A message is an instance of a dataclass, a named tuple or an enumeration. Annotations alone say what its fields
hold, and what is built from what arrives: numbers, text, ``bytes``, arrays, further such classes, tuples and
dictionaries of them, or None. ``Any`` is a value of plain JSON, and ``NDArray[Any]`` an array of any kind below.

    16 bytes    "HALO", length of the header (uint32), length of the body (uint64), in network order
    header      JSON: {"message": its class, "value": its fields, "arrays": [[dtype, shape], …]}
    body        the arrays, little-endian, each at a multiple of 64 bytes; a field holds the number of its array
"""

from __future__ import annotations

import json
import math
import operator
import struct
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from halocline.canonical import parse_strict_json
from halocline.errors import DistributedError, UsageError

_PREFIX: Final = struct.Struct("!4sIQ")
_MAGIC: Final = b"HALO"

#: Bytes of a header: room for the config of any model, and for the shapes of the arrays of thousands of ranks.
MAX_HEADER: Final = 1 << 24

#: Bytes of a body: more than any machine has. Memory below that is taken from the system as the bytes arrive.
MAX_BODY: Final = 1 << 40

#: Bytes; where arrays begin, so that no result depends on how they came.
_ALIGNMENT: Final = 64

_DTYPES: Final = {name: np.dtype(name) for name in ("bool", "uint8", "int64", "float64")}

#: Numbers that JSON does not know.
_NOT_FINITE: Final = ("inf", "-inf", "nan")


class ForeignMessageError(DistributedError):
    """Bytes arrived that are no message of this version of Halocline."""


def encode(message: object) -> list[memoryview]:
    """The pieces of a message, to be sent one after another. Arrays are not copied.

    Raises:
        TypeError: a field does not hold what its annotation says.
    """
    arrays: list[NDArray[Any]] = []
    value = _write(type(message), message, arrays)
    table = [[array.dtype.name, array.shape] for array in arrays]
    described = {"message": type(message).__name__, "value": value, "arrays": table}
    header = json.dumps(described, separators=(",", ":"), allow_nan=False).encode()
    pieces, size = [memoryview(header)], 0
    for array in arrays:
        gap = -size % _ALIGNMENT
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        pieces += [memoryview(bytes(gap)), little.reshape(-1).view(np.uint8).data]
        size += gap + array.nbytes
    return [memoryview(_PREFIX.pack(_MAGIC, len(header), size)), *filter(len, pieces)]


def decode(kinds: Sequence[type], read: Callable[[memoryview], None]) -> Any:
    """Read one message.

    Args:
        kinds: classes of which it may be.
        read: fills a buffer with the bytes that come next.

    Raises:
        ForeignMessageError: it is none of these.
        DistributedError: there is no room for it.
    """
    prefix = bytearray(_PREFIX.size)
    read(memoryview(prefix))
    magic, length, size = _PREFIX.unpack(prefix)
    if magic != _MAGIC or length > MAX_HEADER or size > MAX_BODY:
        raise ForeignMessageError(f"What arrived is no message: it begins with {bytes(prefix)!r}.")
    header = bytearray(length)
    read(memoryview(header))
    try:
        kind, value, table = _parse(header, kinds)
        layout = list(_layout(table, size))
        body = _room(size)
        read(body.data)
        arrays = iter(list(enumerate(_array(body, *each) for each in layout)))
        message = _read(kind, value, arrays)
        if next(arrays, None) is not None:
            raise ValueError("it has more arrays than fields for them")
    except (ValueError, LookupError, OverflowError, UsageError) as error:
        reason = str(error).removesuffix(".")
        raise ForeignMessageError(f"What arrived is no message of this version: {reason}.") from None
    return message


def _parse(header: bytearray, kinds: Sequence[type]) -> tuple[type, Any, Any]:
    described = parse_strict_json(header.decode())
    if not isinstance(described, dict) or described.keys() != {"message", "value", "arrays"}:
        raise ValueError("its header lacks something")
    for kind in kinds:
        if kind.__name__ == described["message"]:
            return kind, described["value"], described["arrays"]
    raise ValueError(f"a {str(described['message'])[:80]!r} is not expected")


def _layout(table: Any, size: int) -> Iterator[tuple[int, np.dtype[Any], tuple[int, ...]]]:
    """Offset, type and shape of each array, which together take all of the body."""
    end = 0
    for name, shape in _checked(table, list):
        if not all(type(length) is int and 0 <= length <= MAX_BODY for length in _checked(shape, list)):
            raise ValueError(f"{str(shape)[:80]} is no shape")
        begin = end + -end % _ALIGNMENT
        end = begin + _DTYPES[_checked(name, str)].itemsize * math.prod(shape)
        if end > size:
            break
        yield begin, _DTYPES[name], tuple(shape)
    if end != size:
        raise ValueError(f"its arrays take {end} bytes and its body {size}")


def _room(size: int) -> NDArray[np.uint8]:
    try:
        raw = np.empty(size + _ALIGNMENT, np.uint8)
    except MemoryError:
        raise DistributedError(
            f"It ran out of memory (for a message of {size} bytes); use more parts or more ranks."
        ) from None
    gap = -raw.ctypes.data % _ALIGNMENT
    return raw[gap : gap + size]


def _array(body: NDArray[np.uint8], begin: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    raw = body[begin : begin + dtype.itemsize * math.prod(shape)]
    if dtype == np.bool_:  # which may be nothing but 0 and 1
        return np.reshape(raw != 0, shape)
    array: NDArray[Any] = raw.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    return array.reshape(shape)


def _write(kind: Any, value: Any, arrays: list[NDArray[Any]]) -> Any:
    """What stands in the header for a value of an annotated kind; its arrays are put aside."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or kind is type(None):
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _write(_other_than_none(inner), value, arrays)
    if (allowed := _dtypes(kind)) is not None:
        array = np.frombuffer(value, np.uint8) if kind is bytes else value
        if array.dtype not in allowed:
            raise TypeError(f"an array of {array.dtype} stands where one of {_named(allowed)} should")
        arrays.append(np.ascontiguousarray(array))
        return len(arrays) - 1
    if origin is tuple:
        return [_write(inner[0], each, arrays) for each in value]
    if origin is dict:
        return {key: _write(inner[1], each, arrays) for key, each in value.items()}
    if kind is float:
        return float(value) if math.isfinite(value) else str(float(value))
    if kind is int:
        return operator.index(value)
    if kind in (bool, str):
        if not isinstance(value, (kind, np.bool_)):
            raise TypeError(f"{value!r} stands where a {kind.__name__} should")
        return kind(value)
    if issubclass(kind, Enum):
        return value.name
    return {name: _write(each, getattr(value, name), arrays) for name, each in _fields(kind).items()}


def _read(kind: Any, value: Any, arrays: Iterator[tuple[int, NDArray[Any]]]) -> Any:
    """The value of an annotated kind for which that stands in the header."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or (value is None and type(None) in inner):
        return value
    if origin in (Union, types.UnionType):
        return _read(_other_than_none(inner), value, arrays)
    if (allowed := _dtypes(kind)) is not None:
        number, array = next(arrays, (-1, np.empty(0)))
        if type(value) is not int or value != number or array.dtype not in allowed:
            raise ValueError(f"{str(value)[:80]} is not its next array of {_named(allowed)}")
        return array.tobytes() if kind is bytes else array
    if origin is tuple:
        return tuple(_read(inner[0], each, arrays) for each in _checked(value, list))
    if origin is dict:
        return {key: _read(inner[1], each, arrays) for key, each in _checked(value, dict).items()}
    if kind is float:
        return float(value if value in _NOT_FINITE or type(value) is int else _checked(value, float))
    if kind in (bool, int, str):
        return _checked(value, kind)
    if issubclass(kind, Enum):
        return kind[_checked(value, str)]
    if _checked(value, dict).keys() != (fields := _fields(kind)).keys():
        raise ValueError(f"the fields of its {kind.__name__} are others")
    return kind(**{name: _read(each, value[name], arrays) for name, each in fields.items()})


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{str(value)[:80]!r} is no {kind.__name__}")
    return value


@cache
def _dtypes(kind: Any) -> tuple[np.dtype[Any], ...] | None:
    """Of an ``NDArray[…]``, which newer releases of NumPy keep as a named alias, or of bytes; else None."""
    if kind is bytes:
        return (np.dtype(np.uint8),)
    alias = getattr(get_origin(kind), "__value__", None)
    if alias is not None:
        kind = alias[get_args(kind)]
    if get_origin(kind) is not np.ndarray:
        return None
    scalar = get_args(get_args(kind)[1])[0]
    return tuple(_DTYPES.values()) if scalar is Any else (np.dtype(scalar),)


def _named(dtypes: tuple[np.dtype[Any], ...]) -> str:
    return " or ".join(map(str, dtypes))


def _other_than_none(kinds: Sequence[Any]) -> Any:
    (kind,) = (each for each in kinds if each is not type(None))
    return kind


@cache
def _fields(kind: type) -> dict[str, Any]:
    """The fields of a class and what they hold."""
    assert is_dataclass(kind) or issubclass(kind, tuple)
    return get_type_hints(kind)

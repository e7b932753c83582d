"""Messages come back as they were; nothing else can be built from what arrives, and nothing else can be run."""

from __future__ import annotations

import dataclasses
import json
import pickle
import resource
import socket
import struct
import threading
import tracemalloc
import types
from contextlib import suppress
from enum import Enum
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ddp_setups import backbone, liquid
from numpy.typing import NDArray

from halocline.backends.ddp import wire
from halocline.backends.ddp.channel import Channel
from halocline.backends.ddp.crew import Crew
from halocline.backends.ddp.messages import (
    TO_DRIVER,
    TO_RANK,
    Advance,
    Assignment,
    FailedAnswer,
    Gathered,
    Measured,
    Moved,
    Plan,
    Settle,
    Signal,
    Step,
    Trial,
    Weigh,
    Weighed,
    hello,
)
from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.service import serve
from halocline.backends.ddp.wire import MAX_BODY, MAX_HEADER, ForeignMessageError, decode, encode
from halocline.cost.loads import RankLoad
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds
from halocline.dynamics.residents import StepSums
from halocline.dynamics.settings import Settings
from halocline.errors import BackboneError, DistributedError, HaloclineError, UsageError
from halocline.evaluator.runner import Contribution
from halocline.graph import Contacts, NeighbourList
from halocline.partition import Division, build_domains
from halocline.place import Place
from halocline.program import Precision

KINDS = (*TO_RANK, *TO_DRIVER)


class Planted:
    """Runs code where it is unpickled."""

    ran = False

    def __reduce__(self):
        return (setattr, (Planted, "ran", True))


def messages():
    """One of each kind and form."""
    model = backbone("schnet")
    structure, neighbours = liquid(model), NeighbourList(model.neighbours)
    graph = neighbours.graph(structure)
    owners = Division.parse("rcb:3").owners(graph)
    domains = build_domains(
        structure, graph.edges, graph.partners, owners, parts=3, ranks=2, reach=1, exchange=True
    )
    plan = Plan(domains[1], structure.pbc, exchange=True)
    apart = dataclasses.replace(domains[0], partners=None, sends=(), receives=())
    yield from Signal
    yield hello(3)
    yield hello(0, "digest")
    portable, inner = PortableModel.of(model), "onnx:threads=1"
    yield Assignment(portable, Precision.FLOAT32, inner, "cpu", exchange=True, timeout=0.5)
    yield Trial(graph, "group")
    yield Trial(None, "größe \ud800 \n")
    yield Step(structure.positions, structure.cell, plan)
    yield Step(structure.positions[::2], None, Plan(apart, structure.pbc, exchange=False))
    yield Step(np.empty((0, 3)), None, None)
    yield Measured(Speeds(1e-300, inf, 0.1 + 0.2))
    yield Measured(refusal="no")
    others = {"charges": np.arange(3.0)}
    yield Contribution(
        np.array([np.nan, -0.0, inf]), np.ones((4, 3)).T[:, :3], np.eye(3), Contacts.of(graph), others
    )
    told = structure.under({"charge": np.arange(len(structure)), "temperature": np.ones(len(structure))})
    yield Trial(dataclasses.replace(graph, structure=told), "group")
    yield FailedAnswer.of(UsageError("x"))
    crystal = bulk("Ar", cubic=True)
    crystal.set_constraint(FixAtoms([2]))
    atoms = OwnedAtoms.of(crystal, np.array([0, 2]), {"charge": np.arange(4)})
    axes, cuts, cell, pbc, settings = np.zeros(1, np.int64), np.ones(1), structure.cell, structure.pbc, Settings()
    alone = {"still": False, "exchange": False, "partition": "none", "memory": None}
    start = Settle(atoms, None, None, None, cell, None, np.empty(0), pbc, settings, free=9, done=0, **alone)
    yield start
    yield Weigh(start, Profile((2, 1, 0), (0, 0, 0), 512, 4), "group")
    yield Weighed(RankLoad(9, 7, 4, 3, np.array([0, 1])), Measured(refusal="no"))
    yield Settle(
        atoms,
        atoms.momenta,
        axes,
        cuts,
        cell,
        2.0 * cell,
        cuts,
        pbc,
        dataclasses.replace(settings, seed=7),
        9,
        done=3,
        still=True,
        exchange=True,
        partition="grid:1",
        memory=2**33,
    )
    yield Advance(2**40)
    sums = StepSums(3, inf, -0.0, np.eye(3), 2.0 * np.eye(3), Contacts.of(graph), 0.5, 11)
    yield Moved((sums, dataclasses.replace(sums, not_finite="the force of atom 3")))
    yield Moved(())
    yield Gathered(
        atoms.ids, *[atoms.positions] * 3, atoms.masses, atoms.positions, axes, cuts, cell, 2.0 * cell, cuts
    )


def frame(message):
    return b"".join(encode(message))


def read(data, kinds=KINDS):
    """Decode what a peer sends before it hangs up."""
    rest = memoryview(data)

    def fill(buffer):
        nonlocal rest
        if len(rest) < len(buffer):
            raise EOFError
        buffer[:] = rest[: len(buffer)]
        rest = rest[len(buffer) :]

    message = decode(kinds, fill)
    assert not len(rest)
    return message


def require_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        if one.size and one.dtype != bool:  # wherever it comes from, it is computed with alike
            assert one.ctypes.data % 64 == 0
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            require_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for each in zip(one, other, strict=True):
            require_same(*each)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
    elif isinstance(one, Enum):
        assert one is other
    else:
        assert one == other


@pytest.mark.parametrize("message", list(messages()), ids=lambda message: type(message).__name__)
def test_messages_come_back_as_they_were(message):
    require_same(read(frame(message)), message)


def test_arrays_are_known_by_numpys_alias_of_any_release():
    """NumPy 2.5 makes NDArray a named alias, which not every Python has: its likeness has the same attribute."""

    class Named:
        __value__ = np.ndarray[Any, np.dtype[TypeVar("Scalar")]]

    for kind, dtype in ((np.float64, "float64"), (np.int64, "int64"), (np.bool_, "bool")):
        named = types.GenericAlias(Named(), (kind,))
        assert wire._dtypes(NDArray[kind]) == wire._dtypes(named) == (np.dtype(dtype),)
    for kind in (bytes, float, tuple[int, ...], dict[str, float], Named):
        assert wire._dtypes(kind) == ((np.dtype(np.uint8),) if kind is bytes else None)


def test_arrays_that_come_can_be_changed_and_belong_to_nobody_else():
    step = Step(np.ones((2, 3)), None, None)
    found = read(frame(step))
    found.positions[:] = 0
    assert step.positions.all()


def described(message="Step", value=None, arrays=(), body=b"", size=None, length=None):
    """A frame with anything in its header."""
    header = json.dumps({"message": message, "value": value, "arrays": arrays}).encode()
    prefix = struct.pack("!4sIQ", b"HALO", length or len(header), len(body) if size is None else size)
    return prefix + header + body


STEP = {"positions": 0, "cell": None, "plan": None}
GREETING = {"rank": 0, "versions": {}, "digest": None}
FOREIGN = {
    "a pickle": pickle.dumps(Planted()),
    "a pickle as an older version sent it": struct.pack("!i", 100) + pickle.dumps(Planted()),
    "nonsense": bytes(range(100)),
    "a long header": described(length=MAX_HEADER + 1),
    "a long body": described(size=MAX_BODY + 1),
    "no JSON": struct.pack("!4sIQ", b"HALO", 4, 0) + b"nope",
    "no text": struct.pack("!4sIQ", b"HALO", 4, 0) + b"\xff\xfe\xfd\xfc",
    "deep JSON": struct.pack("!4sIQ", b"HALO", 10**5, 0) + b"[" * 10**5,
    "a long number": struct.pack("!4sIQ", b"HALO", 10**5, 0) + b"1" * 10**5,
    "no header": struct.pack("!4sIQ", b"HALO", 2, 0) + b"{}",
    "a class that is no message": described("Planted", {}),
    "a module": described("os.system", {}),
    "no class": described(["Step"], STEP),
    "a part of a message": described("Plan", {}),
    "fields missing": described(value={"positions": 0}, arrays=[["float64", [0, 3]]]),
    "a field too many": described(value=STEP | {"more": 1}, arrays=[["float64", [0, 3]]]),
    "an array of objects": described(value=STEP, arrays=[["object", [0, 3]]]),
    "an array of another type": described(value=STEP, arrays=[["int64", [0, 3]]]),
    "no array": described(value=STEP),
    "an array that is not there": described(value=STEP | {"positions": 1}, arrays=[["float64", [0, 3]]]),
    "an array twice": described(value=STEP | {"cell": 0}, arrays=[["float64", [0, 3]]]),
    "an array for nothing": described(value=STEP, arrays=[["float64", [0, 3]]] * 2),
    "a negative shape": described(value=STEP, arrays=[["float64", [-1, -8]]], body=bytes(64)),
    "a shape that wraps round": described(value=STEP, arrays=[["float64", [2**31, 2**33]]]),
    "an empty shape that is huge": described(value=STEP, arrays=[["float64", [0, 2**40, 2**40]]]),
    "too many axes": described(value=STEP, arrays=[["float64", [0] * 100]]),
    "a shape of truths": described(value=STEP, arrays=[["float64", [True]]], body=bytes(8)),
    "a body too short": described(value=STEP, arrays=[["float64", [2, 3]]], body=bytes(40)),
    "a body too long": described(value=STEP, arrays=[["float64", [2, 3]]], body=bytes(56)),
    "a huge body without arrays": described(value=STEP, size=MAX_BODY),
    "a number as text": described("Hello", GREETING | {"rank": "0"}),
    "a truth as number": described("Hello", GREETING | {"rank": True}),
    "versions that are none": described("Hello", GREETING | {"versions": [1]}),
    "a name that is no member": described("Signal", "__class__"),
    "a member that is no name": described("Signal", 1),
    "an unknown number": described("Measured", {"speeds": {"seconds_per_edge": "1e5"}, "refusal": ""}),
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_anything_else_is_refused(data):
    with pytest.raises(ForeignMessageError, match=r"What arrived is no message"):
        read(data)
    assert not Planted.ran


def test_messages_of_the_other_direction_are_refused():
    for message in messages():
        for kinds in (TO_RANK, TO_DRIVER):
            if not isinstance(message, kinds):
                with pytest.raises(ForeignMessageError, match=f"a '{type(message).__name__}' is not expected"):
                    read(frame(message), kinds)


def test_damaged_messages_are_refused_or_are_messages():
    """Bits turned, bytes cut out, put in and replaced: never another error, nor memory beyond a header."""
    rng = np.random.default_rng(0)
    whole = [frame(message) for message in messages()]
    tracemalloc.start()
    for _ in range(3000):
        data = bytearray(whole[rng.integers(len(whole))])
        limit = min(len(data), 400) if rng.random() < 0.7 else len(data)  # mostly in the header
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(min(limit, len(data))))
            if rng.random() < 0.5:
                data[at : at + 1] = bytes([data[at] ^ 1 << int(rng.integers(8))])
            else:
                data[at : at + int(rng.integers(3))] = rng.bytes(rng.integers(3))
        with suppress(DistributedError, EOFError, AssertionError):
            read(bytes(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_HEADER + 20 * max(map(len, whole))


def test_noise_is_refused():
    rng = np.random.default_rng(1)
    for size in (0, 1, 15, 16, 17, 100, 10**5):
        with pytest.raises((DistributedError, EOFError)):
            read(rng.bytes(size))


def resident():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("size", [2**32, MAX_BODY])
def test_what_is_announced_takes_no_memory_before_it_comes(size):
    before = resident()
    with pytest.raises((DistributedError, EOFError)):  # there is no room for it, or it never comes
        read(described(value=STEP, arrays=[["float64", [size // 8]]], size=size))
    assert resident() - before < 2**24


def test_what_a_field_cannot_hold_is_not_sent():
    with pytest.raises(TypeError, match="float32"):
        encode(Step(np.zeros((2, 3), np.float32), None, None))
    with pytest.raises(TypeError, match="stands where a str should"):
        encode(Trial(None, None))


def test_a_config_that_is_no_data_is_not_sent():
    model = backbone("lennard-jones")
    model.config = {"what": Planted()}
    with pytest.raises(BackboneError, match="'lennard-jones' cannot be given to ranks"):
        PortableModel.of(model)


class StrangeError(UsageError):
    """Of somebody's plugin."""


def test_errors_are_named_and_never_brought_along():
    error = FailedAnswer.of(StrangeError("odd")).error(2)
    assert type(error) is UsageError
    assert str(error) == "Rank 2: odd"
    for kind in ("SystemExit", "Planted", "ClassVar", "os"):
        assert type(FailedAnswer(kind, "odd").error(0)) is DistributedError
    assert all(type(FailedAnswer.of(kind("x")).error(0)) is kind for kind in HaloclineError.__subclasses__()[:5])


def test_a_driver_refuses_what_is_planted_on_its_line():
    ours, theirs = socket.socketpair()
    crew = Crew(5.0)
    theirs.sendall(pickle.dumps(Planted()))
    with pytest.raises(DistributedError, match=r"Rank 0: What arrived is no message.*All ranks were stopped\."):
        crew.admit([Channel(ours, 5.0, TO_DRIVER)], 5.0)
    assert not crew.alive
    assert not Planted.ran
    theirs.close()


def test_a_rank_refuses_what_is_planted_on_its_line_and_says_so():
    ours, theirs = socket.socketpair()
    left = []

    def work():
        with pytest.raises(DistributedError, match="was left by the driver"):
            serve(Channel(theirs, 5.0, TO_RANK), hello(0), Place(0, 1, 0, 1), 5.0, lambda: left.append(True))

    rank = threading.Thread(target=work)
    rank.start()
    line = Channel(ours, 5.0, TO_DRIVER)
    assert line.receive() == hello(0)
    ours.sendall(pickle.dumps(Planted()))
    assert "What arrived is no message" in line.receive().text
    rank.join(30.0)
    assert left
    assert not rank.is_alive()
    assert not Planted.ran
    line.close()
    theirs.close()


def test_answers_that_were_not_asked_for_are_refused():
    ours, theirs = socket.socketpair()
    crew, rank = Crew(5.0), Channel(theirs, 5.0, TO_RANK)
    rank.send(hello(0))
    crew.admit([Channel(ours, 5.0, TO_DRIVER)], 5.0)
    rank.send(hello(0))
    with pytest.raises(DistributedError, match="Rank 0 said Hello unasked"):
        crew.ask([Signal.BEAT], Contribution)
    rank.close()

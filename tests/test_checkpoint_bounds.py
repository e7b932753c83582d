"""What a checkpoint says of its size is compared with what it holds, before anything is built or long read."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from halocline.canonical import parse_strict_json, to_canonical_json
from halocline.checkpoint import Checkpoint, load_checkpoint, read_header, save_checkpoint
from halocline.errors import CheckpointError, HaloclineError, StructureError, UsageError
from halocline.graph import Structure
from halocline.model.bounded import bounded_by
from halocline.model.build import build_backbone
from halocline.partition import Division
from halocline.plugin import registry
from halocline.potential.load import build_potential

BACKBONES = ("lennard-jones", "m3gnet", "schnet")

#: Bytes that building any of the mutants may take beside what Python and torch have already: below one 8 GB layer.
MOST_MEMORY = 2 * 2**30


def example(name):
    config = registry().load("backbone", name).example_config()
    backbone = build_backbone(name, config)
    return Checkpoint(
        backbone=name,
        config=config,
        tensors=backbone.state_dict(),
        reference_energies=dict.fromkeys(backbone.species, 0.0),
    )


EXAMPLES = {name: example(name) for name in BACKBONES}
FIELDS = [(name, field) for name in BACKBONES for field in EXAMPLES[name].config]
VALUES = [
    *(0, -1, 1, 2, 3, 7, 100, 10**4, 10**6, 10**8, 2**31, 2**62, 2**63 - 1, -(2**63)),
    *(0.0, -1.0, 1e-300, 0.5, 1e60, 1e300, True, False, None, "", "radius", "x" * 1000, [], {}, [[]], {"a": [1]}),
    *([1, 2], ["Ar"] * 2, ["H", "O", "H"], ["Xx"], ["H"] * 10**5, [1e308, 1e308], ["nearest"]),
]


@pytest.mark.parametrize(("name", "field"), FIELDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:12])
def test_any_value_in_a_config_builds_a_model_or_is_refused(name, field, value):
    checkpoint = dataclasses.replace(EXAMPLES[name], config=EXAMPLES[name].config | {field: value})
    with contextlib.suppress(HaloclineError):
        build_potential(checkpoint)


@pytest.mark.slow
def test_no_mutant_takes_much_memory():
    """All of the above once more, in a process that would be refused the memory."""
    program = (
        "import resource, dataclasses, test_checkpoint_bounds as t\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + t.MOST_MEMORY\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "for name, field in t.FIELDS:\n"
        "    for value in t.VALUES:\n"
        "        t.test_any_value_in_a_config_builds_a_model_or_is_refused(name, field, value)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300, cwd=Path(__file__).parent)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("schnet", {"layers": 10**8}),
        ("schnet", {"features": 10**6}),
        ("schnet", {"gaussians": 10**9}),
        ("m3gnet", {"layers": 10**8}),
        ("m3gnet", {"units": 10**5}),
        ("m3gnet", {"features": 2**40}),
        ("m3gnet", {"max_n": 10**6}),
    ],
)
def test_sizes_beyond_the_weights_are_refused(name, change):
    checkpoint = dataclasses.replace(EXAMPLES[name], config=EXAMPLES[name].config | change)
    with pytest.raises(HaloclineError, match=r"far more than the weights|at most 64"):
        build_potential(checkpoint)


def many_modules():
    return nn.ModuleList(nn.Identity() for _ in range(10**9))


def many_buffers():
    module = nn.Module()
    for index in range(10**9):
        module.register_buffer(f"b{index}", None)


GREEDY = {
    "modules": many_modules,
    "buffers": many_buffers,
    "a large layer": lambda: nn.Linear(10**6, 10**6),
    "zeros": lambda: torch.zeros(10**12),
    "zeros by name": lambda: torch.zeros(size=(10**6, 10**6)),
    "full": lambda: torch.full((10**6, 10**6), 1.0),
    "a range": lambda: torch.arange(0, 10**12, 2),
    "points": lambda: torch.linspace(0.0, 1.0, 10**12),
    "a unit matrix": lambda: torch.eye(10**6),
    "an outer product": lambda: torch.zeros(10**6, 1) * torch.zeros(1, 10**6),
    "repeats": lambda: torch.zeros(3).repeat(10**6, 10**6),
}


@pytest.mark.parametrize("build", GREEDY.values(), ids=GREEDY.keys())
def test_what_backbones_of_others_could_do(build):
    with (
        pytest.raises(CheckpointError, match="1 tensors with 4 elements"),
        bounded_by({"a": torch.zeros(4)}, "here"),
    ):
        build()


def test_nothing_is_counted_once_the_model_is_built():
    with bounded_by({}, "here"):
        pass
    nn.ModuleList(nn.Identity() for _ in range(10_001))


def test_whole_numbers_are_no_weights():
    """Rounded to ones and zeros they would load, and give other numbers."""
    tensors = {name: tensor.long() for name, tensor in EXAMPLES["schnet"].tensors.items()}
    with pytest.raises(CheckpointError, match="do not fit"):
        build_potential(dataclasses.replace(EXAMPLES["schnet"], tensors=tensors))


def test_weights_of_less_precision_are_weights():
    tensors = {name: tensor.half() for name, tensor in EXAMPLES["schnet"].tensors.items()}
    assert build_potential(dataclasses.replace(EXAMPLES["schnet"], tensors=tensors)).species == ("H", "O")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("9" * 5000, "64 bits"),
        ("-9223372036854775809", "64 bits"),
        ("1e400", "too large"),
        ("-1" + "0" * 400 + ".0", "too large"),
        ('{"a":1,"a":2}', "occurs twice"),
        ("{" + ",".join(f'"{i}":0' for i in range(90_000)) + ',"89999":1}', "'89999' occurs twice"),
        ("[" * 100_000, "nested"),
    ],
)
def test_json_that_is_refused(text, named):
    with pytest.raises(ValueError, match=named):
        parse_strict_json(text)


def test_the_ends_of_64_bits_are_numbers():
    assert parse_strict_json("[9223372036854775807,-9223372036854775808]") == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_a_character_is_no_text(text, tmp_path):
    with pytest.raises(ValueError, match="surrogate"):
        to_canonical_json({"a": text})
    with pytest.raises(CheckpointError, match="surrogate"):
        save_checkpoint(tmp_path / "a", dataclasses.replace(EXAMPLES["schnet"], card={"notes": text}))


@pytest.mark.parametrize("shape", [[2**63, 0], [2**62, 2, 0], [1] * 17, [2**31, 2**31, 2**31, 0]])
def test_shapes_that_no_memory_holds(tmp_path, shape):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, dataclasses.replace(EXAMPLES["lennard-jones"], tensors={}))
    data = path.read_bytes()
    header = json.loads(data[8:])
    stop = 4 if 0 not in shape else 0
    raw = json.dumps({**header, "w": {"dtype": "F32", "shape": shape, "data_offsets": [0, stop]}}).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(stop))
    for read in (read_header, load_checkpoint):
        with pytest.raises(CheckpointError, match=r"no memory holds|64 bits"):
            read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FIELDS), st.lists(st.tuples(st.text(), JSON), max_size=2), JSON)
def test_arbitrary_configs_are_refused_by_name(chosen, more, value):
    name, field = chosen
    checkpoint = dataclasses.replace(EXAMPLES[name], config=EXAMPLES[name].config | {field: value} | dict(more))
    with contextlib.suppress(HaloclineError):
        build_potential(checkpoint)


@pytest.mark.parametrize("number", [119, 200, -1, 2**40])
def test_atomic_numbers_of_no_element_are_refused(number):
    from ase import Atoms

    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])
    atoms.numbers[1] = number
    with pytest.raises(StructureError, match=f"Atom 1 has the atomic number {number}"):
        Structure.from_atoms(atoms)


@pytest.mark.parametrize("parts", ["99999999999999999999", "9" * 5000, "1" + "0" * 10])
def test_more_parts_than_can_be_are_refused(parts):
    with pytest.raises(UsageError, match="number of parts"):
        Division.parse(f"rcb:{parts}")

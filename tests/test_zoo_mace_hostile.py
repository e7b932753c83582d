"""Whatever a file of MACE holds: nothing in it is run, and it is read, or refused by its name."""

from __future__ import annotations

import builtins
import contextlib
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from ase import Atoms
from foreign_files import refusal, write_archive
from mace_files import write_mace
from test_mace_parity import potential, tensors

from halocline.errors import CheckpointError, UnknownElementError
from halocline.zoo.foreign import read_mace

MODEL = "agnostic-everywhere-L0"

#: What Python reports when somebody runs, looks up or imports something.
_DEEDS = ("exec", "compile", "import", "os.system", "os.exec", "os.spawn", "subprocess.Popen", "pickle.find_class")
_seen: list[str] = []
_watching = False


def _hook(event, arguments):
    if _watching and event in _DEEDS:
        _seen.append(f"{event} {arguments}")


sys.addaudithook(_hook)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A model that is read, so that everything that reading imports is there."""
    path = write_mace(tmp_path_factory.mktemp("mace") / "good.model", *tensors(MODEL))
    read_mace(path)
    return path


@pytest.fixture
def watched(good):
    """Nothing may be run, looked up or imported while the test runs."""
    _seen.clear()
    yield
    assert not _seen


def read_watched(path):
    global _watching
    _watching = True
    try:
        return read_mace(path)
    finally:
        _watching = False


def refused(path) -> str:
    return refusal(read_watched, path)


def test_the_watch_sees_what_python_s_own_machine_does():
    global _watching
    _seen.clear()
    _watching = True
    try:
        pickle.loads(b"cos\ngetcwd\n)R.")
    finally:
        _watching = False
    assert _seen == ["pickle.find_class ('os', 'getcwd')"]


class Call:
    """Is pickled as a call."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def gadgets(victim):
    mkdir = Call(os.mkdir, victim)
    return {
        "os.system": Call(os.system, f"mkdir {victim}"),
        "eval": Call(builtins.eval, f"__import__('os').mkdir({victim!r})"),
        "exec": Call(builtins.exec, f"import os; os.mkdir({victim!r})"),
        "getattr": Call(builtins.getattr, Call(builtins.__import__, "os"), "mkdir"),
        "subprocess": Call(subprocess.check_output, ["mkdir", victim]),
        "nested": Call(dict, Call(list, Call(tuple, [mkdir]))),
        "parameter": Call(torch._utils._rebuild_parameter, mkdir, True, {}),
        "tensor": Call(torch._utils._rebuild_tensor_v2, mkdir, 0, (1,), (1,), False, mkdir),
        "torch.load": Call(torch.load, victim),
        "torch.jit.load": Call(torch.jit.load, victim),
        "storage": Call(torch.storage._load_from_bytes, b"cos\nmkdir\n"),
        "hub": Call(torch.hub.load_state_dict_from_url, "https://example.org/a"),
        "state": Call(dict, state={"__setstate__": mkdir, "_modules": {"a": mkdir}}),
        "graph": Call(torch.fx.graph_module.reduce_graph_module, {"_code": "import os"}, "import os"),
    }


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("name", gadgets("/nowhere"))
def test_calls_in_a_model_are_records(tmp_path, name):
    victim = tmp_path / "victim"
    hostile = gadgets(str(victim))[name]
    attributes = {"extra": hostile, "training": [hostile], "_forward_hooks": {0: hostile}}
    read_watched(write_mace(tmp_path / "m.model", *tensors(MODEL), attributes=attributes))
    assert not victim.exists()


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("place", ["heads", "_modules", "_buffers", "_parameters", "apply_cutoff"])
def test_calls_in_the_place_of_what_is_read_are_refused(tmp_path, place):
    victim = tmp_path / "victim"
    path = write_mace(tmp_path / "m.model", *tensors(MODEL), attributes={place: Call(os.mkdir, str(victim))})
    refused(path)
    assert not victim.exists()


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x02cmace.modules.models\nMACE\n)\x81cos\nsystem\nX\x04\x00\x00\x00true\x85Rb.",  # state is a call
        b"\x80\x02cmace.modules.models\nMACE\n)\x81}X\x08\x00\x00\x00_modulescos\nsystem\nsb.",
        b"\x80\x02cmace.modules.models\nMACE\n)\x81]b.",
        b"\x80\x02cmace.modules.models\nMACE\n)\x81}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00ssb.",
        b"\x80\x02cmace.modules.models\nMACE\n)\x81q\x00}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00sX\x01\x00"
        b"\x00\x00bh\x00ssb.",  # holds itself twice
        b"\x80\x02(imace.modules.models\nMACE\n.",
        b"\x80\x02cmace.modules.models\nMACE\nK\x01R.",
        b"\x80\x02\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_programs_are_refused(tmp_path, program):
    refused(write_archive(tmp_path / "m.model", program))


def rewritten(good, path, change):
    """The good file with its parts changed: name → bytes."""
    with zipfile.ZipFile(good) as old:
        parts = {entry.filename: old.read(entry) for entry in old.infolist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as new:
        for name, data in parts.items():
            new.writestr(name, data)
    return path


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "good/../../evil", "elsewhere/evil", "good//evil"])
def test_parts_outside_of_the_folder(tmp_path, good, name):
    path = rewritten(good, tmp_path / "m.model", lambda parts: parts.update({name: b"x"}))
    assert "outside of its folder" in refused(path)


@pytest.mark.usefixtures("watched")
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_parts_that_are_there_twice(tmp_path, good):
    path = rewritten(good, tmp_path / "m.model", lambda parts: None)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("good/data.pkl", b"cos\nsystem\n.")
    assert "twice" in refused(path)


@pytest.mark.usefixtures("watched")
def test_bombs(tmp_path, good):
    """One that unpacks to a thousand times its size, and one whose parts lie on top of each other."""
    packed = write_archive(tmp_path / "a.model", bytes(10**7), compression=zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 10**5
    assert "compressed" in refused(packed)
    path = tmp_path / "b.model"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", b"N.")
        file.writestr("m/data/0", bytes(10**6))
        for number in range(1, 1000):
            entry = zipfile.ZipInfo(f"m/data/{number}")
            whole = file.filelist[1]
            entry.file_size = entry.compress_size = whole.file_size
            entry.CRC, entry.header_offset = whole.CRC, whole.header_offset
            file.filelist.append(entry)
    assert "more bytes than the file has" in refused(path)


@pytest.mark.usefixtures("watched")
def test_files_that_end_early(tmp_path, good):
    data, path = good.read_bytes(), tmp_path / "m.model"
    for size in np.linspace(0, len(data) - 1, 25, dtype=int):
        path.write_bytes(data[:size])
        refused(path)


@pytest.mark.usefixtures("watched")
def test_changed_bytes_of_the_pickle(tmp_path, good):
    """Checksums of the archive are made anew, so that only the reader is between a change and the model."""
    random = np.random.default_rng(0)

    def change(parts):
        pickle = bytearray(parts["good/data.pkl"])
        pickle[random.integers(len(pickle))] = random.integers(256)
        parts["good/data.pkl"] = bytes(pickle)

    for _ in range(60):
        with contextlib.suppress(CheckpointError):
            read_watched(rewritten(good, tmp_path / "m.model", change))


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(
    "description",
    [
        (0, (2**40,), (1,)),
        (0, (2**31, 2**31), (0, 0)),
        (2**62, (1,), (1,)),
        (0, (3,), (2**60,)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (1.5,), (1,)),
        (0, (2,), (1, 1)),
        (0, tuple([2] * 50), tuple([1] * 50)),
    ],
)
def test_tensors_beyond_their_storage(tmp_path, description):
    path = write_mace(tmp_path / "m.model", *tensors(MODEL), attributes={"extra": Described(description)})
    assert "tensor" in refused(path)


class Described:
    """A tensor of any offset, size and stride on a storage of four numbers."""

    def __init__(self, description):
        self.description = description

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (torch.zeros(4)._typed_storage(), *self.description, False, {})


@pytest.mark.usefixtures("watched")
def test_weights_of_several_precisions(tmp_path):
    config, given = tensors(MODEL)
    name = "interactions.1.linear_up.weight"
    path = write_mace(tmp_path / "m.model", config, given | {name: given[name].float()})
    message = refused(path)
    assert "several precisions" in message
    assert "float32 (interactions.1.linear_up.weight)" in message
    half = write_mace(tmp_path / "h.model", config, given | {name: given[name].half()})
    assert "'torch.HalfStorage'" in refused(half)


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("products.0.symmetric_contractions.contractions.0.U_matrix_3", (9, 9, 4, 11)),
        ("products.0.symmetric_contractions.contractions.0.U_matrix_2", (9, 9)),
        ("products.1.symmetric_contractions.contractions.0.U_matrix_1", (16, 1)),
        ("products.0.symmetric_contractions.contractions.0.weights_max", (3, 7, 4)),
        ("interactions.0.conv_tp_weights.layer2.weight", (7, 5)),
        ("radial_embedding.bessel_fn.bessel_weights", (0,)),
    ],
)
def test_couplings_and_weights_of_other_sizes(tmp_path, name, shape):
    config, given = tensors(MODEL)
    refused(write_mace(tmp_path / "m.model", config, given | {name: torch.ones(shape, dtype=torch.float64)}))


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("value", [None, 0.0, -1.0, float("inf"), float("nan"), "9.5", [9.5], torch.ones(3)])
def test_numbers_of_neighbours_that_are_none(tmp_path, value):
    config, given = tensors(MODEL)
    path = write_mace(tmp_path / "m.model", config | {"avg_num_neighbors": [value, 9.5]}, given)
    assert "avg_num_neighbors" in refused(path)


def test_elements_outside_of_the_model_are_named():
    with pytest.raises(UnknownElementError, match="Au"):
        potential(MODEL)(Atoms("AuH", [(0, 0, 0), (0, 0, 1.6)]))

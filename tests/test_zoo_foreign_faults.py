"""Damaged and hostile files of other packages are refused with one clear sentence, and nothing in them is run."""

import contextlib
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from foreign_files import (
    MATTERSIM_ARGUMENTS,
    matgl_tensors,
    refusal,
    write_archive,
    write_matgl,
    write_mattersim,
)

from halocline.errors import CheckpointError
from halocline.zoo.foreign import read_matgl, read_mattersim
from halocline.zoo.foreign.unpickle import read_torch_file


class Hostile:
    """Makes a folder when it is unpickled by Python's own machine."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_is_named_and_never_run(tmp_path):
    path = write_mattersim(tmp_path / "m.pth", optimizer=Hostile(tmp_path / "victim"))
    assert ".mkdir'" in refusal(read_mattersim, path)
    assert not (tmp_path / "victim").exists()
    torch.load(path, weights_only=False)  # the file would do harm where it is trusted
    assert (tmp_path / "victim").exists()


FLOATS = b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"


def tensor(offset: int, size: int, stride: int) -> bytes:
    """The pickle of a tensor of one axis on a storage of four numbers."""
    numbers = b"J%sJ%s\x85J%s\x85" % tuple(struct.pack("<i", number) for number in (offset, size, stride))
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + FLOATS[2:] + numbers + b"\x89Nt" + b"R."


def test_tensor_by_hand(tmp_path):
    data = np.arange(4, dtype="<f4").tobytes()
    path = write_archive(tmp_path / "t.pt", tensor(0, 2, 2), {"0": data})
    assert torch.equal(read_torch_file(path), torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize(
    "description", [(0, 5, 1), (1, 4, 1), (0, 3, 2), (-1, 2, 1), (0, -1, 1), (0, 2**30, 0), (2, 2, -1), (9, 1, 1)]
)
def test_tensors_beyond_the_file(tmp_path, description):
    path = write_archive(tmp_path / "t.pt", tensor(*description), {"0": bytes(16)})
    assert "tensor" in refusal(read_torch_file, path)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"\x80\x02.",
        b"\x80\x02R.",
        b"\x80\x02}K\x01K\x02",
        b"\x80\x02K\x01K\x02.",
        b"\x80\x02h\x05.",
        b"\x80\x02t.",
        b"\x80\x02K\x01K\x02K\x03s.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02NK\x01a.",
        b"\x80\x02X\xff\xff\xff\x7fa.",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
        b"\x80\x02\xff.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02ccollections\nOrderedDict\n(K\x01tR.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02cno_name\n\n.",
        b"(ios\nsystem\n.",
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x02cbuiltins\neval\n.",
        b"\x80\x02ctorch\nload\n.",
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02\x82\x01.",
    ],
)
def test_pickles_that_are_no_plain_data(tmp_path, program):
    refusal(read_torch_file, write_archive(tmp_path / "p.pt", program))


def test_large_memo_costs_nothing(tmp_path):
    """Python's own machine would make a table of 2³² entries here."""
    assert read_torch_file(write_archive(tmp_path / "p.pt", b"\x80\x02Nr\xfe\xff\xff\xff.")) is None


def test_lists_within_lists_are_not_spelled_out(tmp_path):
    """Forty lists, each of which holds the one before twice, would be a message of 10¹² letters."""
    units = [0]
    for _ in range(40):
        units = [units, units]
    path = write_mattersim(tmp_path / "m.pth", MATTERSIM_ARGUMENTS | {"units": units})
    assert "'units'" in refusal(read_mattersim, path)


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes(pickle.dumps({"model": 1}))
    assert "not a file of torch.save" in refusal(read_mattersim, path)
    refusal(read_mattersim, write_archive(path, b"N.", compression=zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", b"N.")
        file.writestr("b/data.pkl", b"N.")
    assert "exactly one" in refusal(read_mattersim, path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", b"N.")
        file.writestr("a/byteorder", b"big")
    assert "little-endian" in refusal(read_mattersim, path)
    assert "no part 'm/data/0'" in refusal(read_torch_file, write_archive(path, tensor(0, 1, 1)))


def test_truncated(tmp_path):
    path = write_mattersim(tmp_path / "m.pth")
    data = path.read_bytes()
    for size in np.linspace(0, len(data) - 1, 40, dtype=int):
        path.write_bytes(data[:size])
        refusal(read_mattersim, path)


def test_changed_weights(tmp_path):
    folder = write_matgl(tmp_path / "m")
    data = bytearray((folder / "state.pt").read_bytes())
    place = data.index(matgl_tensors()["data_std"].numpy().tobytes())
    data[place] ^= 1
    (folder / "state.pt").write_bytes(data)
    assert "damaged" in refusal(read_matgl, folder)


def test_changed_bytes_are_errors_of_ours_or_harmless(tmp_path):
    path = write_mattersim(tmp_path / "m.pth")
    data, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(80):
        changed = bytearray(data)
        changed[random.integers(len(data))] = random.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            read_mattersim(path)

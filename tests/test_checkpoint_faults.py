"""Damaged and hostile checkpoints are refused with one clear sentence, before they cost memory."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from halocline.canonical import to_canonical_json
from halocline.checkpoint import load_checkpoint, read_header
from halocline.checkpoint.metadata import content_digest
from halocline.errors import CheckpointError

GOOD = (Path(__file__).parent / "checkpoints" / "version-1.safetensors").read_bytes()
HEADER_SIZE = int.from_bytes(GOOD[:8], "little")
FIELDS = {"backbone": "b", "config": {}, "reference_energies": {"H": 0.0}, "card": {}}


@pytest.fixture
def refused(tmp_path):
    """Write bytes to a file, expect an error from loading it, and give its message."""

    def check(data: bytes) -> str:
        path = tmp_path / "bad.safetensors"
        path.write_bytes(data)
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(path)
        message = str(error.value)
        assert str(path) in message
        assert "\n" not in message
        assert message.endswith(".")
        assert not message.endswith("..")
        return message

    return check


@pytest.mark.parametrize("size", [0, 7, 8, 9, 8 + HEADER_SIZE // 2, 8 + HEADER_SIZE, len(GOOD) - 1])
def test_truncated(refused, size):
    message = refused(GOOD[:size])
    assert "truncated" in message or "the file holds" in message


def loads(path: Path) -> bool:
    try:
        load_checkpoint(path)
    except CheckpointError:
        return False
    return True


def test_something_behind_the_end(refused):
    assert f"the file holds {len(GOOD) - 8 - HEADER_SIZE + 1}" in refused(GOOD + b"\0")


def test_every_flipped_bit_is_found(tmp_path):
    """Length, header (metadata, digest, tensor table, padding) and data: all of the file, bit by bit."""
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(GOOD)
    undetected = []
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(GOOD):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                if loads(path):
                    undetected.append((position, bit))
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert loads(path)
    assert undetected == []


def test_another_spelling_of_the_same_metadata_is_found(refused):
    """A bit flip can turn 1e-300 into 1E-300, which is the same number."""
    assert b"1e-300" in GOOD
    assert "canonical" in refused(GOOD.replace(b"1e-300", b"1E-300"))


def file_with(table: object, data: bytes = b"", metadata: object = None) -> bytes:
    """A file with a header of our making; valid metadata by default."""
    if metadata is None:
        text = to_canonical_json({"format_version": 1, **FIELDS, "sha256": content_digest(FIELDS, [])})
        metadata = {"halocline": text}
    if isinstance(table, dict):
        table = {"__metadata__": metadata, **table}
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE_TABLES = {
    "overlap": ({"a": entry(shape=[2], offsets=[0, 8]), "b": entry(offsets=[4, 8])}, 8, "overlaps"),
    "same place": ({"a": entry(), "b": entry()}, 4, "overlaps"),
    "hole": ({"a": entry(), "b": entry(offsets=[8, 12])}, 12, "hole"),
    "hole at the start": ({"a": entry(offsets=[4, 8])}, 8, "hole"),
    "uncovered end": ({"a": entry()}, 8, "describes 4 bytes"),
    "beyond the end": ({"a": entry(shape=[2], offsets=[0, 8])}, 4, "describes 8 bytes"),
    "backwards": ({"a": entry(offsets=[4, 0])}, 4, "-4 bytes"),
    "negative offset": ({"a": entry(offsets=[-4, 0])}, 4, "non-negative"),
    "negative shape": ({"a": entry(shape=[-1, -1])}, 4, "non-negative"),
    "shape overflow": ({"a": entry(shape=[2**33, 2**33], offsets=[0, 0])}, 0, "no memory holds"),
    "boolean shape": ({"a": entry(shape=[True])}, 4, "non-negative"),
    "fractional shape": ({"a": entry(shape=[1.0])}, 4, "non-negative"),
    "shape is no list": ({"a": entry(shape=1)}, 4, "non-negative"),
    "three offsets": ({"a": entry(offsets=[0, 2, 4])}, 4, "non-negative"),
    "unknown dtype": ({"a": entry(dtype="F31")}, 4, "dtype 'F31'"),
    "dtype is no string": ({"a": entry(dtype=["F32"])}, 4, "dtype"),
    "wrong dtype": ({"a": entry(dtype="F64")}, 4, "needs 8"),
    "missing field": ({"a": {"dtype": "F32", "shape": [1]}}, 4, "exactly"),
    "further field": ({"a": {**entry(), "pickle": "gASV"}}, 4, "exactly"),
    "entry is no table": ({"a": []}, 0, "exactly"),
    "traversal": ({"../w": entry()}, 4, "'../w'"),
    "absolute name": ({"/etc/passwd": entry()}, 4, "'/etc/passwd'"),
    "NUL in a name": ({"a\0b": entry()}, 4, "tensor name"),
    "line feed in a name": ({"a\n": entry()}, 4, "tensor name"),
    "empty name": ({"": entry()}, 4, "tensor name"),
    "tensor that the digest does not know": ({"a": entry()}, 4, "SHA-256"),
}


@pytest.mark.parametrize("case", HOSTILE_TABLES)
def test_hostile_tensor_table(refused, case):
    table, data_size, named = HOSTILE_TABLES[case]
    assert named in refused(file_with(table, b"\0" * data_size))


HOSTILE_HEADERS = {
    "length of 2^63": (struct.pack("<Q", 2**63) + b"{}", "limit"),
    "length of 2^64 - 1": (b"\xff" * 8 + b"{}", "limit"),
    "length of 200 MB": (struct.pack("<Q", 200 * 2**20) + b"{}", "limit"),
    "empty header": (struct.pack("<Q", 0), "JSON"),
    "not UTF-8": (file_with(b"\xff\xfe{}"), "JSON"),
    "not JSON": (file_with(b"{'a': 1}"), "JSON"),
    "NaN": (file_with(b'{"__metadata__": NaN}'), "NaN"),
    "huge number": (file_with(b'{"a": ' + b"9" * 5000 + b"}"), "JSON"),
    "deep nesting": (file_with(b"[" * 200_000), "nested"),
    "a list": (file_with([]), "object"),
    "duplicate keys": (file_with(b'{"__metadata__":{"halocline":"{}"},"a":1,"a":1}'), "'a' occurs twice"),
    "duplicate metadata": (file_with(b'{"__metadata__":{"halocline":"a","halocline":"b"}}'), "occurs twice"),
    "metadata are no table": (file_with({}, metadata=[1]), "metadata"),
    "metadata are not strings": (file_with({}, metadata={"halocline": {"format_version": 1}}), "strings"),
    "no metadata": (save({"a": torch.zeros(1)}), "metadata"),
    "another program's": (save({"a": torch.zeros(1)}, {"format": "pt"}), "not written by Halocline"),
    "a pickle": (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00.", "limit"),
    "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "limit"),
}


@pytest.mark.parametrize("case", HOSTILE_HEADERS)
def test_hostile_header(refused, case):
    data, named = HOSTILE_HEADERS[case]
    assert named in refused(data)


def metadata_with(**changes: object) -> dict[str, str]:
    fields = {"format_version": 1, **FIELDS, "sha256": content_digest(FIELDS, []), **changes}
    return {"halocline": to_canonical_json({key: value for key, value in fields.items() if value is not ...})}


HOSTILE_METADATA = {
    "newer version": ({"format_version": 2}, "reads 1; update Halocline"),
    "newer version with fields we do not know": ({"format_version": 7, "x": 1}, "update Halocline"),
    "older version": ({"format_version": 0}, "update the file"),
    "no version": ({"format_version": ...}, "version is None"),
    "version is no number": ({"format_version": "1"}, "version is '1'"),
    "version is true": ({"format_version": True}, "version is True"),
    "missing field": ({"config": ...}, "fields"),
    "further field": ({"code": "import os"}, "fields"),
    "config is no table": ({"config": []}, "config is not a table"),
    "backbone is no string": ({"backbone": 1}, "backbone"),
    "reference energy is no number": ({"reference_energies": {"H": "0"}}, "reference energy of H"),
    "reference energy of no element": ({"reference_energies": {"../H": 0.0}}, "no chemical symbol"),
    "unknown field of the card": ({"card": {"sumary": "x"}}, "did you mean 'summary'"),
    "wrong kind in the card": ({"card": {"citation": "x"}}, "a list of strings"),
    "digest is no digest": ({"sha256": "0" * 63}, "hexadecimal"),
    "digest of something else": ({"sha256": "0" * 64}, "SHA-256"),
    "changed config": ({"config": {"cutoff": 1.0}}, "SHA-256"),
    "changed reference energy": ({"reference_energies": {"H": 1.0}}, "SHA-256"),
}


@pytest.mark.parametrize("case", HOSTILE_METADATA)
def test_hostile_metadata(refused, case):
    changes, named = HOSTILE_METADATA[case]
    assert named in refused(file_with({}, metadata=metadata_with(**changes)))


def test_the_crafted_files_are_good_but_for_their_fault(tmp_path):
    (tmp_path / "good").write_bytes(file_with({}, metadata=metadata_with()))
    assert load_checkpoint(tmp_path / "good").reference_energies == {"H": 0.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(refused, value):
    data = struct.pack("<2f", 1.0, value)
    digest = content_digest(FIELDS, [("w", "F32", (2,), data)])
    table = {"w": entry(shape=[2], offsets=[0, 8])}
    assert "'w' has values that are not finite" in refused(file_with(table, data, metadata_with(sha256=digest)))


@pytest.mark.parametrize("read", [read_header, load_checkpoint])
def test_no_such_file(tmp_path, read):
    with pytest.raises(CheckpointError, match="No such file"):
        read(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="directory"):
        read(tmp_path)


def test_a_huge_header_costs_no_memory(tmp_path):
    """The file is sparse: its 64 GB exist only as a length, which must be refused before they are read.

    256 MiB of address space hold Python and the modules; without the check, the reader would fail in them.
    """
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**36))
        file.truncate(2**36 + 8)
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))\n"
        "from halocline.checkpoint import read_header\n"
        "from halocline.errors import CheckpointError\n"
        "try:\n    read_header(sys.argv[1])\n"
        "except CheckpointError as error:\n    assert 'limit' in str(error)\n"
        "else:\n    sys.exit('accepted')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)

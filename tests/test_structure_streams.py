"""Frames are read as they are needed: in bounded memory, bad ones by themselves, good ones whatever follows."""

import gzip
import io
import tracemalloc
from itertools import islice

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st

from halocline.errors import StructureError, UsageError
from halocline.structures import read as reading
from halocline.structures.read import read_frames, stream_frames
from halocline.structures.source import cleaned, text_of
from halocline.structures.write import extended_xyz

MEGABYTE = 1 << 20
FRAME = b"1\n\nAr 0 0 %d\n"


def frames_of(count):
    return [Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 3.0 + i)], info={"number": i}) for i in range(count)]


def pipe(monkeypatch, chunks):
    """Standard input that gives bytes in these chunks, as a pipe does."""

    class Pipe(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            chunk = next(chunks, b"")
            buffer[: len(chunk)] = chunk
            return len(chunk)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Pipe())))


@pytest.mark.parametrize("name", ["ar.extxyz", "ar.extxyz.gz", "ar.xyz", "ar.traj", "ar.json", "-"])
def test_streams_give_what_whole_reading_gives(tmp_path, monkeypatch, name):
    frames = frames_of(200)
    path = str(tmp_path / name)
    if name == "-":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(extended_xyz(frames))))
        path = "-"
    elif name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(extended_xyz(frames)))
    else:
        write(path, frames)
    found = list(stream_frames(path))
    assert len(found) == len(frames)
    for atoms, frame in zip(found, frames, strict=True):
        np.testing.assert_allclose(atoms.positions, frame.positions, atol=1e-8)
        if name != "ar.xyz" or "number" in atoms.info:
            assert atoms.info.get("number", frame.info["number"]) == frame.info["number"]


def test_any_number_of_frames_from_a_pipe_takes_bounded_memory(monkeypatch):
    chunks = (b"".join(FRAME % (i % 90 + 2) for i in range(100)) for _ in range(10**9))
    pipe(monkeypatch, chunks)
    frames = stream_frames("-")
    peaks = []
    for count in (200, 2000):
        tracemalloc.start()
        for _ in islice(frames, count):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2 * MEGABYTE  # ten times the frames; held are one block and one group


def test_a_file_is_read_no_further_than_needed(tmp_path, monkeypatch):
    path = tmp_path / "ar.extxyz"
    path.write_bytes(FRAME % 3 * 500 + b"no number\n")
    assert len(list(islice(stream_frames(str(path)), 300))) == 300
    with pytest.raises(StructureError, match="Line 1501"):
        read_frames(str(path))


@pytest.mark.parametrize(
    "bad", [b"1\n\nAr 0 zero 0\n", b"1\n\nQq 0 0 0\n", b"1\nProperties=species:S:1:pos:R:3\nAr 0 0 0 7\n"]
)
@pytest.mark.parametrize("place", [0, 70, 129])
def test_a_frame_that_cannot_be_read_is_one_error_among_the_others(tmp_path, bad, place):
    path = tmp_path / "ar.extxyz"
    path.write_bytes(FRAME % 3 * place + bad + FRAME % 4 * (130 - place))
    found = list(stream_frames(str(path)))
    assert [i for i, each in enumerate(found) if isinstance(each, StructureError)] == [place]
    assert str(path) in str(found[place])
    assert len(found) == 131
    assert all(len(each) == 1 for i, each in enumerate(found) if i != place)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b"2\n\nAr 0 0 0\n", "line 301 should have 2 atoms, but 1 follow"),
        (b"1\n\nAr 0 0", "ends within a line"),
        (b"2", "ends within a line"),
        (b"Ar 0 0 0\n", "Line 301 of .* should be a number of atoms"),
        (b"\n1\n\nAr 0 0 0\n", "Line 302 of .* follows an empty line"),
        (b"9" * 30 + b"\n", "Line 301 of .* should be a number"),
    ],
)
def test_what_comes_before_the_end_of_sense_is_kept(tmp_path, tail, message):
    path = tmp_path / "ar.extxyz"
    path.write_bytes(FRAME % 3 * 100 + tail)
    found = []
    with pytest.raises(StructureError, match=message):
        keep(found, stream_frames(str(path)))
    assert len(found) == 100


def keep(found, frames):
    """Append frames to a list until their reader fails."""
    for frame in frames:
        found.append(frame)


def test_a_damaged_archive_gives_the_frames_before_the_damage(tmp_path):
    path = tmp_path / "ar.extxyz.gz"
    rng = np.random.default_rng(0)
    lines = b"".join(b"1\n\nAr 0 0 %.17g\n" % z for z in rng.uniform(2, 9, 20_000))
    path.write_bytes(gzip.compress(lines)[: len(gzip.compress(lines)) // 2])
    found = []
    with pytest.raises(StructureError, match="is damaged or was cut off"):
        keep(found, stream_frames(str(path)))
    assert len(found) > 1000


def test_unknown_formats_are_refused_before_anything_is_read():
    with pytest.raises(UsageError, match="did you mean 'lammps-data'"):
        stream_frames("/nonexistent", "lammps-dat")


@settings(max_examples=60, deadline=None)
@given(
    data=st.lists(st.sampled_from(["Ar", "\r", "\n", "\r\n", "é", "\u2028", "\x0b", " 1.5", "\x85"]), max_size=40),
    mark=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    size=st.integers(1, 7),
)
def test_text_in_pieces_is_the_text(data, mark, size):
    raw = "".join(data).encode(mark)
    blocks = (raw[i : i + size] for i in range(0, len(raw), size))
    pieces = list(text_of(blocks, "x"))
    assert b"".join(pieces) == cleaned(raw)
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("halocline.structures.source.LONGEST_LINE", MEGABYTE)
    pipe(monkeypatch, (b"0" * 65536 for _ in range(10**9)))
    with pytest.raises(StructureError, match="line of more than 1 MB"):
        next(stream_frames("-"))


def test_a_frame_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("halocline.structures.extended_xyz.LONGEST_FRAME", MEGABYTE)
    pipe(monkeypatch, (b"999999999999\n" for _ in range(10**9)))
    with pytest.raises(StructureError, match="line 1 of Standard input goes on beyond 1 MB"):
        next(stream_frames("-"))


def test_trajectories_are_not_held(tmp_path, monkeypatch):
    write(tmp_path / "ar.traj", frames_of(50))
    monkeypatch.setattr(reading, "_parsed", None)  # the way of files that are read whole
    assert len(list(stream_frames(str(tmp_path / "ar.traj")))) == 50

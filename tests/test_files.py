"""Files are replaced whole or not at all, no link is followed, and killed processes leave nothing for ever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from halocline import files
from halocline.files import replacement, temporary_folder, write_atomically

#: Writes half of a file, says so, and waits to be killed.
HALF = """
import sys, time
from pathlib import Path
from halocline import files
from halocline.files import replacement
with replacement(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print(temporary, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def half():
    """Starts processes that are writing a file, and gives them with the place where they write."""
    running = []

    def start(path):
        process = subprocess.Popen([sys.executable, "-c", HALF, str(path)], stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_what_is_written_takes_the_place_in_the_end(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"old")
    with replacement(path) as temporary:
        assert (temporary.name, temporary.parent.parent) == (path.name, tmp_path)
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == [path.name]


def test_after_an_error_all_is_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted():
        with replacement(path) as temporary:
            temporary.write_bytes(b"half")
            (temporary.parent / "more").write_bytes(b"left by a library")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_long_name_can_be_written(tmp_path):
    path = tmp_path / ("x" * 250 + ".xyz")
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data"


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    path = tmp_path / "file"
    path.symlink_to("victim")
    write_atomically(path, b"data")
    assert not path.is_symlink()
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_another_name_of_a_file_keeps_what_it_had(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    path = tmp_path / "file"
    path.hardlink_to(tmp_path / "victim")
    write_atomically(path, b"data")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_nobody_can_foresee_or_open_what_is_not_complete(tmp_path):
    seen = set()
    for _ in range(20):
        with replacement(tmp_path / "file") as temporary:
            seen.add(temporary.parent.name)
            assert temporary.parent.stat().st_mode & 0o777 == 0o700
    assert len(seen) == 20


@pytest.mark.parametrize(
    ("umask", "asked", "given"), [(0o022, 0o666, 0o644), (0, 0o600, 0o600), (0o077, 0o644, 0o600)]
)
def test_permissions_are_those_asked_for_within_the_umask(tmp_path, umask, asked, given):
    path, before = tmp_path / "file", os.umask(umask)
    try:
        with replacement(path, asked) as temporary:
            temporary.unlink()  # as some libraries write
            temporary.write_bytes(b"data")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == given


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_process_has_left_is_removed(tmp_path, half, sent):
    process, temporary = half(tmp_path / "file")
    process.send_signal(sent)
    process.wait()
    assert Path(temporary).exists() or sent != signal.SIGKILL
    _forget()
    write_atomically(tmp_path / "other", b"data")
    assert names(tmp_path) == ["other"]


def test_what_a_living_process_is_writing_stays(tmp_path, half):
    process, temporary = half(tmp_path / "file")
    os.utime(Path(temporary).parent, (0, 0))  # clocks jump
    process.send_signal(signal.SIGSTOP)
    _forget()
    write_atomically(tmp_path / "other", b"data")
    assert Path(temporary).exists()
    process.send_signal(signal.SIGCONT)


def test_nothing_is_removed_that_only_looks_alike(tmp_path):
    with temporary_folder(tmp_path) as folder:
        name = folder.name
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "data").touch()
    (tmp_path / name).symlink_to("victim")
    (tmp_path / f"{name}0").mkdir()
    (tmp_path / f".halocline-00000000-{name[-16:]}").mkdir()  # of another machine
    before = names(tmp_path)
    _forget()
    write_atomically(tmp_path / "file", b"data")
    assert names(tmp_path) == sorted([*before, "file"])
    assert names(tmp_path / "victim") == ["data"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_what_another_user_has_left_stays(tmp_path):
    with temporary_folder(tmp_path) as folder:
        name = folder.name
    (tmp_path / name).mkdir()
    os.chown(tmp_path / name, 65534, -1)
    _forget()
    write_atomically(tmp_path / "file", b"data")
    assert (tmp_path / name).is_dir()


def test_many_write_at_once(tmp_path):
    """While each takes away what it believes to be left behind."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom halocline import files\n"
        "for i in range(100):\n"
        "    files._reclaim.cache_clear()\n"
        "    files.write_atomically(Path(sys.argv[1]), b'data')\n"
    )
    commands = [[sys.executable, "-c", code, str(tmp_path / "file")] for _ in range(4)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0] * 4
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"data")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def names(folder):
    """Of all that is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def _forget():
    """Make this process look again for what others have left."""
    files._reclaim.cache_clear()

"""Who waits for another process says so, and does not wait for ever."""

import logging
import os
import signal
import subprocess
import sys

import pytest

from halocline import locks
from halocline.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from halocline.locks import locked
with locked(Path(sys.argv[1]), "waits"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_of_a_stopped_process_is_named_and_given_up(tmp_path, holder, monkeypatch, caplog):
    monkeypatch.setattr(locks, "SILENCE", 0.1)
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    holder.send_signal(signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    who = f"process {holder.pid} \\(stopped\\)" if sys.platform == "linux" else "another process"
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(OSError, match=f"{who} compiles it, or seems to, and has held .*lock for"),
        locked(tmp_path / "lock", "compiles it"),
    ):
        pass
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith(f"which compiles it; the lock is {tmp_path / 'lock'}.")


def test_a_lock_is_had_once_its_holder_has_died(tmp_path, holder):
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock", "compiles it"):
        pass

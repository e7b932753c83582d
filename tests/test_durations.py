"""What takes long is announced once, with the time of the last one; what does not, is not."""

import logging
import threading

import pytest

from halocline import durations
from halocline.durations import announced


class Told(logging.Handler):
    """Collects messages, and lets a block wait for the first."""

    def __init__(self):
        super().__init__()
        self.messages, self.first = [], threading.Event()

    def emit(self, record):
        self.messages.append(record.getMessage())
        self.first.set()


@pytest.fixture
def told(monkeypatch, tmp_path):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    logger, handler = logging.getLogger("halocline.durations"), Told()
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_first_long_work_is_announced_while_it_goes_on(told, monkeypatch):
    monkeypatch.setattr(durations, "NOTICEABLE", 0.0)
    with announced("Compiling it"):
        assert told.first.wait(60.0)
    assert told.messages == ["Compiling it."]


def test_the_time_of_the_last_is_told_before(told, monkeypatch):
    durations._keep("Compiling it", 41.2)
    with announced("Compiling it"):
        assert told.messages == ["Compiling it; it took 41 s here the last time."]
    assert durations._last("Compiling it") < 41.2  # of this one


def test_quick_work_is_not_announced(told, monkeypatch):
    monkeypatch.setattr(durations, "NOTICEABLE", 3600.0)
    for _ in range(2):
        with announced("Compiling it"):
            pass
    assert not told.messages


def test_failed_work_leaves_the_time(told):
    durations._keep("Compiling it", 41.2)
    with pytest.raises(ZeroDivisionError), announced("Compiling it"):
        raise ZeroDivisionError
    assert durations._last("Compiling it") == 41.2


@pytest.mark.parametrize("content", [b"", b"soon", b"nan", b"\xff", b"inf"])
def test_a_damaged_time_is_no_time(told, content):
    durations._keep("Compiling it", 41.2)
    (path,) = (durations.cache_folder() / "durations").iterdir()
    path.write_bytes(content)
    assert durations._last("Compiling it") is None


def test_times_of_others_are_not_believed(told):
    durations._keep("Compiling it", 41.2)
    (path,) = (durations.cache_folder() / "durations").iterdir()
    path.chmod(0o666)
    assert durations._last("Compiling it") is None


def test_a_cache_that_cannot_be_used_changes_nothing(told, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with announced("Compiling it"):
        pass

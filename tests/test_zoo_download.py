"""Whatever a server does, a model arrives whole or not at all, and the error says what happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from zoo_models import CONTENT, STORED, files, write_index
from zoo_server import HALF, Server, serve

from halocline.errors import ZooError
from halocline.zoo import transport
from halocline.zoo.store import Zoo

PART, VALIDATOR = STORED.replace(".safetensors", ".part"), STORED.replace(".safetensors", ".validator")

PULL = """
import sys
from pathlib import Path
from halocline.zoo.store import Zoo
print(Zoo(Path(sys.argv[1])).pull("model"))
"""


@pytest.fixture
def server():
    with serve() as server:
        yield server


@pytest.fixture
def pull(tmp_path, cache, server):
    """Pull the model from a path of the server."""

    def pull(path: str) -> Path:
        return Zoo(write_index(tmp_path, source=server.url(path))).pull("model")

    return pull


def start(tmp_path: Path, server: Server, path: str) -> subprocess.Popen[str]:
    """Pull in another process."""
    index = write_index(tmp_path, source=server.url(path))
    command = [sys.executable, "-c", PULL, str(index)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_good_server(pull, cache, server):
    assert pull("good").read_bytes() == CONTENT
    assert files(cache) == {STORED}
    assert pull("good") == cache / STORED
    assert server.ranges == [None]  # the second pull found it


def test_progress_counts_every_byte(tmp_path, cache, server):
    counts: list[int] = []
    zoo = Zoo(write_index(tmp_path, source=server.url("cut-once")))
    with pytest.raises(ZooError):
        zoo.pull("model", progress=counts.append)
    assert sum(counts) == HALF
    counts.clear()
    zoo.pull("model", progress=counts.append)
    assert sum(counts) == len(CONTENT)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("missing", "status 404"),
        ("forbidden", "status 403"),
        ("broken", "status 500"),
        ("html", "web page"),
        ("compressed", "compressed"),
        ("corrupt", "thrown away.*SHA-256"),
        ("short", "wrong size"),
        ("long", "wrong size"),
        ("long-unannounced", "wrong size"),
        ("cut-once", f"ended after {HALF} of {len(CONTENT)} bytes"),
        ("cut-unannounced", f"ended after {HALF} of {len(CONTENT)} bytes"),
        ("loop", "more than 5 times"),
    ],
)
def test_each_fault_has_its_error_and_leaves_nothing_under_the_final_name(pull, cache, path, named):
    with pytest.raises(ZooError, match=named) as error:
        pull(path)
    assert "\n" not in str(error.value)
    assert files(cache) <= {PART, VALIDATOR}
    assert pull("good").read_bytes() == CONTENT
    assert files(cache) == {STORED}


@pytest.mark.parametrize(
    "target",
    [
        "ftp://127.0.0.1/a", "file:///etc/hostname", "http://example.org/a", "data:text/plain,a",
        "//example.org/a", "http://[", "gopher://example.org/",
    ],
)  # fmt: skip
def test_redirects_out_of_https_are_not_followed(pull, cache, server, target):
    server.redirect = target
    with pytest.raises(ZooError, match="redirects to"):
        pull("redirect")
    assert files(cache) == set()


def test_redirects_within_this_machine_are_followed(pull, server):
    server.redirect = "/good"
    assert pull("redirect").read_bytes() == CONTENT


def test_https_is_never_left(monkeypatch):
    """No https server is at hand, so its answers are put in."""
    asked: list[str] = []

    def answer(url, named, headers, pace):
        asked.append(url)
        return "http://127.0.0.1/a"

    monkeypatch.setattr(transport, "_ask", answer)
    with pytest.raises(ZooError, match="not https"), transport.request("https://example.org/a", {}):
        pass
    assert asked == ["https://example.org/a"]


def test_an_interrupted_transfer_goes_on_where_it_ended(pull, cache, server):
    with pytest.raises(ZooError, match="halocline zoo pull model"):
        pull("cut-once")
    assert (cache / PART).read_bytes() == CONTENT[:HALF]
    assert pull("cut-once").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert files(cache) == {STORED}


@pytest.mark.parametrize("path", ["ignores-range", "changed", "no-validator"])
def test_a_transfer_that_cannot_go_on_starts_again(pull, cache, path):
    with pytest.raises(ZooError, match="ended after"):
        pull(path)
    assert pull(path).read_bytes() == CONTENT
    assert files(cache) == {STORED}


def test_another_range_than_asked_for_is_refused(pull, cache):
    for named in ("ended after", "status 206, though all of it was asked for"):
        with pytest.raises(ZooError, match=named):
            pull("wrong-range")
    assert (cache / PART).read_bytes() == CONTENT[:HALF]


def test_a_partial_file_that_was_damaged_is_thrown_away(pull, cache):
    with pytest.raises(ZooError, match="ended after"):
        pull("cut-once")
    (cache / PART).write_bytes(b"?" * HALF)
    with pytest.raises(ZooError, match="SHA-256"):
        pull("cut-once")
    assert files(cache) == set()
    assert pull("cut-once").read_bytes() == CONTENT


def test_no_server(tmp_path, cache, server):
    index = write_index(tmp_path, source="http://127.0.0.1:1/a")  # port 1 is nobody's
    with pytest.raises(ZooError, match=r"Cannot fetch http://127\.0\.0\.1:1/a: Connection refused"):
        Zoo(index).pull("model")


def test_a_cache_that_cannot_be_written(pull, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ZooError, match="HALOCLINE_CACHE_DIR"):
        pull("good")


@pytest.mark.slow
def test_many_processes_make_one_transfer(tmp_path, cache, server):
    server.go_on.set()
    processes = [start(tmp_path, server, "slow") for _ in range(4)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert {out.strip() for out, _ in outputs} == {str(cache / STORED)}
    assert (cache / STORED).read_bytes() == CONTENT
    assert len(server.ranges) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_a_killed_transfer_leaves_no_model_and_goes_on(tmp_path, cache, server, number):
    process = start(tmp_path, server, "slow")
    assert server.half_sent.wait(60)
    while not (cache / PART).is_file() or (cache / PART).stat().st_size == 0:
        assert process.poll() is None
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert files(cache) == {PART, VALIDATOR}
    held = (cache / PART).stat().st_size
    assert Zoo(write_index(tmp_path, source=server.url("slow"))).pull("model").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={held}-"]
    assert files(cache) == {STORED}


@pytest.mark.parametrize("below", ["", "a/b"])
@pytest.mark.parametrize("name", ["model.safetensors", "published.safetensors"])
def test_a_checkpoint_is_found_in_a_folder_or_below_it(tmp_path, cache, below, name):
    folder = tmp_path / "parent" / below
    folder.mkdir(parents=True)
    (folder / name).write_bytes(CONTENT)
    index = write_index(tmp_path, source="https://example.org/published.safetensors")
    assert Zoo(index).pull("model", tmp_path / "parent").read_bytes() == CONTENT


def test_of_several_checkpoints_below_none_is_taken(tmp_path, cache):
    for name in ("one", "two"):
        (tmp_path / "parent" / name).mkdir(parents=True)
        (tmp_path / "parent" / name / "model.safetensors").write_bytes(CONTENT)
    index = write_index(tmp_path, source="https://example.org/published.safetensors")
    with pytest.raises(ZooError, match="name one of them"):
        Zoo(index).pull("model", tmp_path / "parent")

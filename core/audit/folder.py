"""The folder of an audit: for one process at a time, and gone on with part by part."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from filelock import FileLock, Timeout

from halocline.errors import OutputError, UsageError
from halocline.files import write_atomically

#: Where the results of parts lie that are done, each with what it follows from.
_PARTS: Final = "parts"
_LOCK: Final = ".audit.lock"


@final
class AuditFolder:
    """Keeps what parts of an audit have found.

    Args:
        path: of the folder, which is made if it is missing.
        resume: go on with an audit that is there.

    Raises:
        UsageError: it is no folder, or not empty and nobody says to go on.
        OutputError: another process audits there, or it cannot be written.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        check_folder(path, resume=resume)
        self.path = path
        self._lock = FileLock(path / _LOCK)

    def __enter__(self) -> Self:
        try:
            (self.path / _PARTS).mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"Another process is auditing in {self.path}; let it end, or choose another --output."
            ) from error
        except OSError as error:
            raise OutputError(f"Cannot write into {self.path}: {error.strerror or error}.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def part(
        self, name: str, identity: Mapping[str, Any], work: Callable[[], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """What a part of the audit has found, or finds now.

        Args:
            name: of the part.
            identity: what its result follows from, as JSON values.
            work: finds it, as JSON values. Numbers that are not finite, as of what has exploded, become None.

        Raises:
            OutputError: the part is there and follows from something else, or cannot be read or written.
        """
        path = self.path / _PARTS / f"{name}.json"
        plain = json.loads(json.dumps(identity))
        if path.exists():
            return _kept(path, plain)
        result: Mapping[str, Any] = _finite(work())
        text = json.dumps({"identity": plain, "result": result}, indent=1, allow_nan=False)
        self.write(path.relative_to(self.path), text.encode())
        return result

    def write(self, name: str | Path, data: bytes) -> None:
        """Write a file of the folder, whole or not at all.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        try:
            write_atomically(self.path / name, data)
        except OSError as error:
            raise OutputError(f"Cannot write {self.path / name}: {error.strerror or error}.") from error


def check_folder(path: Path, *, resume: bool) -> None:
    """Find out before any work that an audit cannot go into a folder.

    Raises:
        UsageError: see `AuditFolder`.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"--output {path} is a file; an audit is written into a folder.")
    if not path.exists():
        return
    there = [each.name for each in path.iterdir() if each.name != _LOCK]
    if not resume and there:
        raise UsageError(f"{path} is not empty: go on with --resume, or choose another --output.")
    if resume and there and not (path / _PARTS).is_dir():
        raise UsageError(f"{path} holds no audit that could go on; choose another --output.")


def _finite(value: Any) -> Any:
    """JSON has no word for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _kept(path: Path, identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result of a part that is done.

    Raises:
        OutputError: it cannot be read, or follows from something else.
    """
    try:
        stored = json.loads(path.read_bytes())
        before, result = stored["identity"], stored["result"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} cannot be read as a part of an audit ({error}); remove it.") from error
    differing = [
        name for name in sorted(before.keys() | identity.keys()) if before.get(name) != identity.get(name)
    ]
    if differing:
        changes = "; ".join(f"{name} was {before.get(name)}, now {identity.get(name)}" for name in differing)
        raise OutputError(
            f"{path.parent.parent} holds an audit of something else: {changes}. Resume with the same call, or "
            "choose another --output."
        )
    kept: Mapping[str, Any] = result
    return kept

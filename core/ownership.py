"""Whose a file is. What is kept for later, and relied on then, must be the user's own work.

On a machine with several users another one may have put a file where ours are looked for. Hence folders and files
that we keep belong to the user, and nobody else can write to them; what is found otherwise is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

#: Elsewhere files have no such owners, and folders of users are closed to others from the start.
_POSIX = os.name == "posix"

#: What `open` knows where there are links and pipes.
_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK if _POSIX else 0

#: The user who can do anything to anybody's files.
_ROOT = 0

#: Permissions of folders that we make, whatever the umask.
FOLDER_MODE = 0o700


def make_own_folder(folder: Path, *, link: bool = False) -> None:
    """Make a folder, and those above it, unless it is there; and make sure that nobody else can write to it.

    Args:
        folder: its path.
        link: whether it may be a link to a folder, made by the user or by root.

    Raises:
        OSError: it cannot be made, belongs to another user, or others can write to it.
    """
    _make(folder)
    about = folder.lstat()
    if stat.S_ISLNK(about.st_mode) and link:
        _require_owner(folder, about, _ROOT)
        about = folder.stat()
    if not stat.S_ISDIR(about.st_mode):
        raise _refusal(folder, "is no folder")
    require_own(folder, about)


def read_own(path: Path, *, secret: bool = False) -> bytes:
    """The contents of a file that nobody else can have written: those of the very file that was examined.

    Args:
        path: of the file; a link is not followed.
        secret: whether nobody else may be able to read it, either.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no plain file, belongs to another user, or others can write to it, or read the secret.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        require_own(path, os.fstat(file.fileno()), others=0o077 if secret else 0o022)
        return file.read()


def require_trusted(path: Path, *, store: bool = False) -> None:
    """Make sure that a file is the work of somebody whom the user trusts: of the user or of root.

    Args:
        path: of the file, which may not be a link; its folder counts as well.
        store: whether the user has named the folder as a store, whose owner is then trusted, too.

    Raises:
        OSError: it is no plain file, or it or its folder belongs to somebody else or can be written by others.
    """
    about, folder = path.lstat(), path.parent.stat()
    if not stat.S_ISREG(about.st_mode):
        raise _refusal(path, "is a link" if stat.S_ISLNK(about.st_mode) else "is no file")
    owner = folder.st_uid if store else _ROOT
    for place, of in ((path.parent, folder), (path, about)):
        _require_owner(place, of, _ROOT, owner)
        _require_closed(place, of)


def is_own_plain(path: Path) -> bool:
    """Whether there is a plain file of the user that has no other name."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and not (_POSIX and about.st_uid != os.geteuid())


def open_plain(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a plain file: no link is followed, and no pipe waited for.

    Raises:
        OSError: it is something else, or cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | _PLAIN, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refusal(path, "is a link") from error
        if error.errno == errno.ENXIO:
            raise _refusal(path, "is no file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refusal(path, "is no file")
    return descriptor


def require_own(path: Path, about: os.stat_result, others: int = 0o022) -> None:
    """Make sure that a file or folder belongs to the user alone.

    Args:
        path: for messages.
        about: the file or folder.
        others: permissions that nobody else may have.

    Raises:
        OSError: it belongs to another user, or others have one of these permissions.
    """
    _require_owner(path, about)
    _require_closed(path, about, others)


def _require_closed(path: Path, about: os.stat_result, others: int = 0o022) -> None:
    if _POSIX and about.st_mode & others:
        can = "write to it" if about.st_mode & others & 0o022 else "read it"
        mode = stat.S_IMODE(about.st_mode)
        raise _refusal(path, f"has the mode {mode:o}, so that others can {can}; chmod it to {mode & ~others:o}")


def _require_owner(path: Path, about: os.stat_result, *others: int) -> None:
    if _POSIX and about.st_uid not in (os.geteuid(), *others):
        raise _refusal(path, f"belongs to the user {about.st_uid}, not to you ({os.geteuid()})")


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
    _make(folder.parent)
    try:
        folder.mkdir(mode=FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise


def _refusal(path: Path, why: str) -> OSError:
    return OSError(errno.EPERM, f"{path} {why}")

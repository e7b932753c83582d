"""Files that were made on this machine, each with its SHA-256 in a file beside it.

The index pins what is fetched. What is converted from it may differ between machines in the last bits of its
constants, so that its digest is taken when it is stored.
"""

from __future__ import annotations

from pathlib import Path

from halocline.errors import ZooError
from halocline.files import write_atomically
from halocline.ownership import require_trusted
from halocline.zoo.cache import digest


def seal_path(path: Path) -> Path:
    """Where the digest of a file lies, in the form that ``sha256sum --check`` reads."""
    return path.with_name(f"{path.name}.sha256")


def seal(temporary: Path, path: Path) -> None:
    """Write the digest of a complete file that is about to get its final name.

    The digest comes first: whoever finds the file finds a digest beside it.

    Raises:
        OSError: the disk is full or failed.
    """
    write_atomically(seal_path(path), f"{digest(temporary)}  {path.name}\n".encode(), 0o644)


def check_sealed(path: Path, *, store: bool = False) -> None:
    """Compare a file with the digest beside it.

    Anybody can write a file and its digest. So both count only where nobody else can write, and if they are the
    work of the user, of root, or of whoever keeps a store that the user has named.

    Args:
        path: of the file.
        store: whether it lies in a store rather than in the cache.

    Raises:
        ZooError: it is not what was stored, one of the two is not there, or is somebody else's.
    """
    try:
        for each in (path, seal_path(path)):
            if each.exists():
                require_trusted(each, store=store)
    except OSError as error:
        raise ZooError(f"{error.strerror or error}.") from error
    try:
        sealed = seal_path(path).read_text(encoding="ascii").partition(" ")[0]
    except (OSError, ValueError) as error:
        raise ZooError(f"The digest {seal_path(path)} of what was stored cannot be read.") from error
    found = digest(path)
    if found != sealed:
        raise ZooError(f"{path} has the SHA-256 {found}, {sealed} was stored.")

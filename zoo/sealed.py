"""Files that were made on this machine, each with its SHA-256 in a file beside it.

The index pins what is fetched. What is converted from it may differ between machines in the last bits of its
constants, so that its digest is taken when it is stored.
"""

from __future__ import annotations

from pathlib import Path

from halocline.errors import ZooError
from halocline.files import publish, write_atomically
from halocline.zoo.cache import digest


def seal_path(path: Path) -> Path:
    """Where the digest of a file lies, in the form that ``sha256sum --check`` reads."""
    return path.with_name(f"{path.name}.sha256")


def publish_sealed(temporary: Path, path: Path) -> None:
    """Give a complete file of the same folder its final name, and its digest.

    The digest comes first: whoever finds the file finds a digest beside it.

    Raises:
        OSError: the disk is full or failed.
    """
    write_atomically(seal_path(path), f"{digest(temporary)}  {path.name}\n".encode())
    publish(temporary, path)


def check_sealed(path: Path) -> None:
    """Compare a file with the digest beside it.

    Raises:
        ZooError: it is not what was stored, or one of the two is not there.
    """
    try:
        sealed = seal_path(path).read_text(encoding="ascii").partition(" ")[0]
    except (OSError, ValueError) as error:
        raise ZooError(f"The digest {seal_path(path)} of what was stored cannot be read.") from error
    found = digest(path)
    if found != sealed:
        raise ZooError(f"{path} has the SHA-256 {found}, {sealed} was stored.")


def is_intact(path: Path) -> bool:
    """Whether there is a file, as it was stored."""
    try:
        check_sealed(path)
    except ZooError:
        return False
    return True

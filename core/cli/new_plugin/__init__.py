"""``halocline plugins new NAME``: a repository in which a new backbone begins, and passes the suite as it is."""

from __future__ import annotations

import re
from pathlib import Path

from halocline.errors import OutputError, UsageError

#: One name in three spellings: for users, for Python's modules, and for its classes.
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

#: File of the new repository → file here.
_FILES = {
    "pyproject.toml": "pyproject.txt",
    "README.md": "readme.txt",
    "@MODULE@/__init__.py": "init.txt",
    "@MODULE@/registration.py": "registration.txt",
    "@MODULE@/backbone.py": "backbone.txt",
    "tests/test_conformance.py": "test.txt",
}


def write_plugin(name: str, parent: Path) -> Path:
    """Write the repository of a plugin with one backbone.

    Args:
        name: of the backbone: lower-case letters and digits, joined by single dashes.
        parent: of the folder ``halocline-NAME``, which must not be there.

    Returns:
        The folder.

    Raises:
        UsageError: the name is none.
        OutputError: the folder is there, or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a backbone: use lower-case letters and digits, joined by single dashes."
        )
    words = {
        "@NAME@": name,
        "@MODULE@": f"halocline_{name.replace('-', '_')}",
        "@CLASS@": "".join(part.capitalize() for part in name.split("-")),
    }
    folder = parent / f"halocline-{name}"
    try:
        folder.mkdir()
        for target, template in _FILES.items():
            path = folder / _filled(target, words)
            path.parent.mkdir(exist_ok=True)
            path.write_text(_filled(Path(__file__).with_name(template).read_text("utf-8"), words), "utf-8")
    except OSError as error:
        raise OutputError(f"Cannot make the repository {folder}: {error.strerror}.") from error
    return folder


def _filled(text: str, words: dict[str, str]) -> str:
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    return text

"""What the documentation has for clusters, shortened: names of folders and models, and lengths."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "cluster.md"


def blocks(heading):
    """The code under a heading of the page."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    section = next(part for part in sections if part.startswith(heading))
    return re.findall(r"^```\w*\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


def changed(text, changes):
    """A text in which each of some words has become another; none may be missing."""
    for old, new in changes.items():
        assert old in text, f"the page has no {old}"
        text = text.replace(old, str(new))
    return text

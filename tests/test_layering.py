"""Arrows point one way: the box imports core, core knows nobody in the box by name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOX = {"plugins", "backends", "zoo"}
MAY_NOT_IMPORT = {"core": BOX} | {folder: BOX - {folder} for folder in sorted(BOX)}
FILES = [path.relative_to(ROOT) for folder in MAY_NOT_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, within functions too, and every lazy target."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^halocline(?:\.\w+)+(?=:\w+$)", node.value)


def violations(folder: str, source: str) -> list[str]:
    """The imports that a file in ``folder`` must not have."""
    forbidden = [f"halocline.{other}" for other in MAY_NOT_IMPORT[folder]] + list(MAY_NOT_IMPORT) + [""]
    return [
        name
        for name in imported(ast.parse(source))
        if any(name == other or name.startswith(other + ".") for other in forbidden)
    ]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_file_imports_only_what_it_may(path):
    assert violations(path.parts[0], (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("core", "from halocline.plugins.backbones.schnet import SchNet"),
        ("core", "from halocline import zoo"),
        ("core", "def late():\n    import halocline.backends.torch.executor"),
        ("core", "target = 'halocline.plugins.pruners.depth:DepthPruner'"),
        ("plugins", "from halocline.backends.torch.executor import TorchExecutor"),
        ("backends", "import halocline.plugins"),
        ("zoo", "from core.errors import ZooError"),
        ("core", "from . import errors"),
    ],
)
def test_the_line_is_held(folder, source):
    assert violations(folder, source)


def test_every_folder_has_files():
    assert {path.parts[0] for path in FILES} == set(MAY_NOT_IMPORT)

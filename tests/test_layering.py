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


#: Core's rooms, a row above the other: each may look into rows below its own, so there are no circles.
ROOMS = (
    "allocation canonical digests errors files forks lazy lifeline locks ownership shares tied",
    "cache",
    "artefacts durations",
    "native",
    "aggregation appended devices figures graph isolation neutral_process place spec typed_table",
    "applicability checkpoint context meeting structures",
    "plugin",
    "model partition",
    "program",
    "probes",
    "lowering memory",
    "executor",
    "evaluator",
    "cost data potential",
    "__init__ dynamics exporter profile training",
    "engines evaluation testing",
    "active audit doctor",
    "bench",
    "cli",
    "__main__",
)
HEIGHT = {room: height for height, row in enumerate(ROOMS) for room in row.split()}


def room_of(path: Path) -> str:
    """The room of a file in core: a folder, or a file that is a room of its own."""
    return path.parts[1].removesuffix(".py")


def climbs(room: str, source: str) -> list[str]:
    """The imports by which a file of a room looks into its own row or above."""
    others = [name for name in imported(ast.parse(source)) if name.startswith("halocline.")]
    seen = [(name, name.split(".")[1]) for name in others]
    return [name for name, other in seen if other != room and HEIGHT.get(other, -1) >= HEIGHT[room]]


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "core"], ids=str)
def test_rooms_of_core_stand_above_each_other(path):
    assert climbs(room_of(path), (ROOT / path).read_text(encoding="utf-8")) == []


def test_every_room_of_core_has_its_height():
    assert {room_of(path) for path in FILES if path.parts[0] == "core"} == set(HEIGHT)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("model", "from halocline.program import Precision"),
        ("model", "from halocline.partition import Part"),
        ("partition", "def late():\n    from halocline.evaluator import Runner"),
        ("evaluator", "target = 'halocline.potential.load:load'"),
    ],
)
def test_the_order_of_rooms_is_held(room, source):
    assert climbs(room, source)

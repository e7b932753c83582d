"""An index with one model of our making, for tests of the zoo."""

import hashlib
from pathlib import Path

#: Longer than any buffer on the way, so that a transfer can be cut in its middle.
CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
STORED = f"sha256-{SHA256}.safetensors"

ENTRY = {
    "summary": "A model for tests.",
    "backbone": "lennard-jones",
    "species": ["Ar"],
    "source": "https://example.org/model.safetensors",
    "size": len(CONTENT),
    "sha256": SHA256,
    "licence": {"code": "Apache-2.0", "weights": "CC0-1.0"},
    "citation": ["Nobody, Nowhere 1, 1 (2000)"],
}


def toml(value: object) -> str:
    """Write what an index needs of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
        return f'"{escaped}"'
    return str(value)


def write_index(folder: Path, name: str = "model", **changes: object) -> Path:
    """Write an index with one model; a field of value ``...`` is left out."""
    fields = {key: value for key, value in {**ENTRY, **changes}.items() if value is not ...}
    path = folder / "index.toml"
    path.write_text(f"default = {toml(name)}\n[models]\n{toml(name)} = {toml(fields)}\n", encoding="utf-8")
    return path


def files(folder: Path) -> set[str]:
    """Names of all files under a folder, without locks, which stay."""
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    }

"""The plugin that docs/plugins.md shows works as it is shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "plugins.md"
MAIN = "from halocline.cli.main import main; raise SystemExit(main())"


def test_plugin_of_the_docs_is_found(tmp_path):
    blocks = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE))
    assert set(blocks) == {"pyproject.toml", "halocline_harmonic/registration.py"}
    source, target = tmp_path / "source", tmp_path / "site"
    for name, text in {**blocks, "halocline_harmonic/__init__.py": ""}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "plugins", "--json"],
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = [row for row in json.loads(done.stdout) if row["distribution"] == "halocline-harmonic"]
    assert (row["name"], row["kind"], row["status"], row["version"]) == ("harmonic", "backbone", "ok", "1.2.0")

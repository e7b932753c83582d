"""Run the tests that show what backbones do, and make the page.

python -m features [--record FILE] [--page FILE] [--add WORDS OF PYTEST]

With ``--add``, the tests that these words select are run alone, such as ``--add tests/test_matrix.py -k mace``,
and the record keeps what it holds of all others: programs take minutes to compile, and may be added one by one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from features.page import write
from features.record import KEEP, OPTION
from halocline.plugin import registry

ROOT: Final = Path(__file__).parents[2]


def main(given: Sequence[str] | None = None) -> int:
    """Run and write; the exit status is that of the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, default=ROOT / "docs/measured/features.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/features.md")
    parser.add_argument("--add", nargs=argparse.REMAINDER, help="words for pytest: run these tests alone")
    arguments = parser.parse_args(given)
    words = ["-p", "features.record", OPTION, str(arguments.record), "-n", "auto", "--dist", "loadfile", "-q"]
    if arguments.add is not None:
        words = [*words, KEEP, *arguments.add]
    ended = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, check=False)
    write(arguments.record, arguments.page, sorted(registry().names("backbone")))
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())

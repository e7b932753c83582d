"""Call a function in a process of its own, so that whatever it does to that process stays there.

Runtimes can crash, hang or print, and only a fresh process has a peak memory of its own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, final

from halocline.errors import HaloclineError
from halocline.lifeline import TiedProcess


@final
@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What became of a call.

    Attributes:
        values: what the function yielded until it ended.
        failure: why it ended early, in a sentence; empty if it did not.
        refused: whether it ended with an error of the kind that users can cause.
    """

    values: tuple[Any, ...]
    failure: str = ""
    refused: bool = False


def call(target: str, argument: Any, seconds: float) -> CallOutcome:
    """Run a generator function in a fresh interpreter.

    Args:
        target: where it is, as ``package.module:function``. It takes the argument and yields values.
        argument: like the values, anything that JSON can say.
        seconds: after which the process is killed, and all that it started.
    """
    with tempfile.TemporaryDirectory() as folder:
        answers, printed = Path(folder, "answers"), Path(folder, "printed")
        answers.touch()
        try:
            status = _run([target, json.dumps(argument), str(answers)], printed, seconds)
            failure = _ending(status, printed) if status else ""
        except subprocess.TimeoutExpired:
            failure = f"It did not end within {seconds:g} s."
        said = list(_said(answers))
    values = tuple(each["value"] for each in said if "value" in each)
    refusal = next((each["refusal"] for each in said if "refusal" in each), None)
    return CallOutcome(values, refusal or failure, refusal is not None)


def _said(answers: Path) -> Iterator[dict[str, Any]]:
    """What was written down before the process ended, which may have been in the middle of a line."""
    for line in answers.read_text(errors="replace").split("\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            return


def _run(arguments: list[str], printed: Path, seconds: float) -> int:
    """Run a module in a session of its own, so that nobody is left behind, however it ends."""
    with printed.open("wb") as output:
        process = TiedProcess(__name__, arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        return process.wait(seconds)
    finally:  # after Ctrl-C, too: it reaches no other session
        process.end()


def _ending(status: int, printed: Path) -> str:
    """Tell how a process ended that cannot tell it."""
    if status < 0:
        known = {each.value: each.name for each in signal.Signals}
        return f"It was ended by {known.get(-status, f'signal {-status}')}."
    lines = printed.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    return f"It left with status {status}: {last}"


def _answer(target: str, argument: str, answers: str) -> None:
    """What the process does: write down each value as soon as it is there."""
    module, _, name = target.partition(":")
    with Path(answers).open("w") as file:
        try:
            for value in getattr(import_module(module), name)(json.loads(argument)):
                file.write(json.dumps({"value": value}) + "\n")
                file.flush()
        except HaloclineError as error:
            file.write(json.dumps({"refusal": str(error)}) + "\n")


if __name__ == "__main__":
    _answer(*sys.argv[1:])

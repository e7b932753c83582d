"""Importing a plugin must not change the process around it: notice it, put it back, say so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from halocline.forks import lock
from halocline.plugin.switches import SWITCHES, Switch

#: Held by whoever changes the state of the process and puts it back: two at once would put back each other's.
one_at_a_time: Final = lock()


@contextmanager
def process_state_kept() -> Iterator[list[str]]:
    """Restore the environment and all `SWITCHES` when the block ends, however it ends.

    Only libraries that are loaded are looked at: nothing is imported to look after it.

    Yields:
        A list that is empty until the block ends and then names what had been changed.
    """
    changed: list[str] = []
    with one_at_a_time:
        environment = dict(os.environ)
        before = {switch: switch.read(sys.modules[switch.module]) for switch in _loaded()}
        try:
            yield changed
        finally:
            for switch in _loaded():
                if switch in before:
                    changed += _restore(switch, before[switch])
                elif switch.fresh is not None:
                    changed += _restore(switch, switch.fresh(sys.modules[switch.module]))
            changed += _restore_environment(environment)  # last: some of the others leave their traces there


def _loaded() -> list[Switch]:
    return [switch for switch in SWITCHES if sys.modules.get(switch.module)]


def _restore(switch: Switch, before: Any) -> list[str]:
    """Put one setting back; name it if that was necessary."""
    module = sys.modules[switch.module]
    if not switch.differs(before, switch.read(module)):
        return []
    try:
        switch.write(module, before)
    except (OSError, ValueError, TypeError) as error:  # signal handlers outside of the main thread, for example
        return [f"{switch.label} (which cannot be put back: {error})"]
    return [] if switch.usual else [switch.label]


def _restore_environment(before: dict[str, str]) -> list[str]:
    names = sorted(name for name in before.keys() | os.environ.keys() if before.get(name) != os.environ.get(name))
    for name in names:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    return [f"the environment variable {name}" for name in names]

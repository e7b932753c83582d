"""Importing a plugin must not change the process around it: notice it, put it back, say so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Switch:
    """One process-wide setting; ``module`` must be loaded for the setting to exist."""

    label: str
    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], None]


def _read_numpy(numpy: Any) -> tuple[Any, ...]:
    algorithm, keys, *rest = numpy.random.get_state()
    return (algorithm, tuple(keys.tolist()), *rest)


_SWITCHES = (
    _Switch("the state of random", "random", lambda m: m.getstate(), lambda m, v: m.setstate(v)),
    _Switch("the state of numpy.random", "numpy", _read_numpy, lambda m, v: m.random.set_state(v)),
    _Switch(
        "the state of torch's generator",
        "torch",
        lambda m: m.get_rng_state().tolist(),
        lambda m, v: m.set_rng_state(m.tensor(v, dtype=m.uint8)),
    ),
    _Switch(
        "torch's default dtype", "torch", lambda m: m.get_default_dtype(), lambda m, v: m.set_default_dtype(v)
    ),
)


@contextmanager
def process_state_kept() -> Iterator[list[str]]:
    """Restore environment, random states and torch's default dtype when the block ends, however it ends.

    Only libraries that are loaded already are looked at: nothing is imported to look after it.

    Yields:
        A list that is empty until the block ends and then names what had been changed.
    """
    changed: list[str] = []
    environment = dict(os.environ)
    before = [(s, s.read(sys.modules[s.module])) for s in _SWITCHES if sys.modules.get(s.module)]
    try:
        yield changed
    finally:
        changed += _restore_environment(environment)
        for switch, value in before:
            module = sys.modules[switch.module]
            if switch.read(module) != value:
                switch.write(module, value)
                changed.append(switch.label)


def _restore_environment(before: dict[str, str]) -> list[str]:
    names = sorted(name for name in before.keys() | os.environ.keys() if before.get(name) != os.environ.get(name))
    for name in names:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    return [f"the environment variable {name}" for name in names]

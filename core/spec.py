"""The grammar of backend and partition names: ``name[:key=value,...]``."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, final

from halocline.errors import UsageError, unknown_name


@final
@dataclass(frozen=True, slots=True)
class Spec:
    """A name with options.

    Attributes:
        name: what to look up among the plugins.
        options: its options, as text.
    """

    name: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read ``torch`` or ``onnx:threads=2`` or ``ddp:ranks=2,inner=onnx:threads=1``.

        ``inner`` comes last and takes the rest, so that one spec can hold another.

        Raises:
            UsageError: the text does not follow the grammar.
        """
        name, _, rest = text.partition(":")
        options: dict[str, str] = {}
        while rest:
            key, equals, value = rest.partition("=")
            if not (name and key and equals) or key in options:
                raise UsageError(f"{text!r} is not of the form name:key=value,key=value.")
            value, _, rest = (value, "", "") if key == "inner" else value.partition(",")
            options[key] = value
        if not name:
            raise UsageError(f"{text!r} names nothing; say for example 'torch'.")
        return cls(name, options)

    def build(self, target: Any, **given: Any) -> Any:
        """Call a plugin's class with the options, converted to the types that its constructor declares.

        Args:
            target: the class.
            given: further keyword arguments, which options may not repeat.

        Raises:
            UsageError: an option is unknown, or its value is of the wrong type.
        """
        parameters = inspect.signature(target, eval_str=True).parameters
        known = {name: p.annotation for name, p in parameters.items() if name not in given}
        converted = {}
        for name, text in self.options.items():
            if name not in known:
                raise unknown_name(f"option of {self.name!r}", name, known)
            converted[name] = self._convert(name, text, known[name])
        return target(**converted, **given)

    def _convert(self, name: str, text: str, kind: Any) -> Any:
        try:
            return kind(text) if kind in (int, float) else text
        except ValueError:
            raise UsageError(f"Option {name} of {self.name!r} must be a {kind.__name__}, not {text!r}.") from None

"""The grammar of backend and partition names: ``name[:key=value,...]``."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final, get_args

from halocline.errors import HaloclineError, PluginError, UsageError, unknown_name

_TRUTH = {"true": True, "false": False}
_WORDS = {int: "a whole number", float: "a number"}

#: Parameters that can be given by name.
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


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
        if not isinstance(text, str):
            raise UsageError(f"A name with options is a text such as 'torch' or 'onnx:threads=2', not {text!r}.")
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

    def files(self, target: Any) -> list[str]:
        """Names of its options that are files: those that a plugin's class declares as paths."""
        parameters = inspect.signature(target, eval_str=True).parameters
        return [name for name in self.options if name in parameters and _is_file(parameters[name].annotation)]

    def build(self, target: Any, **given: Any) -> Any:
        """Call a plugin's class with the options, converted to the types that its constructor declares.

        Args:
            target: the class.
            given: further keyword arguments, which options may not repeat.

        Raises:
            UsageError: an option is unknown or missing, or its value is of the wrong type.
            PluginError: the class raises something else than a `HaloclineError`.
        """
        parameters = inspect.signature(target, eval_str=True).parameters
        known = {name: p for name, p in parameters.items() if name not in given}
        converted = {}
        for name, text in self.options.items():
            if name not in known:
                raise unknown_name(f"option of {self.name!r}", name, known)
            converted[name] = self._convert(name, text, known[name].annotation)
        for name, parameter in known.items():
            if name not in converted and parameter.default is parameter.empty and parameter.kind in _NAMED:
                raise UsageError(f"{self.name!r} needs the option {name}; say {self.name}:{name}=….")
        try:
            return target(**converted, **given)
        except HaloclineError:
            raise
        except Exception as error:  # whatever a stranger's constructor raises
            raise PluginError(f"{self.name!r} cannot be made: {type(error).__name__}: {error}.") from error

    def _convert(self, name: str, text: str, kind: Any) -> Any:
        """A value in the type that the constructor declares; text where it declares none of those."""
        if kind is bool:
            if text not in _TRUTH:
                raise UsageError(f"Option {name} of {self.name!r} must be true or false, not {text!r}.")
            return _TRUTH[text]
        if _is_file(kind):
            return Path(text)
        try:
            return kind(text) if kind in (int, float) else text
        except ValueError:
            raise UsageError(f"Option {name} of {self.name!r} must be {_WORDS[kind]}, not {text!r}.") from None


def _is_file(kind: Any) -> bool:
    """Whether a parameter is declared as a path, or as one that may be left out."""
    return kind is Path or Path in get_args(kind)

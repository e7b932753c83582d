"""What became of one entry point."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from halocline.plugin.spec import Component

#: ``warned``: usable, but its import changes the process; ``failed``: nothing of it is used.
Status = Literal["ok", "warned", "failed", "disabled"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point of the group ``halocline.plugins``, and what became of it.

    Attributes:
        entry_point: Its name in the distribution's metadata.
        distribution: Normalised name of the distribution it came in.
        version: Version of that distribution.
        api_version: What the module states as ``halocline_api``; None if that could not be read.
        status: What became of it.
        reason: Why the status is not ``ok``; empty otherwise.
        fix: What the user can do about it; empty if nothing need be done.
        components: What it brings; empty unless it is usable.
        trace: Where it went wrong, for its authors; empty unless it raised an error.
    """

    entry_point: str
    distribution: str
    version: str
    api_version: int | None = None
    status: Status = "ok"
    reason: str = ""
    fix: str = ""
    components: tuple[Component, ...] = ()
    trace: str = ""

    @property
    def name(self) -> str:
        """``distribution:entry_point``; two distributions may use one entry-point name."""
        return f"{self.distribution}:{self.entry_point}"

    @property
    def is_faulty(self) -> bool:
        """Whether its authors have something to mend."""
        return self.status in ("failed", "warned")

    def to_json(self) -> dict[str, Any]:
        """Itself as JSON can say it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """What `to_json` has said.

        Raises:
            PluginError: a component is malformed.
            TypeError: something else is.
        """
        return cls(**values | {"components": tuple(Component(**each) for each in values["components"])})

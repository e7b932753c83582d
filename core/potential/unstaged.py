"""What stands where a backbone does and is none: it evaluates structures in other ways than by stages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn, Self

from halocline.errors import BackboneError
from halocline.model.backbone import Backbone
from halocline.model.stage import Stage


class Unstaged(Backbone):
    """Has no stages: it cannot be frozen, saved, exported, pruned or made from a config.

    Attributes:
        made: how it is made, as the beginning of a sentence that ends in "not from a config".
    """

    made: ClassVar[str]

    @abstractmethod
    def refuse(self) -> NoReturn:
        """Say that it is no network.

        Raises:
            BackboneError: always.
        """

    @property
    def readouts(self) -> dict[int, Stage]:
        """None: see `refuse`."""
        self.refuse()

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """Yield nothing: see `refuse`."""
        self.refuse()

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """There is none: see `refuse`."""
        self.refuse()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Refuse.

        Raises:
            BackboneError: always.
        """
        del config
        raise BackboneError(f"{cls.made}, not from a config.")

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `from_config`."""
        raise BackboneError(f"{cls.made}, not from a config.")

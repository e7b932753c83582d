"""The table ``[model]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

from halocline.errors import UsageError
from halocline.training.recipe.adapters import AdapterSettings
from halocline.training.recipe.rules import check_plain, is_name, is_symbol, require
from halocline.typed_table import settle_fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What is fitted: a backbone with new weights, or a model that there is.

    Attributes:
        backbone: its name. With `from_` it may be left out, or must be the parent's.
        from_: name or file of the parent, the model to start from; the key is ``from``.
        head: of a parent with several heads, the one to start from.
        energies_of_atoms: of a parent whose energy is one of the whole structure, whether atoms get their own.
        prune: of the parent, as for `halocline.load`; it is pruned before the first step.
        new_elements: chemical symbols that the parent does not know and the model shall.
        adapters: fitted in the place of weights; none by default.
        config: of the backbone. Species not given are taken from the training frames. With `from_`, what is given
            must be what the parent has.
    """

    backbone: str | None = None
    from_: str | None = None
    head: str | None = None
    energies_of_atoms: bool = False
    prune: int | str | None = None
    new_elements: tuple[str, ...] = ()
    adapters: AdapterSettings | None = None
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_fields(self, "model")
        check_plain(self.config, "model.config")
        if "species" in self.config:
            _require_symbols("model.config.species", self.config["species"])
        if self.from_ is None:
            self._check_without_parent()
            return
        require(is_name(self.from_), "model.from", "the name of a model, or its file", self.from_)
        if self.new_elements:
            _require_symbols("model.new_elements", self.new_elements)

    def _check_without_parent(self) -> None:
        if self.backbone is None:
            raise UsageError(
                "The configuration lacks model.backbone, or model.from with the name or file of a model to start "
                "from."
            )
        for name in ("head", "energies_of_atoms", "prune", "new_elements"):
            if getattr(self, name) not in (None, (), False):
                raise UsageError(f"model.{name} is about a model to start from; name it in model.from.")


def _require_symbols(key: str, symbols: Any) -> None:
    listed = isinstance(symbols, list | tuple) and all(is_symbol(each) for each in symbols)
    distinct = listed and 0 < len(symbols) == len(set(symbols))
    require(distinct, key, "a list of different chemical symbols, such as ['H', 'O']", symbols)

"""The table ``[model]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

from halocline.training.recipe.rules import check_plain, is_symbol, require
from halocline.typed_table import settle_fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Attributes: the name of a backbone, and its config. Species not given are taken from the training frames."""

    backbone: str
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_fields(self, "model")
        check_plain(self.config, "model.config")
        if "species" in self.config:
            species = self.config["species"]
            symbols = isinstance(species, list | tuple) and all(is_symbol(each) for each in species)
            rule = "a list of different chemical symbols, such as ['H', 'O']"
            distinct = symbols and 0 < len(species) == len(set(species))
            require(distinct, "model.config.species", rule, species)

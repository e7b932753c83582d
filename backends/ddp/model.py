"""A model on its way from one process to another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Self, final

from safetensors.torch import load, save

from halocline.canonical import to_canonical_json
from halocline.checkpoint.weights import plain_copy
from halocline.errors import BackboneError
from halocline.model.backbone import Backbone
from halocline.model.build import build_backbone
from halocline.model.kept_tables import give_tables, split, stored_tensors


@final
@dataclass(frozen=True, slots=True)
class PortableModel:
    """A backbone as a checkpoint holds it: the other process builds it with the plugins that it has itself.

    Attributes:
        backbone: its name among the plugins.
        config: what it is built from.
        weights: safetensors, without metadata, and tables of a compressed model: the same give the same bytes.
    """

    backbone: str
    config: dict[str, Any]
    weights: bytes

    @classmethod
    def of(cls, backbone: Backbone) -> Self:
        """Take down a model as it is now.

        Raises:
            BackboneError: its config is no plain data, so that nothing else could build it.
        """
        try:
            to_canonical_json(backbone.config)
        except (TypeError, ValueError) as error:
            raise BackboneError(f"The config of {backbone.name!r} cannot be given to ranks: {error}.") from error
        tensors = {name: plain_copy(tensor) for name, tensor in stored_tensors(backbone).items()}
        return cls(backbone.name, backbone.config, save(tensors))

    @property
    def digest(self) -> str:
        """SHA-256 of all that the model is made of."""
        described = to_canonical_json([self.backbone, self.config]).encode()
        return hashlib.sha256(hashlib.sha256(described).digest() + self.weights).hexdigest()

    def build(self) -> Backbone:
        """Build the backbone.

        Raises:
            UsageError: no plugin here brings it.
            PluginError: its plugin cannot be imported.
            BackboneError: its plugin here does not take the config.
        """
        backbone = build_backbone(self.backbone, self.config)
        weights, tables = split(load(self.weights))
        backbone.load_state_dict(weights)
        give_tables(backbone, tables)
        return backbone.eval()

"""What travels with a program: everything one must know to feed it and to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, final

import torch

import halocline
from halocline.aggregation import Form
from halocline.digests import tensors_digest
from halocline.errors import LoweringError
from halocline.graph.rules import IndexSet, Nearest, NeighbourRule, Radius, Triplets
from halocline.model.backbone import Backbone
from halocline.program import FrozenModel, Precision
from halocline.program.operators import CustomOperator

#: Raised whenever inputs, outputs or their meaning change.
PROGRAM_VERSION = 2

Kind = Literal["program", "structure", "value", "vjp"]


@final
@dataclass(frozen=True, slots=True)
class Value:
    """One input or output of a program.

    Attributes:
        name: of the tensor.
        dtype: ``float32``, ``float64`` or ``int64``.
        shape: numbers, and names of sizes that are free.
        unit: empty for numbers without one.
        meaning: a few words.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    unit: str
    meaning: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The signature and the origin of a program.

    Attributes:
        kind: ``program`` (edge vectors in, energies and edge gradients out), ``structure`` (positions in, forces
            and virial out), or ``value`` and ``vjp`` of one stage.
        backbone: name under which it is registered.
        config: of the backbone.
        stage: name of the stage; empty for whole programs.
        species: chemical symbols that the model knows.
        conditions: what it is told of a structure beside atoms and cell, as `Condition.to_json` gives it.
        form: layout of edges.
        precision: of floats, unless an input or output says otherwise.
        hops: of neighbours that are read.
        neighbours: the rule by which they are chosen: ``{"rule": "radius", "cutoff": Å}``;
            ``{"rule": "nearest", "count": k}``, with ``kept_by`` and ``cutoff`` (Å or null) unless those are the
            default; or ``{"rule": "several", "rules": [...], "index_sets": [...]}``. None for stages without
            neighbours.
        inputs: in order.
        outputs: in order.
        reference_energies: chemical symbol → eV, contained in the energies; empty where they are not.
        weights: SHA-256 of the weights.
        versions: of halocline, torch and this manifest; and of the kernels and custom operators in it, as
            ``kernel NAME`` and ``operator NAME``.
    """

    kind: Kind
    backbone: str
    config: dict[str, Any]
    stage: str
    species: tuple[str, ...]
    conditions: tuple[dict[str, Any], ...]
    form: Form
    precision: Precision
    hops: int
    neighbours: dict[str, Any] | None
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    reference_energies: dict[str, float]
    weights: str
    versions: dict[str, str]

    @classmethod
    def of(
        cls,
        frozen: FrozenModel,
        kind: Kind,
        inputs: tuple[Value, ...],
        outputs: tuple[Value, ...],
        *,
        stage: str = "",
        reference_energies: dict[str, float] | None = None,
        operators: Iterable[CustomOperator] = (),
    ) -> Self:
        """Describe a program, or one of its stages; ``operators`` are the custom ones that it calls."""
        backbone = frozen.backbone
        spec = dict(backbone.stages())[stage].spec if stage else None
        rule = spec.neighbours if spec else backbone.neighbours
        return cls(
            kind=kind,
            backbone=backbone.name,
            config=dict(backbone.config),
            stage=stage,
            species=backbone.species,
            conditions=tuple(condition.to_json() for condition in backbone.conditions),
            form=frozen.form,
            precision=frozen.precision,
            hops=spec.hops if spec else backbone.hops,
            neighbours=None if rule is None else _rule_table(rule),
            inputs=inputs,
            outputs=outputs,
            reference_energies=reference_energies or {},
            weights=weights_digest(backbone),
            versions={
                "halocline": halocline.__version__,
                "torch": torch.__version__,
                "program": str(PROGRAM_VERSION),
                **{f"kernel {each.kernel}": str(each.version) for each in frozen.replaced},
                **{f"operator {each.name}": str(each.version) for each in operators},
            },
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            LoweringError: it is of another version, or no manifest at all.
        """
        versions = table.get("versions") if isinstance(table, dict) else None
        version = versions.get("program") if isinstance(versions, dict) else None
        if version != str(PROGRAM_VERSION):
            raise LoweringError(
                f"The artefact has a manifest of version {version}, and this halocline reads version "
                f"{PROGRAM_VERSION}; export the model again."
            )
        try:
            values = {
                side: tuple(Value(**{**value, "shape": tuple(value["shape"])}) for value in table[side])
                for side in ("inputs", "outputs")
            }
            typed = {
                "species": tuple(table["species"]),
                "conditions": tuple(table["conditions"]),
                "form": Form(table["form"]),
                "precision": Precision(table["precision"]),
            }
            return cls(**{**table, **typed, **values})
        except (KeyError, TypeError, ValueError) as error:
            raise LoweringError(f"The manifest of the artefact is damaged ({error}); export it again.") from error


def weights_digest(backbone: Backbone) -> str:
    """SHA-256 over all parameters and buffers."""
    return tensors_digest([*backbone.named_parameters(), *backbone.named_buffers()])


def _rule_table(rule: NeighbourRule) -> dict[str, Any]:
    if isinstance(rule, Radius):
        return {"rule": "radius", "cutoff": rule.cutoff}
    if isinstance(rule, Nearest):
        more = {"kept_by": rule.kept_by, "cutoff": None if rule.cutoff == math.inf else rule.cutoff}
        return {"rule": "nearest", "count": rule.count} | ({} if rule.is_plain else more)
    tables = [_index_set_table(each) for each in rule.index_sets]
    return {"rule": "several", "rules": [_rule_table(each) for each in rule.rules], "index_sets": tables}


def _index_set_table(index_set: IndexSet) -> dict[str, Any]:
    if isinstance(index_set, Triplets):
        ends = {"written": index_set.written, "read": index_set.read}
        return {name: _rule_table(rule) for name, rule in ends.items()} | {"at": index_set.at}
    ends = {"written": index_set.written, "between": index_set.between, "read": index_set.read}
    return {name: _rule_table(rule) for name, rule in ends.items()}

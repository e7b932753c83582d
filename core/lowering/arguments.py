"""Program inputs as a flat row of named tensors, and back.

Compilers know tensors only. The size of a hop level is the length of some input: of the seeds, of the rows of a
table, of the values read; where none has it, of a marker, a vector whose length alone matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from halocline.aggregation import Form
from halocline.aggregation.edges import opposite_edges, row_starts
from halocline.graph import NeighbourRule
from halocline.lowering.manifest import Value
from halocline.model.backbone import Output
from halocline.model.condition import Condition
from halocline.model.pooled import POOLED_WEIGHTS, PooledHead
from halocline.program import EdgeInputs, Precision, ProgramInputs, TableInputs
from halocline.program.index_sets import (
    NO_SET_INPUTS,
    OPPOSITE,
    WRITTEN,
    SetInputs,
    ends_of,
    named_index_sets,
    named_rules,
)

#: What the sizes of lists and index sets begin with, by what their names begin with. A number follows.
_SET_SIZES: Final = {"rule": "R", "triplets": "T", "quadruplets": "Q"}
_NUMBERED: Final = frozenset(_SET_SIZES.values())


def flatten(inputs: ProgramInputs) -> tuple[Tensor, ...]:
    """The inputs of a whole program, in the order of its manifest."""
    named = {"species": inputs.species, **inputs.conditions, **block_tensors(inputs), "seeds": inputs.seeds}
    return (*named.values(), *markers(inputs, first=1).values())


def block_tensors(inputs: ProgramInputs) -> dict[str, Tensor]:
    """The tensors that describe edges, by name."""
    if isinstance(inputs, TableInputs):
        assert inputs.mask is not None
        return {
            "vectors": inputs.vectors,
            "mask": inputs.mask,
            "neighbours": inputs.neighbours,
            "transposed": inputs.transposed,
            **inputs.sets.tensors,
        }
    assert isinstance(inputs, EdgeInputs)
    tensors = {"vectors": inputs.vectors, "senders": inputs.senders, "receivers": inputs.receivers}
    if inputs.pairs is not None and inputs.pair_of is not None:
        tensors |= {"pairs": inputs.pairs, "pair_of": inputs.pair_of}
    return {**tensors, **inputs.sets.tensors}


def markers(inputs: ProgramInputs, *, first: int) -> dict[str, Tensor]:
    """Vectors as long as the sizes that no other tensor shows, by name.

    Args:
        inputs: a part of H hops.
        first: the innermost hop level that needs a marker: 1 beside seeds, else 0.
    """
    hops = len(inputs.levels) - 1
    table = isinstance(inputs, TableInputs)
    sizes = {f"level_{h}": inputs.levels[h] for h in range(first, hops - 1 if table else hops)}
    if isinstance(inputs, EdgeInputs):
        sizes |= {f"edge_level_{h}": inputs.edge_levels[h] for h in range(hops - 1)}
        if inputs.pairs is not None:
            sizes |= {f"pair_level_{h}": inputs.pair_levels[h] for h in range(hops - 1)}
        for name, levels in inputs.sets.levels.items():
            sizes |= {f"{name}_level_{h}": levels[h] for h in range(hops - 1)}
    return {name: inputs.species.new_zeros(size) for name, size in sizes.items()}


def unflatten(
    form: Form,
    hops: int,
    tensors: Mapping[str, Tensor],
    outermost: Tensor,
    seeds: Tensor,
    asked: NeighbourRule,
    conditions: Sequence[str] = (),
) -> ProgramInputs:
    """Program inputs made of named tensors; sizes may be symbolic.

    Args:
        form: of the edges.
        hops: H.
        tensors: those of `block_tensors` and `markers`.
        outermost: (n_H, ...), the values that are read.
        seeds: (n_0,).
        asked: by the model.
        conditions: names of those that a whole program is given.
    """
    told = {name: tensors[name] for name in conditions}
    rows = {0: seeds, hops: outermost}
    if form is Form.TABLE:
        rows = {hops - 1: tensors["neighbours"], **rows}
    # Not len(), which would turn a symbol into the number it was traced with.
    levels = tuple((rows[h] if h in rows else tensors[f"level_{h}"]).shape[0] for h in range(hops + 1))
    if form is Form.TABLE:
        return TableInputs(
            species=outermost,
            vectors=tensors["vectors"],
            seeds=seeds,
            levels=levels,
            mask=tensors["mask"],
            conditions=told,
            neighbours=tensors["neighbours"],
            transposed=tensors["transposed"],
            sets=_sets(form, hops, tensors, asked),
        )
    paired = "pairs" in tensors
    # Those two follow from the rest, and are left out of graphs whose stages do not read them.
    starts = row_starts(tensors["receivers"], levels[hops - 1]) if hops else None
    opposite = opposite_edges(tensors["pairs"], tensors["pair_of"]) if paired else None
    return EdgeInputs(
        species=outermost,
        vectors=tensors["vectors"],
        seeds=seeds,
        levels=levels,
        mask=None,
        conditions=told,
        senders=tensors["senders"],
        receivers=tensors["receivers"],
        edge_levels=_sizes("edge_level", hops, tensors, tensors["senders"]),
        pairs=tensors["pairs"] if paired else None,
        pair_of=tensors["pair_of"] if paired else None,
        pair_levels=_sizes("pair_level", hops, tensors, tensors["pairs"]) if paired else (),
        row_starts=starts,
        opposite=opposite,
        sets=_sets(form, hops, tensors, asked),
    )


def _sets(form: Form, hops: int, tensors: Mapping[str, Tensor], asked: NeighbourRule) -> SetInputs:
    """Lists and index sets of a model that has such."""
    rules, index_sets = named_rules(asked), named_index_sets(asked)
    if not rules and not index_sets:
        return NO_SET_INPUTS
    if form is Form.TABLE:
        return SetInputs(asked, {name: tensors[name] for name in (*rules, OPPOSITE) if name in tensors})
    places = [name + end for name, which in index_sets.items() for end in ends_of(which)]
    longest = {name: name for name in rules} | {name: name + WRITTEN for name in index_sets}
    levels = {name: _sizes(f"{name}_level", hops, tensors, tensors[last]) for name, last in longest.items()}
    return SetInputs(asked, {name: tensors[name] for name in (*rules, *places)}, levels)


def _sizes(name: str, hops: int, tensors: Mapping[str, Tensor], last: Tensor) -> tuple[int, ...]:
    return (*(tensors[f"{name}_{h}"].shape[0] for h in range(hops - 1)), last.shape[0])


def size_family(name: str) -> tuple[str, int | None]:
    """What a size counts, and up to which hop level; None for all of it.

    Args:
        name: of a size, as in `Value.shape`: ``n_0`` is ("n", 0), ``E`` ("E", None), ``T_2`` ("T_2", None), and
            ``T_2_1`` ("T_2", 1), as lists and index sets are numbered.
    """
    letter, *numbers = name.split("_")
    own = 1 if letter in _NUMBERED else 0
    level = int(numbers[own]) if len(numbers) > own else None
    return "_".join((letter, *numbers[:own])), level


def describe_condition(condition: Condition, outer: str | int, precision: Precision) -> Value:
    """Dtype, shape and meaning of what a program is told of each atom's structure.

    Args:
        condition: as the backbone declares it.
        outer: size of the outermost hop level.
        precision: of the program's floats.
    """
    dtype = precision.value if condition.kind == "real" else "int64"
    numbered = ", ".join(f"{place} {name}" for place, name in enumerate(condition.choices))
    meaning = f"{condition.name} of the structure of each atom" + (f": {numbered}" if numbered else "")
    return Value(condition.name, dtype, (outer,), "", meaning)


def describe_pooled_weights(head: PooledHead, outer: str | int, precision: Precision) -> Value:
    """Dtype, shape and meaning of the weights that a program with a pooled head is given."""
    meaning = "derivative of the energy by the pooled sums, for each atom; zeros to ask for the pooled vectors"
    return Value(POOLED_WEIGHTS, precision.value, (outer, head.channels), "eV", meaning)


def describe_output(output: Output, shape: tuple[int, ...], atoms: str | int, precision: Precision) -> Value:
    """Dtype, shape, unit and meaning of what a program says of atoms beside their energies.

    Args:
        output: one that the backbone declares.
        shape: of the value of one atom.
        atoms: how many there are.
        precision: of the floats.
    """
    return Value(output.value, precision.value, (atoms, *shape), output.unit, output.meaning)


def describe(name: str, hops: int, precision: Precision, form: Form) -> Value:
    """Dtype, shape, unit and meaning of an input or output that every program shares.

    Args:
        name: of the tensor.
        hops: H, hops of the program or stage.
        precision: of its floats.
        form: of its edges.
    """
    rows, outer, floats = f"n_{hops - 1}", f"n_{hops}", precision.value
    edges: tuple[str | int, ...] = (rows, "k") if form is Form.TABLE else ("E",)
    kind, _, level = name.rpartition("_")
    if name == OPPOSITE or name.startswith(("rule_", "triplets_", "quadruplets_")):
        return _describe_set(name, edges, floats, form)
    if kind in ("level", "edge_level", "pair_level"):
        size = {"level": "n", "edge_level": "e", "pair_level": "p"}[kind]
        return Value(
            name, "int64", (f"{size}_{level}",), "", "only its length is used: the size of this hop level"
        )
    return {
        "species": Value(name, "int64", (outer,), "", "atomic numbers, ordered by hop level"),
        "vectors": Value(name, floats, (*edges, 3), "Å", "from receiver to sender, zero where padded"),
        "mask": Value(name, floats, edges, "", "1 for a neighbour, 0 for padding"),
        "neighbours": Value(name, "int64", edges, "", "senders; any valid atom where padded"),
        "transposed": Value(name, "int64", (outer, "t"), "", "flat slots that hold each atom; k - 1 where padded"),
        "senders": Value(name, "int64", edges, "", "sending atom of each edge"),
        "receivers": Value(name, "int64", edges, "", "receiving atom of each edge, never decreasing"),
        "pairs": Value(name, "int64", ("P",), "", "the first edge of each pair of opposite edges"),
        "pair_of": Value(name, "int64", edges, "", "the pair of each edge"),
        "seeds": Value(name, floats, ("n_0",), "", "1 for owned atoms, 0 for padding"),
        "energies": Value(name, floats, ("n_0",), "eV", "energy of each atom, without reference energies"),
        "gradients": Value(
            name, floats, (*edges, 3), "eV/Å", "derivative of the seeded sum of energies by vectors"
        ),
    }[name]


def _describe_set(name: str, edges: tuple[str | int, ...], floats: str, form: Form) -> Value:
    """The same for what belongs to lists and index sets."""
    if name == OPPOSITE:
        return Value(name, "int64", edges, "", "flat slot of the opposite edge; k - 1 where there is none")
    kind, number, *rest = name.split("_")
    size = f"{_SET_SIZES[kind]}_{number}"
    if "level" in rest:
        size = f"{size}_{rest[-1]}"
        return Value(name, "int64", (size,), "", "only its length is used: the size of this hop level")
    if kind == "rule" and form is Form.TABLE:
        return Value(name, floats, edges, "", "1 for an edge that this rule keeps, else 0")
    meaning = {
        "rule": "places of the edges that this rule keeps",
        "written": "places of the edges that messages go to",
        "between": "places of the edges between those",
        "read": "places of the edges that messages come from",
    }[rest[0] if rest else kind]
    return Value(name, "int64", (size,), "", meaning)

"""Irreps, and names and shapes of the tensors, of a SevenNet without odd irreps."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from halocline.errors import CheckpointError
from halocline.zoo.foreign.model import show

Shape = tuple[int, ...]

#: Channels and degree.
Term = tuple[int, int]

_TERM = re.compile(r"(\d{1,5})x([0-3])e")


def features_between(
    path: Path, manual: Any, channels: int, max_degree: int, layers: int
) -> tuple[int, list[Term]]:
    """Channels that the first layer finds, and irreps between layers.

    Args:
        path: the file, for messages.
        manual: false, or irreps before the first layer and after each, as texts.
        channels: of each irrep, where they are not given.
        max_degree: of them.
        layers: how many there are.

    Raises:
        CheckpointError: irreps differ from layer to layer, or are odd or written in another way.
    """
    if manual is False:
        return channels, [(channels, degree) for degree in range(max_degree + 1)]
    read = [_parse(path, text) for text in manual]
    between = read[1:-1] if layers > 1 else read[1:]
    scalars = [term for term in between[0] if term[1] == 0] if between else []
    if (
        len(read) != layers + 1
        or len(read[0]) != 1
        or read[0][0][1] != 0
        or any(each != between[0] for each in between)
        or read[-1] != scalars
    ):
        raise CheckpointError(
            f"The irreps in {path} must be scalars, the same irreps between all layers, and their scalars, "
            f"not {show(str(manual))}."
        )
    return read[0][0][0], between[0]


def _parse(path: Path, text: Any) -> list[Term]:
    found = [_TERM.fullmatch(term.strip()) for term in text.split("+")] if isinstance(text, str) else [None]
    terms = [(int(term[1]), int(term[2])) for term in found if term is not None]
    degrees = [degree for _, degree in terms]
    if len(terms) < len(found) or degrees != sorted(set(degrees)) or 0 not in degrees:
        raise CheckpointError(f"Irreps in {path} must be written like '128x0e+64x1e', not {show(text)}.")
    return terms


def sevennet_layout(config: dict[str, Any]) -> dict[str, Shape]:
    """The tensors of a state: name → shape.

    Args:
        config: as `read_sevennet` gives it.
    """
    species, heads = len(config["species"]), len(config["heads"])
    between: list[Term] = [tuple(term) for term in config["irreps"]]
    scalars = between[0][0]
    hidden = scalars // 2
    layout: dict[str, Shape] = {
        "edge_embedding.basis_function.coeffs": (config["bessels"],),
        "onehot_to_feature_x.linear.weight": (species * config["channels"],),
        "reduce_input_to_hidden.linear.weight": ((scalars + heads) * hidden,),
        "reduce_hidden_to_energy.linear.weight": (hidden,),
        "rescale_atomic_energy.shift": (heads, species) if heads else (species,),
        "rescale_atomic_energy.scale": (species,),
    }
    before: list[Term] = [(config["channels"], 0)]
    for layer in range(config["layers"]):
        last = layer == config["layers"] - 1
        after = between[:1] if last else between
        layout |= _layer(config, layer, before, after, heads)
        before = after
    return layout


def _layer(
    config: dict[str, Any], layer: int, before: list[Term], after: list[Term], heads: int
) -> dict[str, Shape]:
    gates = sum(count for count, degree in after if degree)
    ungated = {degree: count + (0 if degree else gates) for count, degree in after}
    inputs = dict.fromkeys(ungated, 0)
    convolution = f"{layer}_convolution"
    layout: dict[str, Shape] = {f"{convolution}.denominator": (1,)}
    for count, one in before:
        for other in range(config["lmax"] + 1):
            for out in range(abs(one - other), one + other + 1):
                if out in inputs:
                    inputs[out] += count
                    if one and other and out:
                        name = f"{convolution}.convolution._compiled_main_left_right._w3j_{one}_{other}_{out}"
                        layout[name] = (2 * one + 1, 2 * other + 1, 2 * out + 1)
    sizes = [config["bessels"], *config["radial_units"], sum(inputs.values())]
    layout |= {
        f"{convolution}.weight_nn.layer{number}.weight": pair for number, pair in enumerate(pairwise(sizes))
    }
    carried = sum(count * ungated[degree] for count, degree in before if degree in ungated)
    sent = sum(count * count for count, _ in before) + heads * before[0][0]
    summed = sum(inputs[degree] * ungated[degree] for degree in ungated) + heads * ungated[0]
    return layout | {
        f"{layer}_self_connection_intro.linear.weight": (carried,),
        f"{layer}_self_interaction_1.linear.weight": (sent,),
        f"{layer}_self_interaction_2.linear.weight": (summed,),
    }

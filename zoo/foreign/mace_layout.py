"""Names and shapes of the tensors of a MACE."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

Shape = tuple[int, ...]

#: Rows of tables of covalent radii: those of ASE.
_ELEMENTS = 119


def mace_layout(config: dict[str, Any], couplings: Callable[[str], int]) -> dict[str, Shape]:
    """The tensors of a state, floats alone: name → shape.

    Args:
        config: as `read_mace` gives it.
        couplings: how many couplings a tensor of this name lists; packages differ in that.
    """
    species, channels, heads = len(config["atomic_numbers"]), config["channels"], len(config["heads"])
    layout: dict[str, Shape] = {
        "r_max": (),
        "node_embedding.linear.weight": (species * channels,),
        "atomic_energies_fn.atomic_energies": (heads, species),
        "radial_embedding.bessel_fn.bessel_weights": (config["num_bessel"],),
    }
    layout |= {
        f"radial_embedding.{name}": () for name in ("bessel_fn.r_max", "bessel_fn.prefactor", "cutoff_fn.r_max")
    }
    if config["distance_transform"] == "Agnesi":
        transform = "radial_embedding.distance_transform"
        layout |= {f"{transform}.{name}": () for name in ("a", "q", "p")}
        layout[f"{transform}.covalent_radii"] = (_ELEMENTS,)
    if config["pair_repulsion"]:
        layout |= {f"pair_repulsion_fn.{name}": () for name in ("a_exp", "a_prefactor")}
        layout |= {"pair_repulsion_fn.c": (4,), "pair_repulsion_fn.covalent_radii": (_ELEMENTS,)}
    if config["model"] == "ScaleShiftMACE":
        layout |= {"scale_shift.scale": (heads,), "scale_shift.shift": (heads,)}
    for layer in range(len(config["interactions"])):
        layout |= _interaction(config, layer) | _product(config, layer, couplings) | _readout(config, layer)
    return layout


def _degrees(config: dict[str, Any], layer: int) -> tuple[int, int]:
    """How many degrees the features have before and after a layer."""
    last = len(config["interactions"]) - 1
    return (config["hidden_lmax"] if layer else 0) + 1, (config["hidden_lmax"] if layer < last else 0) + 1


def _interaction(config: dict[str, Any], layer: int) -> dict[str, Shape]:
    name, kind, channels = f"interactions.{layer}", config["interactions"][layer], config["channels"]
    between, (before, after) = config["max_ell"] + 1, _degrees(config, layer)
    paths = sum(
        abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0
        for a in range(before)
        for b in range(between)
        for c in range(between)
    )
    skipped = min(before, after) if "Residual" in kind else between
    layout: dict[str, Shape] = {
        f"{name}.linear_up.weight": (before * channels**2,),
        f"{name}.linear.weight": (paths * channels**2,),
        f"{name}.skip_tp.weight": (skipped * channels**2 * len(config["atomic_numbers"]),),
    }
    sizes = [config["num_bessel"], *config["radial_MLP"], paths * channels]
    layout |= {f"{name}.conv_tp_weights.layer{number}.weight": pair for number, pair in enumerate(pairwise(sizes))}
    if "Density" in kind:
        layout[f"{name}.density_fn.layer0.weight"] = (config["num_bessel"], 1)
    return layout


def _product(config: dict[str, Any], layer: int, couplings: Callable[[str], int]) -> dict[str, Shape]:
    channels, order, (_, after) = config["channels"], config["correlation"], _degrees(config, layer)
    components = (config["max_ell"] + 1) ** 2
    layout: dict[str, Shape] = {f"products.{layer}.linear.weight": (after * channels**2,)}
    for degree in range(after):
        name = f"products.{layer}.symmetric_contractions.contractions.{degree}"
        first = (2 * degree + 1,) if degree else ()
        for power in range(1, order + 1):
            matrix = f"{name}.U_matrix_{power}"
            count = couplings(matrix)
            layout[matrix] = (*first, *(components,) * power, count)
            weights = "weights_max" if power == order else f"weights.{order - power - 1}"
            layout[f"{name}.{weights}"] = (len(config["atomic_numbers"]), count, channels)
    return layout


def _readout(config: dict[str, Any], layer: int) -> dict[str, Shape]:
    name, channels, heads = f"readouts.{layer}", config["channels"], len(config["heads"])
    hidden = config["MLP_irreps"] * heads
    if layer < len(config["interactions"]) - 1 or not hidden:
        return {f"{name}.linear.weight": (channels * heads,)}
    return {f"{name}.linear_1.weight": (channels * hidden,), f"{name}.linear_2.weight": (hidden * heads,)}

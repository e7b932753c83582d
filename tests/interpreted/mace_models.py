"""Models of MACE with Triton's operators are the plain models."""

from __future__ import annotations

import pytest
from interpreted.on_cpu import CALLS, as_on_gpu, replace_as_on_gpu
from test_fused_mace import EXACT, backbone, plain, potential, require_near, structures

from halocline.plugins.fused import contraction, density, maps, product
from halocline.plugins.kernels.mace import FusedMACE

as_on_gpu(*contraction.OPERATORS, *density.OPERATORS, *maps.OPERATORS, *product.OPERATORS)

#: Models, and whether with tables: densities and products in the first layer, species, all kinds of blocks.
MODELS = [("L1", True), ("L0", False), ("two species", True), ("agnostic", False), ("dressed", True)]


@pytest.mark.parametrize(("name", "compress"), MODELS, ids=str)
def test_whole_models_are_the_plain_ones(name, compress, monkeypatch):
    """Energies, forces and virial."""
    model = backbone(name, max_degree=2)
    (atoms,) = structures(model, 1)
    expected = plain(model, atoms, compress=compress)
    replace_as_on_gpu(FusedMACE, monkeypatch)
    CALLS.clear()
    require_near(potential(model)(atoms, dtype="float64", device="cpu", compress=compress), expected, EXACT)
    way = "tabulated" if compress else "weighted"
    called = {"symmetric_contraction", "symmetric_contraction_vjp", "irrep_maps", "irrep_maps_vjp"}
    assert called | {f"product_{way}", f"product_{way}_pull"} <= set(CALLS)

"""Models of NequIP with Triton's operators are the plain models."""

from __future__ import annotations

import numpy as np
import pytest
from interpreted.on_cpu import CALLS, as_on_gpu, replace_as_on_gpu
from structures import random_structure
from test_nequip_kernel import EXACT, nequip

from halocline.plugins.fused import product
from halocline.plugins.kernels.nequip import FusedNequIP
from halocline.potential.potential import Potential

as_on_gpu(*product.OPERATORS)


@pytest.mark.parametrize(
    ("irreps", "parity", "compress"), [("32x0e+16x1o", "natural", True), ("32x0e+16x1e", "even", False)]
)
def test_whole_models_are_the_plain_ones(irreps, parity, compress, monkeypatch):
    """Energies, forces and virial."""
    model = nequip(irreps=irreps, parity=parity, embedding=32)
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
    atoms = random_structure(5, symbols=model.species, atoms=6, pbc=True, edge=(4.0, 5.0))
    options = {"dtype": "float64", "device": "cpu", "compress": compress}
    expected = potential(atoms, **options)
    replace_as_on_gpu(FusedNequIP, monkeypatch)
    CALLS.clear()
    found = Potential(model, potential.reference_energies, {})(atoms, **options)
    for one, other in ((found.forces, expected.forces), (found.stress, expected.stress)):
        np.testing.assert_allclose(one, other, rtol=0, atol=EXACT * np.abs(other).max())
    assert found.energy == pytest.approx(expected.energy, rel=EXACT)
    way = "tabulated" if compress else "weighted"
    assert {f"product_{way}", f"product_{way}_pull"} <= set(CALLS)

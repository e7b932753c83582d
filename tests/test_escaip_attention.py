"""EScAIP's attention by one call of torch is the attention that is written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.escaip.models import structures
from torch.nn.attention import SDPBackend, sdpa_kernel

from halocline.aggregation import Form
from halocline.backends.torch.executor import TorchExecutor
from halocline.errors import KernelError
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.lowering import lower
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.plugins.kernels import escaip as kernel_module
from halocline.plugins.kernels.escaip import FusedAttention, OneCall, biased, expanded
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.replacement import exchanged

#: Relative, of the largest value: sums of the same numbers in another order, in float64.
ROUNDING = 1e-12


@pytest.fixture
def for_cpus(monkeypatch):
    """The kernel makes for CPUs what it makes for GPUs, in float64, by torch's definition of fused attention."""
    monkeypatch.setattr(FusedAttention, "devices", ("cpu",))
    monkeypatch.setattr(FusedAttention, "precisions", tuple(Precision))
    with sdpa_kernel(SDPBackend.MATH):
        yield


def model(**changes):
    config = registry().load("backbone", "escaip").example_config()
    return build_backbone("escaip", config | {"species": ["H", "C", "O"]} | changes, seed=3)


@pytest.mark.parametrize("changes", [{}, {"forces": "direct"}, {"frequencies": [1, 0, 3]}], ids=str)
def test_whole_models_are_the_plain_ones(for_cpus, changes):
    """Energies and forces, so first derivatives of the call by directions and ranks, too."""
    fast, plain = (
        LocalEvaluator(model(**changes), TorchExecutor("cpu", kernels=kernels), Precision.FLOAT64)
        for kernels in ("on", "off")
    )
    assert [each.kernel for each in fast.replaced] == ["halocline/escaip-attention"] * 2
    for name in ("molecule", "liquid"):
        structure = Structure.from_atoms(structures()[name])
        found, expected = (each.evaluate(structure) for each in (fast, plain))
        for what in ("energies", "forces"):
            ours, theirs = (np.array(getattr(result, what)) for result in (found, expected))
            assert np.abs(ours - theirs).max() <= ROUNDING * np.abs(theirs).max()


def test_products_are_weighted_by_polynomials_and_biased():
    random = torch.Generator().manual_seed(1)
    features, others = (torch.randn(2, 3, 5, 4, generator=random, dtype=torch.float64) for _ in range(2))
    vectors = torch.nn.functional.normalize(torch.randn(2, 5, 3, generator=random, dtype=torch.float64), dim=-1)
    biases = torch.randn(2, 5, generator=random, dtype=torch.float64)
    harmonics = [torch.ones_like(vectors[..., :1]), vectors.repeat_interleave(3, -1)]
    pairs = biased(expanded(features, harmonics), expanded(others, harmonics), biases)
    found = pairs[0] @ pairs[1].transpose(-1, -2)
    cosines = (vectors @ vectors.transpose(1, 2))[:, None]
    expected = features[..., :1] @ others[..., :1].transpose(-1, -2)
    expected = expected + cosines * (features[..., 1:] @ others[..., 1:].transpose(-1, -2)) + biases[:, None, None]
    assert torch.allclose(found, expected, rtol=0.0, atol=1e-13)
    assert pairs[0].shape[-1] % 8 == 0


def test_it_is_for_gpus_in_single_precision_and_leaves_programs_alone(monkeypatch):
    """Elsewhere nothing is replaced; what was replaced for a GPU is the definition where programs are traced."""
    assert not LocalEvaluator(model(), TorchExecutor("cpu"), Precision.FLOAT32).replaced
    assert (FusedAttention.devices, FusedAttention.precisions) == (("cuda",), (Precision.FLOAT32,))
    layer = FusedAttention().replace(model().layers[0], Form.EDGES, Precision.FLOAT32, "cuda")
    assert isinstance(layer.attention, OneCall)
    frozen = FrozenModel.freeze(model(), Precision.FLOAT64, TorchExecutor.capabilities)
    for stage in frozen.backbone.layers:
        FusedAttention().replace(stage, Form.EDGES, Precision.FLOAT32, "cuda")
    monkeypatch.setattr(kernel_module, "scaled_dot_product_attention", None)  # so that no call would work
    assert lower(frozen).graph.graph.nodes


def test_a_call_that_computes_something_else_is_refused(for_cpus, monkeypatch):
    """Each layer is held against the plain one before it runs."""
    harmonics = OneCall._harmonics
    monkeypatch.setattr(OneCall, "_harmonics", lambda *given: [0.9 * each for each in harmonics(*given)])
    backbone = model()
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES))
    with pytest.raises(KernelError, match=r"layers\.0"):
        exchanged(backbone, frozen, {"attention": FusedAttention()}, "cpu", strict=True)

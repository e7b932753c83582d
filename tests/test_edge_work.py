"""What `benchmarks/edge_work.py` counts: an edge once for each layer that a part has work on it."""

from __future__ import annotations

from edge_work import counted, peer_model
from peers.structures import structure


def test_undivided_nothing_is_redundant_and_divided_only_one_layer_is_not():
    atoms, backbone = structure("silicon", 64), peer_model(("Si",))
    whole = counted(backbone, atoms, "rcb", 1)
    assert whole["counts"] == {
        "full": 2 * whole["edges"],
        "held": 2 * whole["edges"],
        "trimmed": 2 * whole["edges"],
        "pruned": whole["edges"],
    }
    box = structure("silicon", 4000)
    halves = counted(backbone, box, "rcb", 2)["counts"]
    assert halves["full"] >= halves["held"] > halves["trimmed"] > 2 * halves["pruned"]
    assert halves["pruned"] == counted(backbone, box, "rcb", 1)["edges"]

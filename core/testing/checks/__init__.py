"""The checks of a backbone, by what they are about."""

from __future__ import annotations

from types import MappingProxyType

from halocline.testing.checks.declaration import check_declaration, check_species
from halocline.testing.checks.derivatives import check_forces, check_stress
from halocline.testing.checks.elements import check_elements
from halocline.testing.checks.extensivity import check_extensivity
from halocline.testing.checks.forms import check_float32, check_forms
from halocline.testing.checks.hosts import check_host_contexts
from halocline.testing.checks.invariance import (
    check_permutation,
    check_reflection,
    check_rotation,
    check_translation,
)
from halocline.testing.checks.locality import check_parts, check_receptive_field
from halocline.testing.checks.lowering import check_lowering, check_operations
from halocline.testing.checks.pruning import check_channels, check_pruning
from halocline.testing.checks.purity import check_determinism, check_global_state, check_inputs_unchanged
from halocline.testing.checks.saving import check_config, check_loading, check_saving
from halocline.testing.checks.small_systems import check_no_neighbours, check_one_atom
from halocline.testing.checks.smoothness import check_smoothness
from halocline.testing.checks.training import check_training

#: All checks of a backbone by name, the most basic first.
BACKBONE_CHECKS = MappingProxyType(
    {
        "declaration": check_declaration,
        "config": check_config,
        "one-atom": check_one_atom,
        "no-neighbours": check_no_neighbours,
        "extensivity": check_extensivity,
        "rotation": check_rotation,
        "reflection": check_reflection,
        "translation": check_translation,
        "permutation": check_permutation,
        "forces": check_forces,
        "stress": check_stress,
        "smoothness": check_smoothness,
        "receptive-field": check_receptive_field,
        "forms": check_forms,
        "lowering": check_lowering,
        "operations": check_operations,
        "parts": check_parts,
        "float32": check_float32,
        "training": check_training,
        "saving": check_saving,
        "loading": check_loading,
        "pruning": check_pruning,
        "channels": check_channels,
        "elements": check_elements,
        "species": check_species,
        "determinism": check_determinism,
        "host-contexts": check_host_contexts,
        "inputs-unchanged": check_inputs_unchanged,
        "global-state": check_global_state,
    }
)

__all__ = ["BACKBONE_CHECKS"]

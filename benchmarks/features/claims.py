"""Which tests show which feature of which backbone, and why a feature has none."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: Feature → what it means.
FEATURES: Final = {
    "parity": "numbers of a reference in NumPy, or of the package that published the model",
    "import": "reads checkpoints that others have published",
    "prune": "fewer layers, and still a model",
    "lower": "becomes a graph of plain operations",
    "torch": "`--backend torch`",
    "inductor": "`--backend torch:compile=inductor`",
    "aot": "`--backend torch:compile=aot`, and as a file of its own",
    "onnx": "`--backend onnx`, and as a file of its own",
    "ipu program": "`--backend ipu:target=cpu`: the program for an IPU, run on the CPU",
    "recompute": "parts with `--halo recompute` are the whole",
    "exchange": "parts with `--halo exchange` are the whole",
    "batch": "many structures at once are each as alone",
    "train": "derivatives of losses on energies, forces and stress by the weights",
    "compress": "`--compress`: radial functions from tables",
    "kernel": "compiled code of its own, used where it is verified",
}


class Cell(NamedTuple):
    """A feature of a backbone."""

    backbone: str
    feature: str


#: Feature → what names of its tests match; the group is the backbone.
SHOWN: Final = {
    "parity": (
        r"test_parity\.py::test_numbers_are_those_of_the_reference\[([a-z0-9-]+) \| torch \|",
        r"test_([a-z0-9]+)_parity\.py::",
    ),
    "import": (r"/test_zoo_([a-z0-9]+)_files?\.py::",),
    "prune": (
        r"::TestBackbones::test_conformance\[pruning-(.+)\]",
        r"::TestPruners::test_conformance\[real-model-depth-(.+)\]",
    ),
    "lower": (r"::TestBackbones::test_conformance\[(?:lowering|operations)-(.+)\]",),
    "torch": (r"::TestExecutors::test_conformance\[results-torch-(.+)\]",),
    "inductor": (r"test_matrix\.py::.*\[([a-z0-9-]+) \| torch:compile=inductor \|",),
    "aot": (
        r"test_matrix\.py::.*\[([a-z0-9-]+) \| torch:compile=aot \|",
        r"::TestExporters::test_conformance\[artefact-aot-(.+)\]",
    ),
    "onnx": (
        r"::TestExecutors::test_conformance\[results-onnx-(.+)\]",
        r"::TestExporters::test_conformance\[artefact-onnx-(.+)\]",
    ),
    "ipu program": (
        r"::TestExecutors::test_conformance\[results-ipu:target=cpu-(.+)\]",
        r"::TestExporters::test_conformance\[artefact-ipu-(.+)\]",
        r"test_matrix\.py::.*\[([a-z0-9-]+) \| ipu:target=cpu \|",
    ),
    "recompute": (
        r"::TestBackbones::test_conformance\[parts-(.+)\]",
        r"test_partitioned\.py::test_parts_with_random_owners_are_the_whole\[([a-z0-9-]+)-\d-recompute\]",
    ),
    "exchange": (
        r"::TestExecutors::test_conformance\[stages-torch-(.+)\]",
        r"test_partitioned\.py::test_parts_with_random_owners_are_the_whole\[([a-z0-9-]+)-\d-exchange\]",
    ),
    "batch": (
        r"test_many_structures\.py::test_together_is_as_alone\[([a-z0-9]+(?:-jones)?)",
        r"test_([a-z0-9]+)_everywhere\.py::test_together_is_as_alone",
        r"test_matrix\.py::.*\[([a-z0-9-]+) \| torch \| \w+ \| together \|",
    ),
    "train": (
        r"::TestBackbones::test_conformance\[training-(.+)\]",
        r"test_training_stress\.py::test_the_stress_is_the_derivative_by_strain\[(.+)\]",
    ),
    "compress": (r"test_compress\.py::test_compressed_([a-z0-9]+)_is_",),
    "kernel": (
        r"test_fused_(mace)\.py::",
        r"test_([a-z0-9]+)_kernel\.py::",
    ),
}

#: Tests whose name says less than they show.
ALSO: Final = {
    r"test_zoo_pnnl\.py::test_water_clusters_have_its_energies": Cell("schnet", "import"),
    r"test_zoo_published\.py::test_the_real_weights": Cell("m3gnet", "import"),
    r"test_zoo_published\.py::test_mattersim_of_that_size": Cell("m3gnet", "import"),
    r"test_mace_files\.py::": Cell("mace", "import"),
    r"test_nequip_parity\.py::test_an_imported_model": Cell("nequip", "import"),
    r"test_nequip_kernel\.py::.*\[Tables": Cell("nequip", "compress"),
    r"test_tensornet_parity\.py::test_the_real_weights": Cell("tensornet", "import"),
    r"test_tensornet_parity\.py::test_compressed_it_is": Cell("tensornet", "compress"),
    r"test_chgnet\.py::test_files_are_read": Cell("chgnet", "import"),
    r"test_orb\.py::test_imported_models": Cell("orb", "parity"),
    r"test_orb\.py::test_names_of_earlier_releases": Cell("orb", "import"),
    r"test_orb\.py::test_parts_and_batches": Cell("orb", "batch"),
    r"test_published_parity\.py::.*\[chgnet": Cell("chgnet", "parity"),
    r"test_escaip\.py::test_compressed": Cell("escaip", "compress"),
    r"test_escaip\.py::test_energies_forces_and_stress": Cell("escaip", "parity"),
    r"test_escaip_attention\.py::": Cell("escaip", "kernel"),
    r"test_jmp\.py::test_imported_networks": Cell("jmp", "parity"),
    r"test_jmp\.py::test_averaged_weights": Cell("jmp", "import"),
    r"test_jmp\.py::test_parts_and_batches": Cell("jmp", "batch"),
    r"test_jmp\.py::test_one_block_is_itself_on_onnx_runtime": Cell("jmp", "onnx"),
    r"test_jmp\.py::test_compressed": Cell("jmp", "compress"),
    r"test_compress\.py::test_compressed_water_is_water": Cell("schnet", "compress"),
    r"test_fused_convolution\.py::test_(?:the_suite_passes|parts_and_batches)": Cell("schnet", "kernel"),
}

#: Tests that provoke a refusal → the feature; the group is the backbone.
REFUSED: Final = {
    r"test_compress\.py::test_models_without_radial_functions_are_refused\[(.+)\]": "compress",
    r"test_(chgnet)\.py::test_state_of_bonds_is_not_exchanged": "exchange",
    r"test_(jmp)\.py::test_state_of_edges_is_not_exchanged": "exchange",
}

#: Feature → why it is refused, where tests provoke that.
REASONS: Final = {
    "compress": "its stages have no radial functions that a table could replace",
    "exchange": "its stages read values of edges that end at other atoms, and ranks send those of atoms alone",
}

_NO_WEIGHTS: Final = "its parameters are a handful of numbers in its config; nobody publishes weights"
_AS_WRITTEN: Final = "its layers run as they are written: no compiled code of them was made yet"
_FEW_OPERATIONS: Final = "a few operations for each pair: there is nothing to save"

#: What no test has shown, and why.
MISSING: Final = {
    Cell("lennard-jones", "import"): _NO_WEIGHTS,
    Cell("lennard-jones", "kernel"): _FEW_OPERATIONS,
    Cell("escaip", "import"): "no weights of it were released",
    Cell("tensornet", "kernel"): _AS_WRITTEN,
    Cell("chgnet", "kernel"): _AS_WRITTEN,
    Cell("orb", "kernel"): _AS_WRITTEN,
    Cell("jmp", "kernel"): _AS_WRITTEN,
}


def shown_by(test: str) -> Cell | None:
    """What a test shows, by its name; None if it is about something else."""
    for pattern, feature in REFUSED.items():
        if found := re.search(pattern, test):
            return Cell(found[1], feature)
    for pattern, cell in ALSO.items():
        if re.search(pattern, test):
            return cell
    for feature, patterns in SHOWN.items():
        for pattern in patterns:
            if found := re.search(pattern, test):
                return Cell(found[1], feature)
    return None


def refusal(test: str) -> str:
    """Why what a test provokes is refused; nothing if it provokes no refusal."""
    return next((REASONS[feature] for pattern, feature in REFUSED.items() if re.search(pattern, test)), "")

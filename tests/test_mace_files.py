"""Files of five versions of mace-torch, in the configurations of the published models."""

from __future__ import annotations

import lzma

import pytest
from oracles.mace.models import NUMBERS
from oracles.mace.published import PUBLISHED
from oracles.mace.records import FILES, answer_name, read_answers
from oracles.mace.structures import structures
from test_mace_parity import AGREEMENT, require_close

from halocline.potential.load import load
from halocline.zoo.conversion import format_of
from halocline.zoo.imported import import_model


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.endswith("-large")) for name in PUBLISHED]
)
def test_files_of_every_version_give_the_answers_of_that_version(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    chosen, path = PUBLISHED[name][1], tmp_path / f"{name}.model"
    path.write_bytes(lzma.decompress((FILES / f"{name}.model.xz").read_bytes()))
    assert format_of(path) == "mace"
    model, answers = load(import_model(path, "mine")), read_answers(FILES / f"{name}.npz")[0]

    config = model.backbone.config
    assert (config["hidden_degree"], config["cutoff"]) == (chosen["hidden"], chosen["cutoff"])
    assert (config["bessels"], config["density"]) == (chosen["bessels"], "Density" in chosen["first"])
    heads = chosen.get("heads", ("Default",))
    assert config["heads"] == (list(heads) if len(heads) > 1 else [])
    assert len(model.species) == len(NUMBERS)

    asked = [(key, head) for key in ("crystal-0", "molecule-3") for head in heads]
    assert set(answers) == {answer_name(*each) for each in asked}
    for key, head in asked:
        found = model(structures()[key], dtype="float64", device="cpu", head=head if len(heads) > 1 else None)
        require_close(found, answers[answer_name(key, head)], AGREEMENT["float64"])


def test_files_are_of_all_versions_that_published_models_span():
    assert {version for version, _ in PUBLISHED.values()} == {"0.3.3", "0.3.6", "0.3.10", "0.3.13", "0.3.16"}

"""Published models of MACE: pinned, under their licences, fetched and converted on the user's machine."""

from __future__ import annotations

import hashlib
import io
import re

import pytest
from foreign_files import write_archive
from mace_files import write_mace
from test_mace_parity import tensors
from zoo_foreign_models import energies, foreign_fields, write_foreign_index
from zoo_models import files
from zoo_server import serve

import halocline
from halocline.checkpoint import read_header
from halocline.cli.main import main
from halocline.errors import CheckpointError, UsageError, ZooError
from halocline.zoo import command, download
from halocline.zoo.entry import Foreign, Pinned
from halocline.zoo.index import read_index
from halocline.zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("cache")

MODEL = "agnostic-everywhere-L0"
PUBLISHED = {
    name: entry
    for name, entry in read_index().entries.items()
    if isinstance(entry.origin, Foreign) and entry.backbone == "mace"
}
TERMS = "https://example.org/terms"
ACADEMIC = {"code": "MIT", "weights": "LicenseRef-Academic", "terms": TERMS}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small model in a folder of its own."""
    path = tmp_path_factory.mktemp("mace") / "small.model"
    return write_mace(path, *tensors(MODEL))


def fields(written, **changes):
    mace = {"format": "mace", "backbone": "mace", "species": ["H", "C", "O"], "energies": {}}
    return foreign_fields(written.parent, **(mace | changes))


def zoo_of(tmp_path, entry):
    return Zoo(write_foreign_index(tmp_path, entry))


def test_published_models_are_pinned_by_digest():
    assert len(PUBLISHED) == 17
    for name, entry in PUBLISHED.items():
        (file,) = entry.origin.files.values()
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.source.url.startswith(
            ("https://github.com/ACEsuit/", "https://raw.githubusercontent.com/ACEsuit/")
        )
        assert isinstance(file, Pinned) or name == "mace-omat-0-medium"
        assert len(entry.species) == (10 if "off23" in name else 89)
    assert len({file.sha256 for entry in PUBLISHED.values() for file in entry.origin.files.values()}) == 17


def test_weights_for_academic_use_have_terms():
    academic = {name for name, entry in PUBLISHED.items() if entry.terms}
    assert academic == {name for name in PUBLISHED if any(part in name for part in ("omat", "matpes", "off23"))}
    for name, entry in PUBLISHED.items():
        assert entry.licences["weights"] == ("LicenseRef-ASL" if name in academic else "MIT")


def test_nothing_is_fetched_before_the_licence_is_accepted(tmp_path, cache, written):
    with serve() as server:
        server.files = {"/a/small.model": written.read_bytes()}
        zoo = zoo_of(tmp_path, fields(written, licence=ACADEMIC, source=server.url("a/")))
        for ask in (zoo.pull, zoo.path):
            with pytest.raises(UsageError, match=rf"LicenseRef-Academic.*{TERMS}.*--accept-licence"):
                ask("model")
        assert server.ranges == []
        assert not files(cache)
        path = zoo.pull("model", accepted=True)
    assert zoo.path("model") == zoo.pull("model") == path  # what was accepted is not asked again
    assert halocline.load(path).card["licence"] == {"code": "MIT", "weights": "LicenseRef-Academic"}


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "accepted"), [("y\n", True), ("n\n", False), ("", False), ("\n", False)])
def test_who_sits_at_the_terminal_is_asked(tmp_path, written, monkeypatch, capsys, answer, accepted):
    entry = fields(written, licence=ACADEMIC)
    monkeypatch.setattr(command, "Zoo", lambda: zoo_of(tmp_path, entry))
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert main(["zoo", "pull", "model"]) == (0 if accepted else 2)
    err = capsys.readouterr().err
    assert "Do you accept" in err
    assert TERMS in err


def test_without_a_terminal_nothing_is_assumed(tmp_path, written, monkeypatch, capsys):
    entry = fields(written, licence=ACADEMIC)
    monkeypatch.setattr(command, "Zoo", lambda: zoo_of(tmp_path, entry))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["zoo", "pull", "model"]) == 2
    assert main(["zoo", "pull", "model", "--accept-licence"]) == 0
    assert "compared with nothing: no energy of it is published" in capsys.readouterr().err


def test_energies_are_compared_where_one_is_published(tmp_path, written):
    known = energies(written, "mace")
    said = []
    zoo_of(tmp_path, fields(written, energies=known)).pull("model", say=said.append)
    assert "2 reference energies reproduced" in said[0]


def test_a_file_of_unknown_size_is_as_long_as_its_server_says(tmp_path, written, monkeypatch):
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    unmeasured = [{"name": "small.model", "sha256": digest}]
    with serve() as server:
        server.files = {"/a/small.model": written.read_bytes()}
        entry = fields(written, files=unmeasured, source=server.url("a/"))
        zoo = zoo_of(tmp_path, entry)
        assert zoo.entry("model").size is None
        monkeypatch.setattr(download, "LARGEST", 1000)
        with pytest.raises(ZooError, match="a model has 1000 at most"):
            zoo.pull("model")
        monkeypatch.undo()
    assert zoo_of(tmp_path, fields(written, files=unmeasured)).pull("model").is_file()
    other = [{"name": "small.model", "sha256": "0" * 64}]
    with pytest.raises(ZooError, match="SHA-256"):
        zoo_of(tmp_path, fields(written, files=other)).pull("model")


def test_a_model_is_imported_from_its_address_and_its_digest_recorded(written, capsys):
    with serve() as server:
        server.files = {"/b/mine.model": written.read_bytes()}
        assert main(["zoo", "import", server.url("b/mine.model"), "--name", "mine"]) == 0
        address = server.url("b/mine.model")
    printed = capsys.readouterr()
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert digest in printed.err
    recipe = read_header(Zoo().path("mine")).card["recipe"]
    assert recipe["files"] == {"mine.model": digest}
    assert recipe["source"] == address


def test_addresses_that_are_not_encrypted_or_silent_are_refused(written):
    with pytest.raises(ZooError, match="not encrypted"):
        Zoo().add("http://example.org/a.model", "mine")
    with serve() as server:
        with pytest.raises(ZooError, match="without the size"):
            Zoo().add(server.url("cut-unannounced"), "mine")
        with pytest.raises(ZooError, match="404"):
            Zoo().add(server.url("missing"), "mine")


def test_offline_no_address_is_asked(monkeypatch):
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    with pytest.raises(ZooError, match="OFFLINE"):
        Zoo().add("https://example.org/a.model", "mine")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"\x80\x02corb_models.forcefield\nOrb\n)R.", "holds 'orb_models.forcefield.Orb', which is not read"),
        (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "holds 'posix.system', which is not read"),
        (b"\x80\x02c__torch__.mace.modules\nMACE\n)\x81.", "'__torch__.mace.modules.MACE', which is not read"),
        (b"\x80\x02]K\x01a.", "nor a state dictionary of PNNL's SchNet: it holds a list."),
        (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "it holds a dictionary of 'a'."),
        (b"\x80\x02cmace.modules.models\nAtomicDipolesMACE\n)R.", "must be a ScaleShiftMACE or a MACE"),
    ],
)
def test_other_pickles_are_named_with_the_kinds_that_are_read(tmp_path, program, words):
    path = write_archive(tmp_path / "m.pt", program)
    with pytest.raises(CheckpointError, match=re.escape(words)) as error:
        Zoo().add(path, "mine")
    assert "MACE" in str(error.value)

"""The digest of a plugin's source changes with whatever Python would execute, and with nothing else."""

import os
import sys

import pytest

from halocline.plugin.source import source_digest

MODULE = "a_source.deep.registration"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a module below it, which nobody has imported."""
    folder = tmp_path / "site" / "a_source"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / "deep" / "registration.py").write_text("x = 1")
    (folder / "other.py").write_text("y = 1")
    (folder / "table.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def edit_module(package):
    (package / "other.py").write_text("y = 2")


def add_module(package):
    (package / "deep" / "new.py").write_text("")


def rename_module(package):
    (package / "other.py").rename(package / "another.py")


def edit_data(package):
    (package / "table.json").write_text('{"a": 1}')


@pytest.mark.parametrize("change", [edit_module, add_module, rename_module, edit_data])
def test_digest_changes_with_the_source(package, change):
    before = source_digest(MODULE)
    assert before
    assert source_digest(MODULE) == before
    change(package)
    assert source_digest(MODULE) != before


def test_nothing_is_imported_and_caches_do_not_count(package):
    before = source_digest(MODULE)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "other.cpython-313.pyc").write_bytes(b"bytes")
    assert source_digest(MODULE) == before
    assert "a_source" not in sys.modules


def test_place_does_not_count(package, tmp_path, monkeypatch):
    (package / "table.json").unlink()
    before = source_digest(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "moved")
    (tmp_path / "site").rename(tmp_path / "moved")
    assert source_digest(MODULE) == before


def test_editable_installation_is_followed(package, tmp_path, monkeypatch):
    """A link stands for every way in which the files may lie elsewhere."""
    monkeypatch.syspath_prepend(tmp_path / "linked")
    (tmp_path / "linked").mkdir()
    package.rename(tmp_path / "sources")
    (tmp_path / "linked" / "a_source").symlink_to(tmp_path / "sources")
    before = source_digest(MODULE)
    assert before
    (tmp_path / "sources" / "other.py").write_text("y = 3")
    assert source_digest(MODULE) != before


def test_namespace_is_not_taken_for_a_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mine", "theirs"):
        (tmp_path / "a_company" / name).mkdir(parents=True)
        (tmp_path / "a_company" / name / "__init__.py").write_text(name)
    before = source_digest("a_company.mine.registration")
    (tmp_path / "a_company" / "theirs" / "__init__.py").write_text("changed")
    assert source_digest("a_company.mine.registration") == before
    (tmp_path / "a_company" / "mine" / "__init__.py").write_text("changed")
    assert source_digest("a_company.mine.registration") != before


def test_damage_is_no_obstacle(package):
    (package / "circle").symlink_to(package)
    (package / "dangling.py").symlink_to("nowhere")
    os.mkfifo(package / "pipe.py")
    assert source_digest(MODULE)


@pytest.mark.parametrize("module", ["a_module_that_nobody_has", "sys"])
def test_module_without_files_has_no_digest(module):
    assert source_digest(module) == ""

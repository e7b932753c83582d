"""Where there is no home, all works that keeps nothing, and the rest says what to name."""

import os
import subprocess
import sys

import platformdirs
import pytest
from zoo_models import write_index

from halocline.cache import cache_folder, find_cache
from halocline.errors import UsageError, ZooError
from halocline.zoo.store import Zoo

#: To the first one Python says what it says to a user whom the system does not know.
HOMES = ["~", "", "FILE"]
ARGON = "lennard-jones-argon"


@pytest.fixture
def home(request, tmp_path, monkeypatch):
    for name in ("HALOCLINE_CACHE_DIR", "XDG_CACHE_HOME", "HALOCLINE_MODEL_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").write_text("")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    value = request.param.replace("FILE", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", value)
    return value


@pytest.mark.parametrize("home", HOMES, indirect=True)
def test_commands_that_keep_nothing(home, tmp_path):
    (tmp_path / "argon.xyz").write_text("2\n\nAr 0 0 0\nAr 0 0 4\n")
    words = ["run", str(tmp_path / "argon.xyz"), "-m", ARGON]
    done = subprocess.run(
        [sys.executable, "-m", "halocline", *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "work").iterdir()) == []


def no_home(name: str) -> str:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("home", ["/dev/null", "~"], indirect=True)
def test_what_keeps_something_asks_for_a_folder(home, tmp_path, monkeypatch):
    if home == "~":
        monkeypatch.setattr(platformdirs, "user_cache_dir", no_home)
    assert find_cache() is None
    with pytest.raises(UsageError, match="HALOCLINE_CACHE_DIR"):
        cache_folder()
    (tmp_path / "model").write_bytes(b"?")
    zoo = Zoo(write_index(tmp_path, source=f"file:{tmp_path}/model"))
    assert not zoo.present("model")
    with pytest.raises(UsageError, match="HALOCLINE_CACHE_DIR"):
        zoo.pull("model")
    assert ARGON in Zoo().names()
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("home", ["FILE", "/dev/null/x"], indirect=True)
def test_a_home_that_is_no_folder_is_named(home, tmp_path):
    (tmp_path / "model").write_bytes(b"?")
    zoo = Zoo(write_index(tmp_path, source="https://example.org/model"))
    with pytest.raises((UsageError, ZooError), match=f"(?s){home}.*HALOCLINE_CACHE_DIR"):
        zoo.pull("model", tmp_path / "model")


@pytest.mark.parametrize("home", ["/nonexistent"], indirect=True)
@pytest.mark.parametrize("variable", ["HALOCLINE_CACHE_DIR", "HALOCLINE_MODEL_PATH"])
def test_homes_of_nobody_are_named(home, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "~nosuchuser/models")
    zoo = Zoo(write_index(tmp_path))
    with pytest.raises(UsageError, match=f"{variable}.*~nosuchuser/models"):
        zoo.present("model")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", "~/kept")
    assert find_cache() == cache_folder() == tmp_path / "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can look into every folder")
def test_a_cache_that_cannot_be_looked_into(tmp_path, monkeypatch, caplog):
    (tmp_path / "cache" / "imported").mkdir(parents=True, mode=0o000)
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    assert ARGON in Zoo().names()
    assert "imported models are not seen" in caplog.text

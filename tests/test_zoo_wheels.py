"""A file inside a wheel arrives from an index that is named, by few bytes, or not at all and with a reason."""

import json
import random
import zipfile

import pytest
from foreign_files import write_matgl
from wheel_files import ANY, ELSEWHERE, MEMBER, SOURCE, index_server, write_page, write_wheel
from zoo_foreign_models import energies, foreign_fields, write_foreign_index
from zoo_models import CONTENT, STORED, files, write_index

from halocline.errors import UsageError, ZooError
from halocline.zoo.source import Wheel, parse_source
from halocline.zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("cache")

#: Of the length of the model, and another one.
OTHER = CONTENT[:-1] + b"?"


@pytest.fixture
def zoo(tmp_path):
    return Zoo(write_index(tmp_path, source=SOURCE))


@pytest.fixture
def server():
    with index_server() as server:
        yield server


def refused(zoo, **how) -> str:
    """What an attempt says that leaves nothing, in one sentence and one line."""
    with pytest.raises(ZooError) as error:
        zoo.pull("model", **how)
    said = str(error.value)
    assert "\n" not in said
    assert not zoo.present("model")
    return said


def test_a_source_names_package_version_and_member():
    assert parse_source("pypi:a-b_c==1.2.post1/d/e.pt") == Wheel("a-b_c", "1.2.post1", "d/e.pt")


@pytest.mark.parametrize(
    "text",
    [
        "pypi:", "pypi:a", "pypi:a==1", "pypi:a==1/", "pypi:a/b", "pypi:--index==1/b", "pypi:a==--x/b",
        "pypi:a==1/../b",
        "pypi:a==1//b", "pypi:a==1/b/..", "pypi:a>=1/b", "pypi:a==1.*/b", "pypi:a==1 /b",
        "pypi:a[x]==1/b", "pypi:a==1/b\n",
    ],
)  # fmt: skip
def test_hostile_sources(text):
    with pytest.raises(ZooError):
        parse_source(text)


@pytest.mark.parametrize("kind", ["folder", "page"])
@pytest.mark.parametrize("tag", [ANY, ELSEWHERE])
def test_an_index_in_a_folder(tmp_path, cache, zoo, monkeypatch, kind, tag):
    wheel = write_wheel(tmp_path / "simple" / "halo-models", tag)
    write_wheel(wheel.parent, version="1.20", members={})
    if kind == "page":
        write_page(wheel)
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    counts = []
    path = zoo.pull("model", index=f"file://{tmp_path}/simple", progress=counts.append)
    assert path == cache / STORED
    assert path.read_bytes() == CONTENT
    assert files(cache) == {STORED}
    assert sum(counts) == len(CONTENT)


@pytest.mark.parametrize("form", ["html", "json"])
def test_only_the_member_comes_where_the_server_has_ranges(tmp_path, zoo, server, form):
    random.seed(1)
    members = {"halo_models/other": random.randbytes(1_000_000), MEMBER: CONTENT}
    wheel = write_wheel(tmp_path / "w", members=members, how=zipfile.ZIP_STORED)
    server.offer(wheel)
    if form == "json":
        page = {"meta": {"api-version": "1.0"}, "files": [{"filename": wheel.name, "url": f"/files/{wheel.name}"}]}
        server.files["/simple/halo-models/"] = json.dumps(page).encode()
    assert zoo.pull("model", index=server.index()).read_bytes() == CONTENT
    assert [asked is not None for _, asked, _ in server.asked] == [False, True, True]  # page, end, member
    assert server.sent < len(CONTENT) + 150_000 < wheel.stat().st_size  # 2**17 of the end, and little else


def test_the_whole_wheel_comes_where_it_has_none(tmp_path, cache, zoo, server):
    server.offer(write_wheel(tmp_path / "w"))
    server.has_ranges = False
    counts = []
    assert zoo.pull("model", index=server.index(), progress=counts.append).read_bytes() == CONTENT
    assert files(cache) == {STORED}
    assert sum(counts) == len(CONTENT)


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_member_with_another_digest(tmp_path, zoo, server, has_ranges):
    server.offer(write_wheel(tmp_path / "w", members={MEMBER: OTHER}))
    server.has_ranges = has_ranges
    said = refused(zoo, index=server.index())
    assert f"{MEMBER} in halo_models-1.2-{ANY}.whl was thrown away" in said
    assert "SHA-256" in said


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({MEMBER: CONTENT + b"?"}, "was not taken: it has"),
        ({MEMBER: bytes(50_000_000)}, "was not taken: it has"),
        ({"other": CONTENT}, f"There is no file {MEMBER} in halo_models-1.2"),
    ],
    ids=["longer", "bomb", "missing"],
)
def test_another_member(tmp_path, zoo, server, members, words):
    server.offer(write_wheel(tmp_path / "w", members=members))
    assert words in refused(zoo, index=server.index())
    assert server.sent < 300_000


def test_a_version_that_is_not_there(tmp_path, zoo, server):
    server.offer(write_wheel(tmp_path / "w", version="1.1"))
    assert f"no wheel of halo-models 1.2 at {server.index()}" in refused(zoo, index=server.index())
    server.files.clear()
    assert f"no wheel of halo-models 1.2 at {server.index()}" in refused(zoo, index=server.index())
    assert "no wheel" in refused(zoo, index=f"file:{tmp_path}")


def test_an_index_that_needs_credentials(tmp_path, zoo, server):
    server.offer(write_wheel(tmp_path / "w"))
    server.login = "me:s3cret"
    for login in ("", "me:wr0ng"):
        said = refused(zoo, index=server.index(login))
        assert f"index {server.index()} needs credentials (status 401)" in said
        assert "wr0ng" not in said
    assert zoo.pull("model", index=server.index("me:s3cret")).read_bytes() == CONTENT


def test_credentials_go_to_no_other_host(tmp_path, zoo, server):
    with index_server() as other:
        other.offer(write_wheel(tmp_path / "w"))
        server.login = "me:s3cret"
        server.moved = {"/simple/halo-models/": f"{other.index()}/halo-models/"}
        assert zoo.pull("model", index=server.index("me:s3cret")).read_bytes() == CONTENT
        assert {login for _, _, login in other.asked} == {None}
        assert all(login for _, _, login in server.asked)


def test_an_index_that_is_not_reachable(zoo):
    with index_server() as server:
        index = server.index("me:s3cret")
    said = refused(zoo, index=index)
    assert f"index {server.index()} cannot be reached (Connection refused)" in said
    assert "--index URL" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("index", ["pypi.org", "http://example.org/simple", "file:a", "", "https://me:s3cret@"])
def test_what_is_no_index(zoo, index):
    said = refused(zoo, index=index)
    assert "https://pypi.org/simple" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("page", [b"{}", b"\xff<", b'{"files": 1}', b"[" * 100_000], ids=str)
def test_pages_that_are_none(zoo, server, page):
    server.files["/simple/halo-models/"] = page
    assert "halo-models" in refused(zoo, index=server.index())


def test_a_wheel_by_hand(tmp_path, zoo):
    bad = tmp_path / "damaged.whl"
    content = bytearray(write_wheel(tmp_path / "w", ELSEWHERE).read_bytes())
    for place in (0, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:place])
        assert "no wheel that can be read" in refused(zoo, source=bad)
    central = content.index(b"PK\x01\x02", content.index(MEMBER.encode()))
    content[content.index(MEMBER.encode(), central) - 46 + 8] |= 1  # the flag of encrypted files
    bad.write_bytes(content)
    assert "no wheel that can be read" in refused(zoo, source=bad)
    assert zoo.pull("model", tmp_path / "w" / f"halo_models-1.2-{ELSEWHERE}.whl").read_bytes() == CONTENT


def test_the_network_can_be_forbidden(monkeypatch, zoo):
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    for index in (None, "https://pypi.org/simple"):
        assert "pip download --no-deps halo-models==1.2" in refused(zoo, index=index)


def test_an_index_is_for_packages_only(tmp_path):
    with pytest.raises(UsageError, match="comes from no package"):
        Zoo(write_index(tmp_path)).pull("model", index="https://pypi.org/simple")
    with pytest.raises(UsageError, match="give one of them"):
        Zoo(write_index(tmp_path, source=SOURCE)).pull("model", tmp_path, index="https://pypi.org/simple")


def test_a_model_of_another_package(tmp_path):
    folder = write_matgl(tmp_path / "origin")
    write_wheel(
        tmp_path / "simple" / "halo-models",
        members={f"halo_models/m3gnet/{file.name}": file.read_bytes() for file in folder.iterdir()},
    )
    fields = foreign_fields(folder, source="pypi:halo-models==1.2/halo_models/m3gnet/", energies=energies(folder))
    zoo = Zoo(write_foreign_index(tmp_path, fields))
    assert zoo.pull("model", index=f"file:{tmp_path}/simple") == zoo.verify("model")
    fields["files"][0].pop("size")
    with pytest.raises(ZooError, match="size"):
        Zoo(write_foreign_index(tmp_path, fields))

"""The report of an audit: one page that needs nothing beside it, whatever names and texts it holds."""

import html
import json
import re
import shutil
import subprocess

import pytest
from matplotlib.figure import Figure

from halocline.audit.report.page import POLICY, page
from halocline.audit.report.section import Picture, Section, Table, number
from halocline.figures import save_figure

HOSTILE = "<script>document.title = 'taken'</script> & \"quoted\" \x1b[31m é–Å \ufffe"
#: What the test adds to its own copy of a page, in which that one script may run: it tells what the browser sees.
PROBE = """<script>window.onload = () => {
const images = [...document.images].map(image => [image.naturalWidth, image.complete]);
const loaded = performance.getEntriesByType('resource').map(entry => entry.name.slice(0, 5));
const cells = [...document.querySelectorAll('td')].map(cell => cell.textContent);
const told = {title: document.title, images, loaded, cells, width: document.documentElement.scrollWidth};
document.body.dataset.told = JSON.stringify(told); };</script>"""
WIDTH = 900


@pytest.fixture
def report(tmp_path):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [1, 0])
    save_figure(figure, tmp_path / "there.png")
    wide = Table("Wide", [f"column {i}" for i in range(30)], [[f"{i}.5" for i in range(30)]])
    section = Section(
        f"Section {HOSTILE}",
        [HOSTILE],
        [Table("Rows", ("name", "value"), [(HOSTILE, "1.5"), ("none", "–")]), Table("Empty", ("a",), []), wide],
        [Picture("there.png", "A line."), Picture("missing.png", "Nothing.")],
    )
    return page("Audit of a model", {"data": HOSTILE}, [section], tmp_path)


def test_nothing_is_loaded_from_elsewhere(report):
    text = report.decode()
    assert POLICY in html.unescape(text)
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert "http://" not in text
    assert "https://" not in text
    assert "Empty" not in text
    assert "missing.png" not in text


def test_texts_are_shown_and_not_obeyed(report):
    text = report.decode()
    assert "<script" not in text
    assert "&lt;script&gt;document.title" in text
    assert "\x1b" not in text
    assert "\\x1b[31m" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.00"), (12.345, "12.35"), (0.012345, "0.012"), (-3e7, "-3e+07"), (float("inf"), "inf")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium; skips the test, by name, where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium is on the PATH, so the report is not opened in a browser")


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_shows_it_without_a_network(report, tmp_path, chromium):
    text = report.decode()
    allowed = text.replace(POLICY.replace("'", "&#x27;"), POLICY).replace(
        POLICY, f"{POLICY}; script-src 'unsafe-inline'"
    )
    path = tmp_path / "report.html"
    path.write_text(allowed.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    command = [
        chromium,
        "--headless",
        "--no-sandbox",  # of no use in containers, where tests run as root
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={WIDTH},1200",
        "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere
        "--enable-logging=stderr",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(html.unescape(re.search(r'data-told="([^"]*)"', done.stdout)[1]))
    assert told["title"] == "Audit of a model"  # and no script of a name has run
    assert told["images"] == [[450, True]]
    assert all(name == "data:" for name in told["loaded"])
    assert told["width"] <= WIDTH  # wide tables scroll by themselves
    assert sum("<script>document.title" in cell for cell in told["cells"]) == 2
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []

"""The documentation lists the operations that are translated to ONNX, as they are."""

import re
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the ONNX backend needs onnx")

from halocline.backends.onnx.operators import supported

PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"


def listed():
    """What the page has to say; put it there when operations come or go."""
    return textwrap.fill(", ".join(f"`{name}`" for name in supported()), width=115)


def test_page_lists_what_is_translated():
    (found,) = re.findall(r"<!-- operations -->\n(.*?)<!-- /operations -->", PAGE.read_text(), re.DOTALL)
    assert found.strip() == listed()

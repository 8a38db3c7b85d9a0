"""docs/inside.md: its examples give what they say."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "inside.md"


def test_the_examples_give_what_they_say():
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert found.failed == 0
    assert found.attempted > 25


def test_no_block_of_python_is_left_out():
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert all(block.startswith(">>> ") and block.endswith("\n\n") for block in blocks)
    assert blocks

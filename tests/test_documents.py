"""README.md and docs/*.md: examples give what they say, code without output is Python, links lead somewhere."""

import ast
import doctest
import re

import pytest

from documents import PAGES, blocks

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
DOCS = [page for page in PAGES if page.name != "README.md"]  # whose examples are run as a reader would
WITH_EXAMPLES = [page for page in DOCS if any(block.startswith(">>> ") for block in blocks(page, "python"))]


def named(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


@named(WITH_EXAMPLES)
def test_the_examples_give_what_they_say(page):
    found = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert found.failed == 0
    assert found.attempted > 10


@named(PAGES)
def test_every_block_of_python_is_an_example_or_python(page):
    for block in blocks(page, "python"):
        if block.startswith(">>> "):
            assert block.endswith("\n\n") or page not in WITH_EXAMPLES  # or doctest takes the fence for output
        else:
            ast.parse(block)
            assert ">>> " not in block


def anchors(text):
    titles = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@named(PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text("utf-8")), target

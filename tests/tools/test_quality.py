"""Fewer bits cost little: the aims of docs/quantisation.md on held-out text, and the page itself."""

from __future__ import annotations

import doctest
import math
import re
import shlex
from pathlib import Path

import pytest

import nextword
from nextword.cli import main as cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quantisation.md"
TEXT = PAGE.read_text(encoding="utf-8")
AIMS = {"bfloat16": 0.1, "int8": 0.3, "int4": 4.0}  # percent


def surprise(lm, texts):
    """The mean of -log p of a token."""
    found = [lm.score(text) for text in texts]
    return -sum(score.logprob for score in found) / sum(score.count for score in found)


@pytest.fixture(scope="module")
def exact(demo):
    """The float32 model's surprise, by the texts."""
    return {}


@pytest.mark.parametrize("dtype", AIMS)
def test_perplexity_on_held_out_books_stays_within_the_aim(shared, demo, exact, dtype):
    books = sorted(shared("stories/valid").glob("*.txt"))
    texts = tuple(path.read_text(encoding="utf-8")[5000:13000] for path in books)
    assert len(texts) == 3
    if texts not in exact:
        exact[texts] = surprise(demo, texts)
    change = 100 * (math.exp(surprise(nextword.load(dtype=dtype), texts) - exact[texts]) - 1)
    assert change <= AIMS[dtype]


def test_the_table_of_the_page_holds_its_aims():
    found = dict(re.findall(r"^\| (\w+) \| \d+\.\d{3} \| ([+-]\d+\.\d+) % \|", TEXT, re.MULTILINE))
    assert found.keys() == {"float32", *AIMS}
    assert all(float(found[dtype]) <= aim for dtype, aim in AIMS.items())


def test_the_examples_of_the_page_give_what_they_say(threads):
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.failed == 0
    assert found.attempted > 10


def test_no_block_of_python_is_left_out():
    blocks = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert block.startswith(">>> ")
        assert block.endswith("\n\n")  # or doctest takes the fence for output


def test_its_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in "".join(re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)).splitlines():
        name, *arguments = shlex.split(line)
        assert name == "nextword"
        assert cli.main(arguments) == 0
        assert capsys.readouterr().out


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (PAGE.parent / target.split("#")[0]).is_file()

"""docs/lectures.md: its examples give what they say and its commands run."""

from __future__ import annotations

import doctest
import math
import re
import shlex
from pathlib import Path

import pytest

from nextword.cli import main as cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lectures.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_examples_give_what_they_say():
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert found.failed == 0
    assert found.attempted > 60


def test_no_block_of_python_is_left_out():
    for block in blocks("python"):
        assert block.startswith(">>> ")
        assert block.endswith("\n\n")  # or doctest takes the fence for output


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(capsys, command):
    name, *arguments = shlex.split(command)
    assert name == "nextword"
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out


def test_the_lectures_numbers_are_those_of_plain_arithmetic():
    logits = [3.23, -7.1, 5.57, 0.39, 2.4]
    for line in re.findall(r"^(\d[.\d]*) (\[.*\])$", TEXT, re.MULTILINE):
        powers = [math.exp((x - max(logits)) / float(line[0])) for x in logits]
        assert [round(x / sum(powers), 4) for x in powers] == [float(x) for x in line[1][1:-1].split(",")]
    apple = math.exp(1) / (math.exp(1) + math.exp(0.71))
    assert (round(apple, 2), round(1 - apple, 2)) == (0.57, 0.43)
    assert [round(0.57 * a + 0.43 * o, 2) for a, o in zip((2, 2), (0, 3), strict=True)] == [1.14, 2.43]


def anchors(text):
    titles = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        page, _, anchor = target.partition("#")
        path = PAGE.parent / page if page else PAGE
        assert path.is_file()
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8"))

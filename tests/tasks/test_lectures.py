"""docs/lectures.md: its commands run, and its figures are those of plain arithmetic."""

from __future__ import annotations

import math
import re
import shlex

import pytest

from documents import ROOT, blocks
from nextword.cli import main as cli

PAGE = ROOT / "docs" / "lectures.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]


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

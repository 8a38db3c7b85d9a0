"""terminal.py: progress, escapes, JSON and what an output can show."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time

import numpy as np
import pytest

from nextword.cli import terminal
from stand_in import Terminal


def test_progress_is_silent_below_a_second(capsys):
    with terminal.progress("work"):
        pass
    assert capsys.readouterr().err == ""


def test_progress_is_one_line_in_a_file(capsys):
    with terminal.progress("work"):
        time.sleep(1.1)
    assert capsys.readouterr().err == "nextword: work ...\n"


def test_progress_counts_and_cleans_up_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", err := Terminal())
    with terminal.progress("work"):
        end = time.monotonic() + 30
        while not err.getvalue() and time.monotonic() < end:
            time.sleep(0.05)
    assert re.match(r"\rwork \.\.\. \d+ s", err.getvalue())
    assert err.getvalue().endswith("\r\x1b[K")


def test_printable_escapes_what_a_terminal_would_act_on():
    assert terminal.printable("a\n\x1b[1mé".encode()) == r"a\n\x1b[1mé"
    assert terminal.printable("é".encode()[:1]) == r"\xc3"


def test_json_is_plain_ascii_where_the_output_is_no_utf8(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    terminal.print_json(text="é", ids=np.array([1]))
    out.flush()
    assert json.loads(out.buffer.getvalue()) == {"text": "é", "ids": [1]}


def test_json_has_null_for_what_is_no_number(capsys):
    wrong = [math.inf, -math.inf, math.nan]
    terminal.print_json(plain=wrong, deep={"a": [({"b": x},) for x in wrong]}, array=np.array(wrong),
                        single=[np.float32(x) for x in wrong], whole=np.int64(3), yes=np.bool_(True),
                        rest=[0.5, "x", None])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "plain": [None] * 3, "deep": {"a": [[{"b": None}]] * 3}, "array": [None] * 3, "single": [None] * 3, "whole": 3,
        "yes": True, "rest": [0.5, "x", None],
    }  # fmt: skip


def test_can_print_knows_the_encoding(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert not terminal.can_print("█")
    assert terminal.can_print("#")


def test_progress_with_numbers_is_a_bar_with_percentage_and_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", err := Terminal())
    with terminal.progress("work") as tell:
        tell(1, 4)
        time.sleep(1.5)
    assert "25%" in err.getvalue()
    assert " left" in err.getvalue()
    assert err.getvalue().endswith("\r\x1b[K")


def test_a_progress_line_counts_down():
    assert terminal.progress_line("work", 1, 4, 10).endswith(" 25%  0:30 left")
    assert terminal.progress_line("work", 1, 1000, 10).endswith("  0%  2:46:30 left")
    assert terminal.progress_line("work", 0, 4, 10).endswith("  0%")
    assert terminal.progress_line("work", 0, 0, 10).endswith("100%  0:00 left")


def test_a_bar_fills_its_share(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    assert terminal.bar(0.5, 8) == terminal.bar(0.5, 8, out) == "████"
    assert terminal.bar(1 / 16, 8) == "▌"
    assert terminal.bar(0.5, 8, io.TextIOWrapper(io.BytesIO(), encoding="ascii")) == "####"

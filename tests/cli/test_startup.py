"""startup.py: what holds while the command is being imported; test_cli_streams.py tries it as a process."""

from __future__ import annotations

import os
import signal
import sys
from types import SimpleNamespace

import pytest

from nextword.cli import startup


@pytest.mark.parametrize(("argv", "started", "expected"), [
    (["/usr/bin/nextword", "x"], ["python", "/usr/bin/nextword", "x"], True),
    (["nextword.exe"], ["nextword.exe"], True),
    (["-m", "x"], ["python", "-m", "nextword", "x"], True),
    (["-m", "x"], ["python", "-X", "dev", "-Im", "nextword", "x"], True),
    (["-m"], ["python", "-m", "pytest", "nextword"], False),
    (["-c"], ["python", "-c", "import nextword"], False),
    (["my_nextword.py"], ["python", "my_nextword.py"], False),
    ([""], ["python"], False),
    ([], [], False),
])  # fmt: skip
def test_the_command_is_known_by_how_it_was_started(monkeypatch, argv, started, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", started)
    assert startup.is_command() is expected


def test_watching_leaves_a_process_that_ignores_ctrl_c_so(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", None)
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler, after in ((signal.SIG_IGN, signal.SIG_IGN), (signal.default_int_handler, startup.leave)):
            signal.signal(signal.SIGINT, handler)
            startup.watch()
            assert signal.getsignal(signal.SIGINT) is after
    finally:
        signal.signal(signal.SIGINT, before)
    assert sys.excepthook is startup.tell


def test_watching_takes_the_numbers_of_closed_streams(monkeypatch):
    opened = []

    def closed(number):
        raise OSError

    monkeypatch.setattr(sys, "excepthook", None)
    monkeypatch.setattr(startup, "os", SimpleNamespace(
        fstat=closed, open=lambda *given: opened.append(given), devnull="null", O_RDONLY="r", O_WRONLY="w"))
    before = signal.getsignal(signal.SIGINT)
    try:
        startup.watch()
    finally:
        signal.signal(signal.SIGINT, before)
    assert opened == [("null", "r"), ("null", "r"), ("null", "w")]


@pytest.mark.parametrize("error", [ValueError("two\nlines"), ImportError("two lines"), OSError("two lines")])
def test_what_hinders_the_import_is_one_line(capsys, monkeypatch, error):
    startup.tell(type(error), error, None)
    assert capsys.readouterr() == ("", "nextword: error: two lines\n")
    monkeypatch.setattr(sys, "stderr", None)
    startup.tell(type(error), error, None)
    assert capsys.readouterr().out == ""


def test_an_error_of_the_program_keeps_its_traceback(capsys):
    startup.tell(ZeroDivisionError, ZeroDivisionError("x"), None)
    assert "ZeroDivisionError: x" in capsys.readouterr().err


def test_ctrl_c_leaves_at_once(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    startup.tell(KeyboardInterrupt, KeyboardInterrupt(), None)
    startup.leave(signal.SIGINT, None)
    assert codes[0] == codes[-1] == 130

"""cli/chat.py: a conversation through a pipe and in a terminal, its commands, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time

import pytest

import nextword
from documents import ROOT, blocks
from nextword.cli import main as cli

FIXED = ["--temperature", "0", "--max-new-tokens", "4"]


@pytest.fixture
def chat(monkeypatch, capsys):
    """`chat(text, *arguments)`: exit code, stdout and stderr where stdin holds a text."""

    def call(text, *arguments):
        raw = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        code = cli.main(["chat", *FIXED, *arguments])
        return code, *capsys.readouterr()

    return call


def answers(*texts, system=""):
    talk = nextword.load().conversation(system)
    return [("".join(talk.say(text, temperature=0, max_new_tokens=4))).lstrip() + "\n" for text in texts]


def test_each_line_of_a_pipe_is_a_message(chat):
    code, out, err = chat("\ufeffWho are you?\n\n   \r\nAnd then?")
    assert (code, out, err) == (0, "".join(answers("Who are you?", "And then?")), "")


def test_messages_and_a_system_are_arguments_too(chat):
    code, out, _ = chat("And then?\n", "--message", "Who are you?", "--system", "Be kind.")
    assert (code, out) == (0, "".join(answers("Who are you?", "And then?", system="Be kind.")))


def test_a_backslash_at_the_end_goes_on_and_two_slashes_are_one(chat):
    assert chat("Who\\\nare you?\n//Why?\\")[1] == "".join(answers("Who\nare you?", "/Why?\n"))


def test_the_commands_do_what_they_say(chat, tmp_path):
    path = tmp_path / "talk.json"
    lines = ["Who are you?", f"/save {path}", "/reset", "Why?", "/system Be kind.", "/reset", "Why?", f"/load {path}",
             "And then?", "/exit", "No"]
    code, out, err = chat("\n".join(lines))
    right = [*answers("Who are you?"), *answers("Why?"), *answers("Why?", system="Be kind."),
             answers("Who are you?", "And then?")[1]]
    assert (code, out, err) == (0, "".join(right), "")
    assert json.loads(path.read_text())["messages"][0] == {"role": "user", "content": "Who are you?"}
    assert "/system TEXT" in chat("/help\n")[1]


@pytest.mark.parametrize(("text", "said"), [
    ("/no\n", "there is no /no; /help tells the commands, and //TEXT says /TEXT"), ("/save\n", "/save needs a FILE"),
    ("/load /nowhere/talk.json\n", "No such file"), (b"\xff\n", "line 1 of stdin is not UTF-8 text from byte 0 on"),
    ("the king " * 500, "--message must be at most 509 tokens"),
])  # fmt: skip
def test_what_is_wrong_in_a_pipe_is_an_error(chat, text, said):
    code, out, err = chat(text)
    assert (code, out.strip()) == (1, "")
    assert err.startswith("nextword: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_full_window_is_told(chat):
    code, out, err = chat("the king lived in a castle by the sea\n" * 60)
    assert code == 0
    assert out.count("\n") >= 60
    assert "nextword: the window of 512 tokens is full: the first" in err


def test_a_model_is_named_by_its_place_or_by_the_flag(chat):
    assert chat("A\n", "nextword:demo")[1] == chat("A\n", "--model", "nextword:demo")[1] == answers("A")[0]
    assert "nowhere" in chat("A\n", "/nowhere/model")[2]


class Screen:
    """`nextword chat` in a terminal of its own."""

    def __init__(self, *arguments):
        main, side = pty.openpty()
        # The slowest kernels, so that an answer takes a while.
        environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "NEXTWORD_ISA": "baseline"}
        self.process = subprocess.Popen([sys.executable, "-m", "nextword", "chat", *arguments], stdin=side, stdout=side,
                                        stderr=side, env=environment, start_new_session=True)
        os.close(side)
        self.main, self.shown = main, ""

    def until(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.shown:
            ready, _, _ = select.select([self.main], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} does not come; there is {self.shown!r}"
            self.shown += os.read(self.main, 4096).decode()
        before, _, self.shown = self.shown.partition(text)
        return before

    def interrupt_until(self, text):
        """Press Ctrl-C, and again: Python forgets one that comes between showing a prompt and waiting at it."""
        for _ in range(60):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(AssertionError):
                return self.until(text, seconds=1)
        raise AssertionError(f"{text!r} does not come; there is {self.shown!r}")

    def type(self, text):
        os.write(self.main, text.encode())


def test_in_a_terminal_ctrl_c_stops_an_answer_and_ctrl_d_ends_it():
    screen = Screen("--seed", "1", "--min-new-tokens", "400", "--temperature", "0")
    try:
        screen.until("> ")
        screen.type("Tell me a long story\n")
        screen.until("story")
        screen.until(" ")  # of the answer
        screen.process.send_signal(signal.SIGINT)
        told = screen.until("[stopped]")
        assert len(told) < 2000
        screen.until("> ")
        screen.interrupt_until("Ctrl-D ends")  # at the prompt it drops the line
        screen.until("> ")
        screen.type("/nonsense\n")
        screen.until("nextword: error: there is no /nonsense")
        screen.until("> ")
        screen.type("\x04")
        assert screen.process.wait(30) == 0
    finally:
        screen.process.kill()
        screen.process.wait()
        os.close(screen.main)


def test_the_pages_commands_do_what_they_say():
    """Those of docs/chat.md that a pipe gives their messages."""
    lines = [line for line in "".join(blocks(ROOT / "docs" / "chat.md", "sh")).splitlines()
             if line.endswith("/dev/null") or line.startswith("printf")]
    assert len(lines) == 2
    for line, count in zip(lines, (2, 1), strict=True):
        command = line.replace("nextword", f"{shlex.quote(sys.executable)} -m nextword")
        found = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
        assert (found.returncode, found.stderr) == (0, "")
        assert found.stdout.count("\n") >= count

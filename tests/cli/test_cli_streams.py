"""All commands through closed, piped, full, non-UTF-8 and missing streams: cli/main.py, streams.py, startup.py."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
from no_server import serves_nobody

import nextword
from nextword.cli import bench as bench_cli
from nextword.cli import main as cli
from nextword.cli import terminal, user_text
from nextword.cli.arguments import OPENINGS
from nextword.tasks.example_encoder import write_example
from nextword.tasks.vector_index import VectorIndex

DEMO = str(nextword.DEMO)
COMMANDS = {
    "generate": ["--max-new-tokens", "2", "--seed", "1", "Es war König"],
    "next": ["--top", "2", "Es war König"],
    "chat": ["--max-new-tokens", "12", "--seed", "1", "--logit-bias", "ö=50", "--message", "Es war König"],
    "choose": ["König", " er", " Äpfel"],
    "score": ["--tokens", "Es war König"],
    "tokenize": ["Es war König"],
    "doctor": [],
    "bench": ["--model", DEMO, "--tokens", "1", "--threads", "1", "--dtypes", "int8"],
    "quantize": ["--out", "OUT"],
    "explain": ["--out", "OUT", "Es war König"],
    "serve": ["--port", "0", "--kv-memory", "64M"],
    "embed": ["--model", "PLAIN", "a cat"],
    "similar": ["--model", "PLAIN", "a cat", "ä dog"],
    "rerank": ["--model", "CLASSES", "a cat", "ä dog"],
    "classify": ["--model", "CLASSES", "ä cat"],
    "tag": ["--model", "TAGS", "ä cat"],
    "fill": ["--model", "MASKED", "a [MASK]"],
    "index": ["--out", "OUT", "--model", "PLAIN", "WORDS"],
    "search": ["INDEX", "a cat"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What stands for itself in COMMANDS: folders of tiny encoders, a text and an index of it."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("PLAIN", "CLASSES", "TAGS", "MASKED")}
    for name, folder in found.items():
        write_example(folder, name.lower().replace("plain", ""), 1)
    words, index = found["PLAIN"] / "vocab.txt", found["PLAIN"] / "x.index"
    VectorIndex.build(nextword.load(found["PLAIN"]), [words]).save(index)
    return {name: str(path) for name, path in {**found, "WORDS": words, "INDEX": index}.items()}


@pytest.fixture
def run(monkeypatch, tmp_path, made):
    """`run(command, stdout=..., stderr=..., stdin=...)`: the exit code of a command with streams of its own."""
    monkeypatch.setattr(bench_cli, "SECONDS", 0.01)
    serves_nobody(monkeypatch)
    monkeypatch.setattr(bench_cli, "LOOK", 0.001)
    monkeypatch.setattr(terminal, "PATIENCE", 60.0)
    numbers = iter(range(100))

    def call(command, *more, words=None, **replaced):
        with monkeypatch.context() as patch:
            for name, stream in replaced.items():
                patch.setattr(sys, name, stream)
            given = [*more] or (COMMANDS[command] if words is None else words)
            try:
                code = cli.main([command, *(str(tmp_path / str(next(numbers))) if x == "OUT" else made.get(x, x)
                                            for x in given)])
            except SystemExit as error:
                code = error.code
            for name, stream in replaced.items():
                assert getattr(sys, name) is stream
            return code

    return call


def test_every_command_is_driven_through_them():
    assert COMMANDS.keys() == cli.COMMANDS.keys()


class Bare:
    """A stream with `write` alone."""

    def __init__(self, error=None):
        self.text, self.error = "", error

    def write(self, text):
        if self.error:
            raise self.error
        self.text += text


class Held(io.StringIO):
    """A stream that fails when what it holds is handed on."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        raise self.error


# In the process: whatever stands in the place of sys.stdout, sys.stderr and sys.stdin


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("stream", "code"), [
    (lambda: None, 1),
    (lambda: Bare(OSError(errno.ENOSPC, "No space left on device")), 1),
    (lambda: Held(OSError(errno.EIO, "Input/output error")), 1),
    (lambda: Bare(BrokenPipeError()), 141),
    (lambda: Held(BrokenPipeError()), 141),
])  # fmt: skip
def test_output_that_cannot_be_written_is_an_error_in_one_line(run, capsys, command, stream, code):
    assert run(command, stdout=stream()) == code
    err = capsys.readouterr().err
    assert err.count("\n") == (code == 1)
    assert ("nextword: error: stdout cannot be written: " in err) == (code == 1)


def test_a_closed_file_object_is_no_output(run, capsys):
    closed = io.StringIO()
    closed.close()
    assert run("doctor", stdout=closed) == 1
    assert "stdout cannot be written: I/O operation on closed file" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_any_object_that_takes_text_is_an_output(run, command):
    shown = {}
    for name, stream in (
        ("bare", Bare()),
        ("ascii", io.TextIOWrapper(io.BytesIO(), encoding="ascii")),
        ("latin-1", io.TextIOWrapper(io.BytesIO(), encoding="latin-1")),
        ("utf-16", io.TextIOWrapper(io.BytesIO(), encoding="utf-16")),
        ("strict", codecs.getwriter("ascii")(io.BytesIO())),
        ("utf-8", io.TextIOWrapper(io.BytesIO(), encoding="utf-8")),
    ):
        assert run(command, stdout=stream) == 0
        shown[name] = stream.text if name == "bare" else stream.buffer.getvalue() if name != "strict" else (
            stream.stream.getvalue())
    assert len(shown["bare"]) > 10
    if command not in ("bench", "explain", "index", "quantize", "serve"):  # those tell times and places, which change
        assert shown["utf-8"].decode() == shown["bare"] == shown["utf-16"].decode("utf-16")
    assert shown["ascii"].isascii()
    assert shown["strict"].isascii()
    assert b"?" in shown["ascii"] or command in ("doctor", "bench", "embed", "explain", "index", "quantize",
                                                   "serve", "tokenize")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_encoding_of_a_stream_is_left_as_it_was(run, command):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    run(command, stdout=stream)
    assert stream.errors == "strict"


@pytest.mark.parametrize("stream", [None, Bare(BrokenPipeError()), Bare(OSError(errno.ENOSPC, "full")),
                                    Held(BrokenPipeError()), io.TextIOWrapper(io.BytesIO(), encoding="ascii")])
@pytest.mark.parametrize("command", COMMANDS)
def test_messages_that_nobody_can_read_stop_nothing(run, capsys, command, stream):
    assert run(command, stderr=stream) == 0
    assert len(capsys.readouterr().out) > 10
    if command != "doctor":
        assert run(command, "--model" if command != "quantize" else "--out", DEMO, *["x"] * (command == "choose"),
                   "no-such-\udcff", stderr=stream) in (1, 2)
        assert capsys.readouterr().out == ""


def stdin(raw):
    return io.TextIOWrapper(io.BytesIO(raw), encoding="ascii")


class Unreadable(io.RawIOBase):
    def read(self, size=-1):
        raise OSError(errno.EBADF, "Bad file descriptor")


def closed_object():
    stream = io.StringIO("x")
    stream.close()
    return stream


NOTHING = {
    "closed": lambda: None,
    "closed object": closed_object,
    "empty": lambda: stdin(b""),
    "empty characters": lambda: io.StringIO(""),
    "unreadable": lambda: type("Stdin", (), {"buffer": Unreadable()})(),
}


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("command", ["generate", "next"])
def test_where_nothing_is_given_an_opening_is_picked(run, capsys, command, name):
    flags = ["--max-new-tokens", "1"] if command == "generate" else []
    assert run(command, words=flags, stdin=NOTHING[name]()) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith(OPENINGS)


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("command", ["score", "tokenize"])
def test_where_nothing_is_given_to_measure_it_is_an_error(run, capsys, command, name):
    assert run(command, "--json", stdin=NOTHING[name]()) == 1
    assert capsys.readouterr().err.startswith("nextword: error: no text; ")


@pytest.mark.parametrize("command", ["generate", "next", "choose", "score", "tokenize"])
def test_a_dash_asks_for_stdin(run, capsys, command):
    more = ["-", "x"] if command == "choose" else ["-"]
    for name, told in (("closed", "it is closed"), ("closed object", "it is closed"), ("unreadable", "Bad file")):
        assert run(command, *more, stdin=NOTHING[name]()) == 1
        assert f"stdin cannot be read: {told}" in capsys.readouterr().err
    assert run(command, *more, stdin=stdin(b"ab\xff")) == 1
    assert "stdin is not UTF-8 text from byte 2 on" in capsys.readouterr().err


@pytest.mark.parametrize("raw", ["Der König", "Der König\n", "Der König\r\n", "\ufeffDer König\n"])
def test_a_text_on_stdin_is_the_text_without_mark_and_line_end(run, capsys, raw):
    shown = []
    for words in ([], ["-"], ["Der König"]):
        for command in ("generate", "next"):
            flags = ["--json", *(["--temperature", "0", "--max-new-tokens", "1"] if command == "generate" else [])]
            for stream in (stdin(raw.encode()), io.StringIO(raw)):
                assert run(command, *flags, *words, stdin=stream) == 0
                shown.append(json.loads(capsys.readouterr().out)["prompt"])
    assert set(shown) == {"Der König"}
    for first in ("-", "Der König"):
        assert run("choose", "--json", first, " er", stdin=stdin(raw.encode())) == 0
        assert json.loads(capsys.readouterr().out)["prompt"] == "Der König"


def test_one_line_end_is_dropped_and_no_other(run, capsys):
    for raw, text in (("a\n\n", "a\n"), ("a\r\n\r\n", "a\r\n"), ("a\r", "a\r"), ("\n\na", "\n\na"), ("\n", "")):
        assert run("generate", "--json", "--max-new-tokens", "0", "-", stdin=stdin(raw.encode())) == 0
        assert json.loads(capsys.readouterr().out)["prompt"] == text


@pytest.mark.parametrize("command", ["score", "tokenize"])
def test_what_measures_a_text_takes_stdin_and_file_to_the_last_byte(run, capsys, tmp_path, command):
    tokens = []
    for raw in (b"\xef\xbb\xbfa\r\n", b"a\r\n"):
        path = tmp_path / "text.txt"
        path.write_bytes(raw)
        for words in ([], ["-"], [str(path)])[: 3 if command == "score" else 2]:
            assert run(command, "--json", *words, stdin=stdin(raw)) == 0
            tokens.append(json.loads(capsys.readouterr().out)["tokens"])
    assert tokens == [nextword.load().tokenizer.encode("a\r\n")] * len(tokens)


def test_a_text_without_end_is_refused(monkeypatch, run, capsys, tmp_path):
    monkeypatch.setattr(user_text, "LIMIT", 1000)
    assert run("tokenize", words=[], stdin=stdin(b"x" * 1001)) == 1
    assert "stdin holds more than" in capsys.readouterr().err
    assert run("score", "/dev/zero") == run("generate", "--json-schema", "/dev/zero", "x") == 1
    assert capsys.readouterr().err.count("/dev/zero is a device") == 2


def test_the_words_of_any_locale_are_utf8(monkeypatch, run, capsys):
    """What Python makes of the command line in an ASCII locale is bytes that are no characters."""
    word = "König".encode().decode("ascii", "surrogateescape")
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("ascii", "surrogateescape"))
    for command in ("generate", "next", "tokenize"):
        assert run(command, "--json", *(["--max-new-tokens", "1"] if command == "generate" else []), word) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["text" if command == "tokenize" else "prompt"] == "König"
    assert run("choose", word, word) == run("score", "--tokens", word) == 0
    assert "König" in capsys.readouterr().out
    assert user_text.unescaped(word) == "König"


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"doctor"}))
def test_ctrl_c_ends_every_command_quietly(monkeypatch, run, capsys, command):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for module, name in ((nextword, "load"), (nextword.files.weights, "open_model"), (nextword.Tokenizer, "load"),
                         (nextword.tasks.quantized, "open_model")):
        monkeypatch.setattr(module, name, interrupted)
    assert run(command) == 130
    assert capsys.readouterr() == ("", "")


# As a process


def shell(line, **environment):
    """bash runs the line; `nextword` in it is this package's command."""
    line = line.replace("nextword ", f"{shlex.quote(sys.executable)} -m nextword ", 1)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NEXTWORD_", "PYTHON"))}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, timeout=60,
                          env={**clean, **environment}, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_without_any_stream_exits_with_1(tmp_path, command):
    words = [str(tmp_path / "out") if word == "OUT" else word for word in COMMANDS[command]]
    done = shell(f"nextword {command} {shlex.join(words)} <&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    if command == "quantize":
        assert nextword.load(tmp_path / "out").config.n_layer == 4  # no message went into its file


@pytest.mark.parametrize(("line", "code", "out", "err"), [
    ("nextword tokenize Once >&-", 1, b"", b"nextword: error: stdout cannot be written: it is closed\n"),
    ("nextword --version >&-", 1, b"", b"nextword: error: stdout cannot be written: it is closed\n"),
    ("nextword next --top 1 Once >/dev/full", 1, b"", b"nextword: error: stdout cannot be written: No space left on d"),
    ("nextword generate --help >/dev/full", 1, b"", b"nextword: error: stdout cannot be written: No space left on d"),
    ("nextword generate - <&-", 1, b"", b"nextword: error: stdin cannot be read: it is closed\n"),
    ("nextword generate --max-new-tokens 0 --seed 1 <&-", 0, b"There was once a little girl who\n", b""),
    ("nextword generate --max-new-tokens 0 --seed 1 0>/dev/null", 0, b"There was once a little girl who\n", b""),
    ("nextword tokenize Once 2>&-", 0, b"On|ce\n2383 375\n", b""),
    ("nextword generate --top-k x Once 2>&-", 2, b"", b""),
    ("nextword generate --model /absent Once 2>/dev/full", 1, b"", b""),
    ("nextword score <<< 'Once upon' | head -1", 0, b"tokens         4\n", b""),
    ("nextword generate --seed 1 --max-new-tokens 300 Once | true", 141, b"", b""),
])  # fmt: skip
def test_a_process_whose_streams_are_closed_piped_or_full(line, code, out, err):
    done = shell(line)
    assert done.returncode == code
    assert done.stdout.startswith(out)
    assert done.stderr.startswith(err)
    assert done.stderr.count(b"\n") == bool(err)


@pytest.mark.parametrize(("environment", "out"), [
    ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"K?nig"),
    ({"PYTHONIOENCODING": "latin-1"}, b"K\xf6nig"),
    ({"LC_ALL": "POSIX"}, "König".encode()),
])  # fmt: skip
def test_a_process_in_another_locale(environment, out):
    done = shell("nextword choose König ' er' ' Ä'", **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0] == out


@pytest.mark.parametrize(("environment", "told"), [
    ({"NEXTWORD_THREADS": "abc"}, b"NEXTWORD_THREADS: expected a number 1 .. 1024, got 'abc'"),
    ({"NEXTWORD_THREADS": "99999999999999999999"}, b"NEXTWORD_THREADS: expected a number"),
    ({"NEXTWORD_ISA": "foo"}, b"NEXTWORD_ISA: must be one of "),
])  # fmt: skip
def test_a_wrong_environment_variable_is_one_line(environment, told):
    done = shell("nextword doctor", **environment)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"nextword: error: " + told)
    assert done.stderr.count(b"\n") == 1


def test_ctrl_c_while_the_package_is_being_imported(tmp_path):
    """A module in the place of NumPy, which waits, stands for a slow disk."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("import time; print('importing', flush=True); time.sleep(30)")
    child = subprocess.Popen([sys.executable, "-m", "nextword", "doctor"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert child.stdout.readline() == b"importing\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=30) == (b"", b"")
    assert child.returncode == 130


def test_ctrl_c_and_end_while_stdin_is_awaited():
    child = subprocess.Popen([sys.executable, "-m", "nextword", "tokenize"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stderr.readline() == b"nextword: reading stdin ...\n"  # it says so after a second
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 130
    assert child.communicate() == (b"", b"")

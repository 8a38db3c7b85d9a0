"""usage.py, arguments.py: over all flags of all commands, help says what is done, and errors are worded in flags."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from no_server import serves_nobody

import nextword
from nextword import Sampling, rules
from nextword.cli import main as cli
from nextword.cli import usage
from nextword.cli.user_text import unescaped
from nextword.decoding import batch, calls, grammar, searches, settings, stops, stream
from nextword.machine import memory
from nextword.tasks import language_model as generate
from nextword.tasks.example_encoder import write_example

PARSERS = next(a for a in cli.build_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
FLAGS = [(command, max(action.option_strings, key=len), action) for command, parser in PARSERS.items()
         for action in parser._actions if action.option_strings and action.dest != "help"]  # fmt: skip
TAKING = [(command, flag) for command, flag, action in FLAGS if action.nargs != 0]
WORDS = {"generate": ["Once"], "next": ["Once"], "choose": ["Once", " upon"], "score": ["Once upon"],
         "tokenize": ["Once"], "bench": ["--tokens", "1"], "quantize": [], "doctor": [],
         "explain": ["Once"], "serve": [], "chat": ["--message", "Once"], "index": [str(nextword.DEMO)],
         "search": ["no/such.index", "Once"], "embed": ["a cat"], "similar": ["a cat", "a dog"],
         "rerank": ["a cat", "a dog"], "classify": ["a cat"], "tag": ["a cat"], "fill": ["a [MASK]"]}  # fmt: skip
HEADS = {"embed": "", "similar": "", "rerank": "classes", "classify": "classes", "tag": "tags", "fill": "masked"}
BAD = ["", "-1", "0", "1.5", "nan", "-inf", "1e400", "x", "99999999999999999999", "9" * 5000, "#99999=1",
       "a=nan", "=1", "a=", r"\q", "\\", r"\xff", r"\ud800", "a\udcff", "{", "[" * 3000, '{"a":' * 5000, "a\0b",
       "no/such/place", "x" * 5000, "gpt99", ",", "1,,2"]  # fmt: skip
# Names of the library's arguments that are no English words, and those that a message gives a value.
PYTHON = {name for function in (nextword.load, nextword.LanguageModel.generate, nextword.LanguageModel.score, Sampling,
                                nextword.Tokenizer.from_encoding, nextword.quantize)
          for name in inspect.signature(function).parameters} | {field.name for field in fields(Sampling)}  # fmt: skip


def python_in(text):
    """Names of Python arguments in what a user reads; what stands in quotes is the user's own."""
    text = re.sub(r"""(?<!\w)(?:'[^']*'|"[^"]*")""", "", text)
    return [name for name in PYTHON
            if re.search(rf"(?<![\w-]){name}=", text) or ("_" in name and re.search(rf"\b{name}\b", text))]  # fmt: skip


def ran(*arguments):
    try:
        return cli.main([*arguments])
    except SystemExit as error:
        return error.code


@pytest.mark.parametrize("command", PARSERS)
def test_help_says_what_every_flag_does_within_80_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    assert ran(command, "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for action in PARSERS[command]._actions:
        assert action.help
        assert len(action.help.split()) >= 3, action.dest
    assert not python_in(shown.split("examples:")[0])


@pytest.fixture
def quick(monkeypatch):
    """Commands that fail before they work for long: `bench` on a model that is not there."""
    from nextword.cli import bench as bench_cli

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(bench_cli, "SECONDS", 0.01)
    monkeypatch.setattr(bench_cli, "LOOK", 0.001)
    serves_nobody(monkeypatch)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """A folder of a tiny encoder for each command that takes one."""
    found = {command: tmp_path_factory.mktemp(command) for command in HEADS}
    return {command: write_example(folder, HEADS[command], 1) for command, folder in found.items()}


@pytest.mark.parametrize(("command", "flag"), TAKING)
def test_a_bad_value_is_one_line_that_names_the_flag_and_no_python_argument(capsys, quick, encoders, tmp_path, command,
                                                                             flag):
    model = [] if command != "bench" or flag == "--model" else ["--model", str(nextword.DEMO)]
    model = ["--model", str(encoders[command])] if command in encoders and flag != "--model" else model
    out = ["--out", str(tmp_path / "out")] if command in ("quantize", "explain", "index") and flag != "--out" else []
    few = ["--max-new-tokens", "1"] if command in ("generate", "chat") and flag != "--max-new-tokens" else []
    for value in BAD:
        if flag == "--out" and value not in ("", "a\0b"):
            continue  # a folder of that name is written
        code = ran(command, *model, *out, *few, f"{flag}={value}", *WORDS[command])
        err = "".join(line for line in capsys.readouterr().err.splitlines(True) if not line.endswith(" ...\n"))
        assert code in (0, 1, 2), (value, err)
        if code == 0:
            assert err.count("\n") <= 1
            continue
        assert err.count("\n") == code, (value, err)  # wrong usage says where help is, too
        assert len(err) < 3000
        assert not python_in(err), (value, err)
        if code == 2:
            assert f"argument {flag}" in err
        if code == 1 and flag not in ("--model", "--draft", "--vocab", "--encodings-folder"):
            assert flag in err, (value, err)


def messages(module):
    """What a module's `raise` statements say, with X for what is filled in."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            said = node.exc.args[0]
            if isinstance(said, ast.Constant):
                yield str(said.value)
            if isinstance(said, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in said.values)


def test_every_message_of_the_settings_is_worded_in_flags():
    parser = PARSERS["generate"]
    found = [text for module in (settings, generate, calls, searches, rules, grammar, memory, batch, stream, stops)
             for text in messages(module)]  # fmt: skip
    assert len(found) > 30
    own = {"processors", "eos", "prefix", "sampling", "tokenizer"}  # arguments that the command line does not have
    for text in found:
        said = usage.worded(ValueError(text), parser.names(), parser.switches())
        assert not set(python_in(said)) - own, said


@pytest.mark.parametrize(("error", "told"), [
    (MemoryError(), "nextword: error: out of memory\n"),
    (MemoryError("Unable to allocate"), "nextword: error: out of memory: Unable to allocate\n"),
    (MemoryError("generate: 9 texts take 9 GB; lower best_of"),
     "nextword: error: out of memory: 9 texts take 9 GB; lower --best-of\n"),
])  # fmt: skip
def test_want_of_memory_is_worded_in_flags(capsys, monkeypatch, error, told):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(nextword, "load", load)
    assert cli.main(["generate", "x"]) == 1
    assert capsys.readouterr().err == told


def test_numbers_beyond_memory_are_one_line(capsys):
    for flag in ("--n", "--best-of"):
        assert ran("generate", flag, str(2**31 - 1), "--max-new-tokens", "2", "Once") == 1
        err = capsys.readouterr().err.splitlines()[-1]
        assert err.startswith("nextword: error: out of memory: ")
        assert not python_in(err)


@pytest.mark.parametrize("command", PARSERS)
@given(data=st.data())
def test_any_message_in_the_librarys_form_is_worded_in_the_flags_of_the_command(command, data):
    names = PARSERS[command].names()
    if not names:
        return
    switches = PARSERS[command].switches()
    name, flag = data.draw(st.sampled_from(sorted(names.items())))
    other, flag_2 = data.draw(st.sampled_from(sorted(names.items())))
    operation = data.draw(st.sampled_from(usage.OPERATIONS))
    value = data.draw(st.sampled_from(["3", "0.5", '"slide"', "'slide'"]))
    said = usage.worded(ValueError(f"{operation}: {name} must be 1 .. 2, got '{name}=3'; or pass {other}={value}"),
                        names, switches)
    shown = flag_2 if flag_2 in switches else f"{flag_2} {value.strip(chr(34) + chr(39))}"
    assert said == f"{flag} must be 1 .. 2, got '{name}=3'; or pass {shown}"


def test_words_that_only_look_like_arguments_stay():
    names = PARSERS["generate"].names()
    for text in ("the model's folder, which stops at the window", "/data/top_p/stop.json: no file", "n't", "a --n b",
                 "the temperature is high, 'top_p=3' and \"top_k\"", "see https://x.y/top_p?n=3"):  # fmt: skip
        assert usage.worded(ValueError(text), names) == text


def test_an_error_of_a_file_is_its_name_and_what_is_wrong():
    assert usage.worded(FileNotFoundError(2, "No such file or directory", "a\nb")) == "a b: No such file or directory"
    assert usage.worded(OSError(5, "disk")) == "disk"
    assert usage.worded(ValueError()) == "ValueError"


def test_long_things_are_shortened():
    said = usage.worded(ValueError(f"choose: choices must differ, got {'x' * 10**6!r} twice"))
    assert said.startswith("choices must differ, got 'xxx")
    assert said.endswith("xxx' twice")
    assert len(said) < 300
    assert len(usage.worded(ValueError("x" * 10**6))) <= 2000


@pytest.mark.parametrize(("arguments", "told"), [
    (["genrate", "x"], "there is no command 'genrate', did you mean generate?"),
    (["xyz"], "there is no command 'xyz'; there are generate, next, "),
    (["generate", "--tempreture", "1", "x"], "unknown flag --tempreture, did you mean --temperature?"),
    (["generate", "--stopp=x", "x"], "unknown flag --stopp, did you mean --stop?"),
    (["doctor", "x"], "unexpected argument 'x'"),
    (["generate", "--explain", "Once"], "got 'Once'; give the text before --explain, or write --explain=8"),
    (["generate", "--on-overflow", "grow", "x"], "expected one of error, stop, slide, got 'grow'"),
    (["next", "-q", "x"], "unknown flag -q"),
])  # fmt: skip
def test_what_is_unknown_names_what_comes_nearest(capsys, arguments, told):
    assert ran(*arguments) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 2
    assert "--help'." in err.splitlines()[1]


@pytest.mark.parametrize(("error", "told"), [
    (IndexError("sampling: logit_bias must hold token ids 0 .. 9, got 10"), "--logit-bias must hold token ids"),
    (TypeError("generate: on_overflow must be one of 3"), "--on-overflow must be one of 3"),
    (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
    (OverflowError("sampling: seed must be below 2**64"), "--seed must be below 2**64"),
])  # fmt: skip
def test_errors_of_the_librarys_own_are_one_line(capsys, monkeypatch, error, told):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(nextword, "load", load)
    assert cli.main(["generate", "x"]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [IndexError("list index out of range"), TypeError("'int' object is not iterable")])
def test_errors_of_the_program_keep_their_traceback(monkeypatch, error):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(nextword, "load", load)
    with pytest.raises(type(error)):
        cli.main(["generate", "x"])


# Texts in flags


@given(st.text(min_size=1))
def test_any_text_can_be_written_with_escapes(text):
    escaped = "".join(rf"\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H"))
    assert unescaped(escaped) == text
    assert unescaped("".join(rf"\x{byte:02X}" for byte in text.encode())) == text
    assert unescaped(text.replace("\\", r"\\")) == text
    assert unescaped(text.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r")) == text


@pytest.mark.parametrize("text", [r"\q", "\\", r"\x4", r"\xgg", r"\u12", r"\ud800", r"\xff", r"a\N", ""])
def test_an_escape_that_is_none_is_an_error(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected"):
        unescaped(text)

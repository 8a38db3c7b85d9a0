"""cli/main.py: what each command prints, where, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nextword
from nextword.cli import arguments
from nextword.cli import main as cli
from nextword.cli import next as next_cli
from nextword.text.tokenizer import Tokenizer
from stand_in import Bytes, StandIn, Terminal

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def stand_in(monkeypatch):
    """Put a stand-in in the place of any model: `stand_in(text="...")` returns it."""

    def use(**fields):
        lm = StandIn(**{"tokenizer": Bytes(), **fields})
        monkeypatch.setattr(nextword, "load", lambda *_, **__: lm)
        return lm

    return use


def type_in(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# The command itself


def test_alone_it_shows_three_commands(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert sum(line.startswith("  nextword ") for line in shown.splitlines()) == 3


def test_version_is_the_package_version(capsys):
    from importlib.metadata import version

    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"nextword {version('nextword')}\n"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert f"usage: nextword {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["generate", "--temperature", "-1", "x"],
        ["generate", "--temperature", "nan", "x"],
        ["generate", "--top-p", "-0.1", "x"],
        ["generate", "--top-p", "1.5", "x"],
        ["generate", "--top-k", "2.5", "x"],
        ["generate", "--max-new-tokens", "many", "x"],
        ["generate", "--threads", "0", "x"],
        ["generate", "--seed", "-3", "x"],
        ["next", "--temperature", "0", "x"],
        ["next", "--top", "0", "x"],
        ["doctor", "--model", "x"],
        ["bench", "--dtypes", "float99"],
        ["bench", "--dtypes", ""],
        ["bench", "--threads", "1,0"],
        ["bench", "--threads", "two"],
        ["bench", "--tokens", "0"],
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_argument(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nextword" in captured.err
    assert (arguments[1] if len(arguments) > 2 else arguments[-1]) in captured.err


@pytest.mark.parametrize(
    "error",
    [ValueError("two\nlines"), OSError(5, "disk"), FileNotFoundError("two lines"), ImportError("two"), MemoryError()],
)
def test_an_error_is_one_line_and_exit_code_1(capsys, monkeypatch, error):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(nextword, "load", load)
    assert cli.main(["generate", "x"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nextword: error: ")
    assert captured.err.count("\n") == 1


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch):
    def load(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(nextword, "load", load)
    with pytest.raises(ZeroDivisionError):
        cli.main(["generate", "x"])


def test_a_missing_model_is_named(capsys, tmp_path):
    assert cli.main(["generate", "--model", str(tmp_path / "absent"), "x"]) == 1
    assert f"{tmp_path / 'absent'}" in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_error(capsys, stand_in, monkeypatch):
    stand_in(error=BrokenPipeError())
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    assert cli.main(["generate", "x"]) == 141
    assert capsys.readouterr().err == ""


# generate


def test_generate_prints_prompt_and_text(capsys, stand_in):
    stand_in(text="def\n")
    assert cli.main(["generate", "a", "b", "c"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "a b cdef\n"
    assert captured.err == ""


def test_generate_ends_the_last_line(capsys, stand_in):
    stand_in(text="d")
    cli.main(["generate", "abc"])
    assert capsys.readouterr().out == "abcd\n"


def test_generate_hands_its_settings_on(stand_in):
    lm = stand_in()
    arguments = "--max-new-tokens 7 --temperature 0.5 --top-k 3 --top-p 0.25 --seed 11 --stop END --stop . x"
    assert cli.main(["generate", *arguments.split()]) == 0
    assert lm.settings == {
        "max_new_tokens": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.25, "seed": 11, "stop": ["END", "."],
        "on_overflow": "stop", "explain": 0, "draft": None,
    }  # fmt: skip


def test_generate_has_the_documented_defaults(stand_in):
    lm = stand_in()
    cli.main(["generate", "x"])
    assert lm.settings == {
        "max_new_tokens": 120, "temperature": 0.8, "top_p": 0.95, "on_overflow": "stop", "explain": 0,
        "draft": None,
    }  # fmt: skip


def test_generate_json_is_one_object(capsys, stand_in):
    stand_in(text="ä", reason="stop")
    assert cli.main(["generate", "--json", "--seed", "3", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found = json.loads(captured.out)
    assert found["prompt"] == "x"
    assert found["text"] == "ä"
    assert found["tokens"] == [0xC3, 0xA4]
    assert found["prompt_tokens"] == [120]
    assert found["finish_reason"] == "stop"
    assert found["seed"] == 3
    assert found["timings"]["decode_seconds"] == 0.2
    assert found["timings"]["load_seconds"] >= 0


def test_generate_without_a_vocabulary_takes_and_prints_ids(capsys, stand_in):
    stand_in(tokenizer=None, text="\1\2")
    assert cli.main(["generate", "3,", "4 5"]) == 0
    assert capsys.readouterr().out == "3 4 5 1 2\n"
    for prompt in (["x"], [], ["0 256"], ["-- -1"]):
        assert cli.main(["generate", *prompt]) == 1
        assert "give the prompt as token ids" in capsys.readouterr().err


def test_generate_says_that_the_context_is_full(capsys, stand_in):
    stand_in(reason="context")
    assert cli.main(["generate", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "xabc\n"
    assert "context of 64 tokens is full, the text ends" in captured.err


def test_generate_keeps_the_text_at_ctrl_c(capsys, stand_in):
    stand_in(text="half", error=KeyboardInterrupt())
    assert cli.main(["generate", "x"]) == 130
    captured = capsys.readouterr()
    assert captured.out == "xhalf\n"
    assert captured.err == ""


def test_generate_reads_stdin(capsys, stand_in, monkeypatch):
    stand_in(text="!")
    type_in(monkeypatch, "Grüße\nan alle\n".encode())
    assert cli.main(["generate", "-"]) == 0
    assert capsys.readouterr().out == "Grüße\nan alle!\n"


def test_text_that_is_not_utf8_is_refused(capsys, stand_in, monkeypatch):
    stand_in()
    type_in(monkeypatch, b"ab\xff")
    assert cli.main(["generate", "-"]) == 1
    assert "stdin is not UTF-8 text from byte 2 on" in capsys.readouterr().err
    assert cli.main(["generate", "ab\udcff"]) == 1
    assert "not valid UTF-8 after 'ab'" in capsys.readouterr().err


def test_generate_without_a_prompt_picks_an_opening_by_seed(capsys, stand_in):
    stand_in(text="\n")
    seen = set()
    for seed in range(40):
        shown = set()
        for _ in range(2):
            assert cli.main(["generate", "--seed", str(seed)]) == 0
            shown.add(capsys.readouterr().out.removesuffix("\n"))
        assert len(shown) == 1
        seen |= shown
    assert seen == set(arguments.OPENINGS)


def test_an_opening_suits_the_vocabulary():
    """Of a vocabulary that knows English words only, no German opening is picked."""

    class English(Bytes):
        def encode(self, text):
            return text.split() if text.isascii() and "Es" not in text and "Vor" not in text else list(text)

    lm = StandIn(English())
    assert {arguments.pick_opening(lm, seed) for seed in range(60)} == set(arguments.OPENINGS[:3])


def test_a_vocabulary_that_can_write_no_opening_begins_with_nothing():
    class Few(Bytes):
        def encode(self, text):
            raise ValueError("encode: text holds the byte 0x4F, for which the vocabulary has no token")

    assert arguments.pick_opening(StandIn(Few()), 1) == ""


def test_on_a_terminal_the_prompt_is_bold_and_a_note_follows(stand_in, monkeypatch):
    out, err = Terminal(), Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    stand_in()
    cli.main(["generate", "x"])
    assert out.getvalue() == "\x1b[1mx\x1b[0mabc\n"
    assert err.getvalue() == "\x1b[2m[3 tokens, 20 tokens/s, --seed 5]\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    cli.main(["generate", "x"])
    assert sys.stdout.getvalue() == "xabc\n"


# next and tokenize


def test_next_shows_the_most_probable_tokens_with_bars(capsys, stand_in):
    stand_in()
    assert cli.main(["next", "--top", "3", "x"]) == 0
    prompt, *rows, rest = capsys.readouterr().out.splitlines()
    assert prompt == "x"
    assert [row.split()[1] for row in rows] == ["255", "254", "253"]
    assert rows[0].split()[0] == r"'\xff'"
    bars = [row.count("█") for row in rows]
    assert bars[0] > bars[1] > bars[2] > 0
    assert "the other 253 tokens: 68.73%" in rest


def test_next_json_gives_probabilities_of_the_temperature(capsys, stand_in):
    stand_in()
    assert cli.main(["next", "--json", "--top", "256", "--temperature", "2", "x"]) == 0
    found = json.loads(capsys.readouterr().out)
    shares = [row["probability"] for row in found["next"]]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] / shares[8] == pytest.approx(np.exp(0.5))
    assert found["next"][255 - ord("A")]["text"] == "A"


def test_next_without_a_vocabulary_shows_ids(capsys, stand_in):
    stand_in(tokenizer=None)
    assert cli.main(["next", "--top", "1", "1 2"]) == 0
    prompt, row, _ = capsys.readouterr().out.splitlines()
    assert prompt == "1 2"
    assert row.split()[:2] == ["'255'", "255"]
    assert cli.main(["next", "--json", "--top", "1", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["next"][0]["text"] is None


def test_next_shows_ids_that_have_no_text_by_their_number(capsys, stand_in):
    class Fewer(Bytes):
        def decode_bytes(self, ids):
            if max(ids) > 254:
                raise IndexError("an id that pads the model's vocabulary")
            return bytes(ids)

    stand_in(tokenizer=Fewer())
    assert cli.main(["next", "--top", "2", "x"]) == 0
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:3]] == ["'255'", r"'\xfe'"]
    assert cli.main(["next", "--json", "--top", "1", "x"]) == 0
    assert json.loads(capsys.readouterr().out)["next"][0]["text"] is None


def test_next_draws_bars_that_the_terminal_can_show(stand_in, monkeypatch):
    stand_in()
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["next", "--top", "2", "x"]) == 0
    assert "####" in out.buffer.getvalue().decode("latin-1")


def test_a_table_of_all_tokens_has_no_rest_and_aligns_wide_characters(monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    rows = list(next_cli.table([(1, "'日本'", 0.5), (2, "'a'", 0.5)], 2, 0.0))
    assert len(rows) == 2
    assert rows[0].startswith("  '日本'       1")
    assert rows[1].startswith("  'a'          2")


def test_tokenize_takes_the_vocabulary_of_a_model_a_file_or_the_demo(capsys):
    demo = str(Path(cli.__file__).parents[1] / "demo")
    shown = []
    for chosen in ([], ["--model", demo], ["--vocab", demo]):
        assert cli.main(["tokenize", *chosen, "--json", "Es war einmal"]) == 0
        shown.append(json.loads(capsys.readouterr().out)["tokens"])
    assert shown == [Tokenizer.load(demo).encode("Es war einmal")] * 3


def test_tokenize_takes_one_vocabulary_at_a_time(capsys):
    assert cli.main(["tokenize", "--model", "m", "--vocab", "v", "x"]) == 1
    assert "one of --model, --vocab and --encoding" in capsys.readouterr().err


def test_tokenize_without_a_vocabulary_is_an_error(capsys, stand_in):
    stand_in(tokenizer=None)
    assert cli.main(["tokenize", "--model", "m", "x"]) == 1
    assert "m holds no vocabulary" in capsys.readouterr().err


# The bundled model


def test_the_demo_model_answers_every_command(capsys):
    pytest.importorskip("nextword._core", reason="the compiled core is not built")
    assert cli.main(["generate", "--seed", "7", "--max-new-tokens", "12", "Once upon a time"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("Once upon a time")
    assert len(first) > len("Once upon a time") + 12
    assert cli.main(["generate", "--seed", "7", "--max-new-tokens", "12", "Once upon a time"]) == 0
    assert capsys.readouterr().out == first
    assert cli.main(["generate", "--json", "--max-new-tokens", "600", "--threads", "1", "--seed", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finish_reason"] in {"context", "stop"}
    assert cli.main(["next", "--top", "4", "Es", "war"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert cli.main(["tokenize", "--json", "Once upon a time"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"]


# As a process


def test_python_m_nextword_is_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nextword"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("nextword", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == cli.WELCOME


def run(*arguments, **more):
    return subprocess.run([sys.executable, "-m", "nextword", *arguments], capture_output=True, timeout=60, **more)


def test_the_module_runs_as_a_process():
    done = run("next", "--top")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_ctrl_c_ends_the_process_quietly():
    pytest.importorskip("nextword._core", reason="the compiled core is not built")
    command = [sys.executable, "-m", "nextword", "generate", "--max-new-tokens", "100000", "--seed", "2", "Once"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout.read(1)  # it is under way
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode in {0, 130}  # 0 where it was done before the signal
    assert b"Traceback" not in err


def test_a_closed_pipe_ends_the_process_quietly():
    pytest.importorskip("nextword._core", reason="the compiled core is not built")
    command = [sys.executable, "-m", "nextword", "generate", "--max-new-tokens", "200", "--seed", "3", "Once"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    err = child.stderr.read()
    assert child.wait(timeout=30) == 141
    assert err == b""
    child.stderr.close()

"""`nextword tokenize`: what it prints."""

import argparse
import io
import itertools
import json
import sys

import pytest
from hypothesis import given

import tokenizer_helpers as helpers
from nextword.cli import tokenize as tokenize_cli
from nextword.text.tokenizer import Tokenizer


def tokenize(*words):
    parser = argparse.ArgumentParser()
    tokenize_cli.add_arguments(parser)
    return tokenize_cli.run(parser.parse_args([*words]))


def test_pieces_and_ids_are_printed_with_their_number(capsys):
    assert tokenize("Once upon a time\n ï") == 0
    pieces, ids, counted = capsys.readouterr().out.splitlines()
    assert pieces == "On|ce|·upon|·a|·time|⏎|·<C3>|<AF>"
    assert ids.startswith("2383 375 884 259 670 ")
    assert counted == "8 tokens for 19 characters, 20 bytes, 2.50 bytes a token"


def test_colours_only_on_a_terminal_and_not_under_no_color(capsys, monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    for name, value, coloured in (("NO_COLOR", "1", False), ("TERM", "dumb", False), ("TERM", "xterm", True)):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv(name, value)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Terminal())
            tokenize("Once", "upon")
            assert ("\x1b[30;42mOn\x1b[0m" in sys.stdout.getvalue()) == coloured
    tokenize("Once")
    assert "\x1b" not in capsys.readouterr().out


def test_the_steps_of_a_word_are_its_merges(capsys):
    tokenize("--steps", "time time")
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("")
    assert lines[start + 1].split("   ")[0].strip() == "t i m e"
    assert lines[start + 1].endswith("i + m = im (305)") or "=" in lines[start + 1]
    assert " time" not in lines[start + 1]
    assert lines[-1].strip() == "·time"
    assert sum(line == "" for line in lines) == 2  # one picture for each different piece


@given(helpers.texts())
def test_the_last_step_is_what_encode_gives(text):
    tokenizer = helpers.demo()
    order = tokenize_cli.merge_order(tokenizer)
    parts = [
        part
        for piece in tokenizer.pieces(text)
        for part in list(tokenize_cli.merge_steps(tokenizer, piece, order))[-1][0]
    ]
    assert parts == [tokenizer.token_bytes(id) for id in tokenizer.encode(text)]


def test_each_step_merges_one_pair():
    tokenizer = helpers.demo()
    steps = list(tokenize_cli.merge_steps(tokenizer, b" reading", tokenize_cli.merge_order(tokenizer)))
    assert [len(parts) for parts, _, _ in steps] == list(range(8, 8 - len(steps), -1))
    for (parts, pair, made), (after, _, _) in itertools.pairwise(steps):
        at = next(i for i in range(len(parts) - 1) if (parts[i], parts[i + 1]) == pair)
        assert after == [*parts[:at], pair[0] + pair[1], *parts[at + 2 :]]
        assert tokenizer.token_bytes(made) == pair[0] + pair[1]


def test_json_holds_everything(capsys):
    tokenize("--json", "--steps", "On 中")
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == "On 中"
    assert found["tokens"] == helpers.demo().encode("On 中")
    assert found["count"] == len(found["tokens"]) == len(found["bytes"]) == len(found["offsets"])
    assert b"".join(map(bytes.fromhex, found["bytes"])) == "On 中".encode()
    assert found["steps"][0] == [["O", "n"], ["On"]]


def test_encodings_are_compared(capsys):
    folder = str(helpers.data("tiktoken_ranks"))
    tokenize("--encoding", "gpt2,cl100k_base", "--encodings-folder", folder, "The theory of relativity is")
    out = capsys.readouterr().out
    assert "gpt2: 5 tokens" in out
    assert "cl100k_base: 6 tokens" in out
    assert "464 4583 286 44449 318" in out
    tokenize("--encoding", "all", "--json", "--encodings-folder", folder, "x")
    encodings = json.loads(capsys.readouterr().out)["encodings"]
    assert list(encodings) == ["r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "o200k_harmony"]


def test_another_vocabulary_is_used(capsys, tmp_path):
    tokenizer = Tokenizer.train(["zzz"], 258, special_tokens=[], min_frequency=0)
    tokenizer.save(tmp_path)
    tokenize("--vocab", str(tmp_path), "zzz")
    assert capsys.readouterr().out.splitlines()[0] == "zzz"


def test_text_comes_from_stdin(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Once\n")))
    tokenize("-", "--json")
    assert json.loads(capsys.readouterr().out)["text"] == "Once\n"


def test_an_empty_text_has_no_tokens(capsys):
    tokenize("--steps", "")
    assert capsys.readouterr().out.splitlines()[2] == "0 tokens for 0 characters, 0 bytes"


def test_long_pieces_are_named_and_not_shown_step_by_step(capsys):
    tokenize("--steps", "a" * 100)
    assert "100 bytes, too long to show step by step" in capsys.readouterr().out


def test_wrong_arguments_are_value_errors(monkeypatch):
    with pytest.raises(ValueError, match="one of --model, --vocab and --encoding"):
        tokenize("--vocab", "x", "--encoding", "gpt2", "x")
    with pytest.raises(ValueError, match="name must be one of"):
        tokenize("--encoding", "gpt9", "x")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        tokenize("--vocab", "nowhere", "x")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(ValueError, match="no text"):
        tokenize()

"""--special and the empty prompt: which tokens the commands make of a text that names special ones, or of none."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

import nextword
from nextword.cli import main as cli

END = "<|endoftext|>"
TEXT = f"{END}Once upon a time"


@pytest.fixture(scope="module")
def lm():
    return nextword.load()


def found(capsys, *arguments):
    assert cli.main([*arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_special_tokens_in_a_text_need_the_flag(capsys, lm):
    plain, special = lm.tokenizer.encode(TEXT), lm.tokenizer.encode(TEXT, allowed_special="all")
    assert special[0] == 0 != plain[0]
    flags = ["--json", "--temperature", "0", "--max-new-tokens", "2"]
    for ids, more in ((plain, []), (special, ["--special"])):
        out = found(capsys, "generate", *flags, *more, TEXT)
        assert out["prompt_tokens"] == ids
        assert out["tokens"] == lm.generate(ids, max_new_tokens=2).tokens
        for name in ("tokenize", "score"):
            assert found(capsys, name, "--json", *more, TEXT)["tokens"] == ids
        rows = found(capsys, "next", "--json", "--top", "3", *more, TEXT)["next"]
        assert [row["token"] for row in rows] == np.argsort(-lm.logits(ids, last_only=True))[:3].tolist()
        one, two = found(capsys, "choose", "--json", *more, TEXT, END, " there")["choices"]
        assert one["tokens"] == lm.tokenizer.encode(END, allowed_special="all" if more else ())
        assert two["logprob"] == pytest.approx(lm.choose(ids, [two["tokens"]])[0].logprob)


def test_the_special_flag_reaches_several_texts_and_streams(capsys, lm):
    special = lm.tokenizer.encode(TEXT, allowed_special="all")
    texts = found(capsys, "generate", "--json", "--special", "--n", "2", "--max-new-tokens", "1", TEXT)["texts"]
    assert [text["prompt_tokens"] for text in texts] == [special] * 2
    shown = []
    for more in ([], ["--json"]):
        assert cli.main(["generate", "--special", "--seed", "3", "--max-new-tokens", "5", *more, TEXT]) == 0
        out = capsys.readouterr().out
        shown.append(json.loads(out)["prompt"] + json.loads(out)["text"] if more else out.removesuffix("\n"))
    assert shown[0] == shown[1]


def test_steps_show_special_tokens_in_one_piece_with_the_flag(capsys):
    for more, expected in (([], True), (["--special"], False)):
        assert cli.main(["tokenize", "--steps", *more, TEXT]) == 0
        assert ("e n d o f t e x t" in capsys.readouterr().out) is expected
        steps = found(capsys, "tokenize", "--steps", "--json", *more, TEXT)["steps"]
        assert any(piece[0] == list("endoftext") for piece in steps) is expected


def test_an_empty_prompt_begins_a_document(capsys, monkeypatch, lm):
    for words in ([""], ["-"]):  # an empty stdin that is asked for is an empty text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        out = found(capsys, "generate", "--json", "--temperature", "0", "--max-new-tokens", "3", *words)
        assert out["prompt_tokens"] == [0]
        assert out["tokens"] == lm.generate([0], max_new_tokens=3).tokens
    best = int(lm.logits([0], last_only=True).argmax())
    assert found(capsys, "next", "--json", "--top", "1", "")["next"][0]["token"] == best
    assert found(capsys, "choose", "--json", "", "Once")["choices"][0]["logprob"] == pytest.approx(
        lm.choose([0], ["Once"])[0].logprob)
    assert cli.main(["generate", "--seed", "1", "--max-new-tokens", "4", ""]) == 0
    assert capsys.readouterr().out.endswith("\n")

"""tasks/choose.py and cli/choose.py: probabilities of continuations, the cache they share, and the command."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword.cli import main as cli
from nextword.models import passes
from nextword.models.gpt2 import GPT2
from nextword.tasks import choose as choose_module
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, random_tensors, tiny_config


@pytest.fixture(scope="module")
def tiny():
    """A model of random weights without a vocabulary; its window is 24 tokens."""
    return LanguageModel(random_model(tiny_config(), seed=5))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A model of random weights over bytes."""
    tokenizer = byte_tokenizer(tmp_path_factory.mktemp("bytes"))
    return LanguageModel(random_model(tiny_config(vocab_size=257), seed=6), tokenizer)


@given(data=st.data())
def test_a_choice_has_the_log_softmax_of_prompt_and_choice_in_one(tiny, data):
    prompt = data.draw(st.lists(st.integers(0, 36), min_size=1, max_size=20))
    choice = st.lists(st.integers(0, 36), min_size=1, max_size=25 - len(prompt))
    choices = data.draw(st.lists(choice, min_size=1, max_size=6, unique_by=tuple))
    with pytest.MonkeyPatch.context() as patch:
        chunk = data.draw(st.sampled_from([1, 3, 50, 512]))
        for module in (choose_module, passes):
            patch.setattr(module, "CHUNK", chunk)
        found = tiny.choose(prompt, choices)
    for one, ids in zip(found, choices, strict=True):
        x = tiny.logits((prompt + ids)[:-1])[len(prompt) - 1 :].astype(np.float64)
        wanted = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True))[np.arange(len(ids)), ids]
        np.testing.assert_allclose(one.logprobs, wanted, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(one.logprobs, tiny.choose(prompt, [ids])[0].logprobs)
        np.testing.assert_array_equal(one.logprobs, tiny.score(prompt + ids, start=None).logprobs[len(prompt) :])
        assert (one.tokens, one.text, one.whole) == (ids, None, None)


def test_all_single_tokens_share_the_next_tokens_probability(tiny):
    found = tiny.choose([1, 2], [[i] for i in range(37)])
    assert sum(one.probability for one in found) == pytest.approx(1)
    assert [one.share for one in found] == pytest.approx([one.probability for one in found])


def test_probabilities_multiply_and_shares_sum_to_one(letters):
    a, b = letters.choose("x", ["ab", "c"])
    assert a.probability == pytest.approx(np.exp(a.logprobs).prod())
    assert a.logprob == pytest.approx(a.logprobs.sum())
    assert a.share + b.share == pytest.approx(1)
    assert a.share / b.share == pytest.approx(a.probability / b.probability)
    assert (a.text, a.tokens, a.whole) == ("ab", [97, 98], True)


def test_every_instruction_set_prefers_a_word_to_noise(isa, demo):
    word, noise = demo.choose("Once upon a", [" time", " xqzj"])
    assert word.share > 0.999 > noise.share


def test_a_choice_that_continues_a_word_is_not_whole(demo):
    found = demo.choose("Once upon a t", ["ime", " time"])
    assert [one.whole for one in found] == [False, True]
    assert demo.choose([281, 290], ["ime"])[0].whole is None


def test_impossible_choices_have_no_share():
    config = tiny_config(tie_word_embeddings=False)
    tensors = random_tensors(config, head_bias=True)
    tensors["lm_head.bias"][:] = 0
    tensors["lm_head.bias"][3] = 1e6
    lm = LanguageModel(GPT2(tensors, config))
    found = lm.choose([1], [[0], [3]])
    assert [one.share for one in found] == [0, 1]
    assert found[0].probability == 0


@pytest.mark.parametrize(
    ("prompt", "choices", "error", "message"),
    [
        ("x", [], ValueError, "at least one continuation"),
        ("x", ["a", ""], ValueError, "each choice must have at least one token, got ''"),
        ("x", ["a", "b", "a"], ValueError, "choices must differ, got 'a' twice"),
        ("x", ["a", [97]], ValueError, "must differ"),
        ("x", "ab", TypeError, "choices must be a list"),
        ("x", 3, TypeError, "choices must be a list"),
        ("x", [3], TypeError, "each choice must be a text or a list"),
        (3, ["a"], TypeError, "prompt must be a text or a list"),
        ([257], ["a"], IndexError, r"prompt must hold token ids 0 .. 256"),
        ("x", [[-1]], IndexError, "each choice must hold token ids"),
        ("x" * 20, ["abcdef"], ValueError, "prompt of 20 tokens and choice of 6 must fit into the context window"),
    ],
)
def test_a_wrong_argument_is_named(letters, prompt, choices, error, message):
    with pytest.raises(error, match=message):
        letters.choose(prompt, choices)


def test_a_text_needs_a_vocabulary(tiny):
    with pytest.raises(ValueError, match="needs a vocabulary"):
        tiny.choose([1], ["a"])


# The command


@pytest.fixture
def model(monkeypatch, letters):
    monkeypatch.setattr(nextword, "load", lambda *_, **__: letters)
    return letters


def test_the_command_prints_the_most_probable_first(capsys, model):
    assert cli.main(["choose", "a b", " c", ".\n", "!fg"]) == 0
    captured = capsys.readouterr()
    prompt, head, *rows = captured.out.splitlines()
    assert prompt == "a b"
    assert head.split() == ["probability", "share"]
    found = {one.text: one for one in model.choose("a b", [" c", ".\n", "!fg"])}
    assert len(rows) == 3
    shares = [float(row.split("%")[-2].split()[-1]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert f"{found[' c'].share:.2%}" in next(row for row in rows if "' c'" in row)
    assert rows[0].count("█") > rows[1].count("█")
    assert r"'.\n'" in captured.out
    assert captured.err == ""


def test_json_holds_every_field(capsys, model):
    assert cli.main(["choose", "--json", "x", "ab", "c"]) == 0
    found, wanted = json.loads(capsys.readouterr().out), model.choose("x", ["ab", "c"])
    assert found["prompt"] == "x"
    for row, one in zip(found["choices"], wanted, strict=True):
        assert row == {
            "text": one.text, "tokens": one.tokens, "logprob": one.logprob, "logprobs": one.logprobs.tolist(),
            "probability": one.probability, "share": one.share, "whole": True,
        }  # fmt: skip


def test_json_has_null_for_an_infinite_logarithm(capsys, model, monkeypatch):
    never = choose_module.Choice("a", [97], np.array([-math.inf]), 0.0, True)
    monkeypatch.setattr(LanguageModel, "choose", lambda self, prompt, choices: [never])
    assert cli.main(["choose", "--json", "x", "a"]) == 0
    row = json.loads(capsys.readouterr().out)["choices"][0]
    assert (row["logprob"], row["logprobs"], row["probability"]) == (None, [None], 0.0)
    assert cli.main(["choose", "x", "a"]) == 0


def test_a_choice_within_a_word_gets_a_note(capsys):
    assert cli.main(["choose", "Once upon a t", "ime", " time"]) == 0
    assert "'ime' goes on within a word" in capsys.readouterr().err
    assert cli.main(["choose", "Once upon a time", "there", " there"]) == 0
    assert "'there' goes on within a word" in capsys.readouterr().err


def test_a_model_without_a_vocabulary_takes_ids(capsys, monkeypatch, tiny):
    monkeypatch.setattr(nextword, "load", lambda *_, **__: tiny)
    assert cli.main(["choose", "--json", "1 2", "3,4", "5"]) == 0
    assert [row["tokens"] for row in json.loads(capsys.readouterr().out)["choices"]] == [[3, 4], [5]]
    assert cli.main(["choose", "1", "x"]) == 1
    assert "give texts as token ids" in capsys.readouterr().err


def test_wrong_input_is_one_line(capsys, model):
    for arguments, message in [(["x", "a", "a"], "must differ"), (["x", ""], "at least one token"),
                               (["x", "a\udcff"], "not valid UTF-8 after 'a'")]:  # fmt: skip
        assert cli.main(["choose", *arguments]) == 1
        assert message in capsys.readouterr().err

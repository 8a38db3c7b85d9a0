"""contrastive.py: probable tokens, the likeness of their states, how a text ends, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.decoding.contrastive import contrastive_search
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, tiny_config, token_ids


@pytest.fixture(scope="module")
def tiny():
    """A model of random weights whose window is 24 tokens."""
    return random_model(tiny_config(), seed=5)


@given(st.data(), models(), st.integers(1, 5))
def test_without_a_penalty_it_is_greedy_decoding(data, model, top_k):
    prompt = data.draw(token_ids(model, model.limit - 3))
    count = data.draw(st.integers(0, model.limit - len(prompt)))
    found = contrastive_search(model, prompt, penalty_alpha=0, top_k=top_k, max_new_tokens=count)
    assert found.tokens == LanguageModel(model).generate(prompt, max_new_tokens=count, eos=None).tokens
    assert found.finish_reason == "length"


@given(st.data(), models(), st.integers(1, 5), st.floats(0, 1))
def test_each_token_has_the_best_score_of_candidates_computed_anew(data, model, top_k, alpha):
    prompt = data.draw(token_ids(model, model.limit - 3))
    lm = LanguageModel(model)
    found = contrastive_search(model, prompt, penalty_alpha=alpha, top_k=top_k, max_new_tokens=6)
    ids = list(prompt)
    for token, step in zip(found.tokens, found.steps, strict=True):
        x = lm.logits(ids, last_only=True).astype(np.float64)
        p = np.exp(x - x.max())
        p /= p.sum()
        assert [c.token for c in step] == np.argsort(-x, kind="stable")[:top_k].tolist()
        for c in step:
            with nextword.trace(lm, names="ln_f") as t:
                lm.logits([*ids, c.token])
            h = t["ln_f"].astype(np.float64)
            h /= np.linalg.norm(h, axis=1, keepdims=True)
            np.testing.assert_allclose(c.probability, p[c.token], rtol=1e-9)
            np.testing.assert_allclose(c.similarity, (h[:-1] @ h[-1]).max(), atol=1e-9)
            np.testing.assert_allclose(c.score, (1 - alpha) * c.probability - alpha * c.similarity, atol=1e-12)
        assert token == max(step, key=lambda c: c.score).token
        ids.append(token)


def test_candidates_may_be_few_at_one_position_and_many_at_the_next(tiny):
    def process(ids, logits):
        logits[[1, 6, 3][len(ids) % 3] :] = -np.inf
        return logits

    found = contrastive_search(tiny, [1, 2], top_k=6, max_new_tokens=12, process=process)
    assert [len(step) for step in found.steps] == [3, 1, 6] * 4
    again = [contrastive_search(tiny, [1, 2, *found.tokens[:n]], top_k=6, max_new_tokens=1, process=process).tokens[0]
             for n in range(12)]  # fmt: skip
    assert again == found.tokens


def test_it_ends_by_end_tokens_stops_and_the_window(tiny):
    settings = {"max_new_tokens": 8, "penalty_alpha": 0.9}
    whole = contrastive_search(tiny, [1, 2], **settings).tokens
    at = next(i for i in range(1, 8) if whole[i] not in whole[:i])
    ended = contrastive_search(tiny, [1, 2], eos=whole[at], **settings)
    assert (ended.tokens, ended.finish_reason, ended.text) == (whole[:at], "stop", None)
    stopped = contrastive_search(tiny, [1, 2], stop=f"<{whole[at]}>", decode=lambda ids: "".join(f"<{i}>" for i in ids),
                                 **settings)  # fmt: skip
    assert (stopped.tokens, stopped.text) == (whole[: at + 1], "".join(f"<{i}>" for i in whole[:at]))
    full = contrastive_search(tiny, [1] * 20, max_new_tokens=5)
    assert (len(full.tokens), full.finish_reason) == (4, "context")
    assert contrastive_search(tiny, [1], max_new_tokens=0).tokens == []


def test_a_trace_around_it_sees_the_model_and_is_there_afterwards(tiny):
    plain = contrastive_search(tiny, [1, 2], max_new_tokens=3)
    with nextword.trace(tiny, names="h.*.attn.out") as t:
        assert contrastive_search(tiny, [1, 2], max_new_tokens=3) == plain
        assert tiny.tap is t
    assert len(t.all("h.0.attn.out")) == 4


@pytest.mark.parametrize(("settings", "message"), [
    ({"penalty_alpha": 1.5}, "penalty_alpha must be a number 0 .. 1, got 1.5"),
    ({"penalty_alpha": np.nan}, "penalty_alpha must be a number 0 .. 1, got nan"),
    ({"penalty_alpha": "a"}, "penalty_alpha must be a number 0 .. 1, got 'a'"),
    ({"top_k": 0}, "top_k must be an integer >= 1, got 0"),
    ({"max_new_tokens": 1.0}, "max_new_tokens must be an integer >= 0, got 1.0"),
    ({"stop": "x"}, "stop strings need decode"),
    ({"process": lambda _, x: x - np.inf}, "no token may follow after 0 new ones"),
    ({"process": lambda _, x: x * np.nan}, "process must return numbers or -inf, got nan"),
])  # fmt: skip
def test_a_setting_out_of_range_is_an_error_that_names_it(tiny, settings, message):
    before = tiny.tap
    with pytest.raises(ValueError, match=f"contrastive_search: {message}"):
        contrastive_search(tiny, [1], **settings)
    assert tiny.tap is before


def test_not_a_number_is_an_error():
    broken = random_model(tiny_config())
    nowhere = {"logits": lambda x: x * np.float32(np.nan)}
    with pytest.raises(ValueError, match="contrastive_search: the largest logit must be finite, got nan"):  # noqa: SIM117
        with nextword.trace(broken, names=[], replace=nowhere):
            contrastive_search(broken, [1])

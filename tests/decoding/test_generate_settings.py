"""generate: settings of a row, several texts for a prompt, log-probabilities, shared beginnings."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword import Sampling
from nextword.decoding.beams import beam_search
from nextword.decoding.beginnings import SHARED, Beginnings, common_beginning, common_length
from nextword.decoding.contrastive import contrastive_search
from nextword.decoding.prefix import PrefixCache
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, run, settings_of_rows, tiny_config


@pytest.fixture(scope="module")
def tiny():
    """A model of random weights without a vocabulary; its window is 96 tokens."""
    return LanguageModel(random_model(tiny_config(n_positions=96), seed=5))


def log_softmax(logits):
    x = logits.astype(np.float64)
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


@given(
    prompts=st.lists(st.lists(st.integers(0, 36), min_size=1, max_size=40), min_size=1, max_size=4),
    settings=st.lists(settings_of_rows(), min_size=4, max_size=4),
)
def test_a_row_with_its_own_settings_is_that_prompt_alone(tiny, prompts, settings):
    settings = [Sampling(**s) for s in settings[: len(prompts)]]
    together = tiny.generate(prompts, sampling=settings)
    for prompt, one, row in zip(prompts, settings, together, strict=True):
        alone = tiny.generate(prompt, sampling=one)
        assert (row.tokens, row.finish_reason, row.seed, row.logprobs) == (
            alone.tokens, alone.finish_reason, alone.seed, alone.logprobs)  # fmt: skip


@given(prefix=st.integers(0, 60), tails=st.lists(st.lists(st.integers(0, 36), min_size=1, max_size=9), min_size=2,
                                                 max_size=5))
def test_a_beginning_in_common_is_encoded_once_and_changes_no_bit(tiny, prefix, tails):
    start = np.random.default_rng(1).integers(0, 37, prefix).tolist()
    prompts = [start + tail for tail in tails]
    settings = {"temperature": 2.0, "max_new_tokens": 5, "logprobs": 0, "seed": list(range(len(prompts)))}
    together = tiny.generate(prompts, **settings)
    for seed, (prompt, row) in enumerate(zip(prompts, together, strict=True)):
        alone = tiny.generate(prompt, **{**settings, "seed": seed})
        assert (row.tokens, row.logprobs) == (alone.tokens, alone.logprobs)
    whole = sum(map(len, prompts))
    arrays = [np.array(p) for p in prompts]
    once = common_beginning(arrays)  # held once, in whole panels; else copied from row to row
    known, copied = Beginnings(), 0
    for i, prompt in enumerate(arrays):
        copied += known.find(prompt)[1]
        known.add(i, prompt)
    shared = once * (len(prompts) - 1) or copied
    assert together[0].timings.prefill_tokens == whole - shared
    if prefix >= SHARED:
        assert shared >= prefix // 32 * 32 * (len(prompts) - 1)


def test_one_of_a_batch_that_gets_no_tokens_lends_nothing(tiny):
    prompt = list(range(37))
    out = tiny.generate([prompt, prompt], sampling=[Sampling(max_new_tokens=0), Sampling(max_new_tokens=3)])
    assert out[0].tokens == []
    assert out[1].tokens == tiny.generate(prompt, max_new_tokens=3).tokens


def test_beginnings_in_common_survive_sliding(tiny):
    prompts = [[1] * 90, [1] * 95, [1] * 120, [1] * 130]
    together = tiny.generate(prompts, max_new_tokens=20, on_overflow="slide")
    for prompt, row in zip(prompts, together, strict=True):
        assert row.tokens == tiny.generate(prompt, max_new_tokens=20, on_overflow="slide").tokens


@given(st.lists(st.integers(0, 2), max_size=8), st.lists(st.integers(0, 2), max_size=8))
def test_the_common_length_is_that_of_the_common_beginning(a, b):
    n = common_length(np.array(a, np.int64), np.array(b, np.int64))
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


# Several texts


def test_n_texts_are_those_of_rows_with_one_seed(tiny):
    prompt = list(range(36))
    three = tiny.generate(prompt, n=3, temperature=3.0, seed=8, max_new_tokens=10)
    rows = tiny.generate([prompt] * 3, temperature=3.0, seed=8, max_new_tokens=10)
    assert [g.tokens for g in three] == [g.tokens for g in rows]
    assert len({tuple(g.tokens) for g in three}) == 3
    assert three[0].timings.prefill_tokens == 32 + 3 * 4  # a panel of the cache once, the rest for each


def test_each_prompt_of_a_batch_may_have_several_texts(tiny):
    out = tiny.generate([[1], [2], [3]], seed=[5, 6, 7], max_new_tokens=6,
                        sampling=[Sampling(temperature=2, n=2), Sampling(), Sampling(temperature=2, n=3)])
    assert [len(x) if isinstance(x, list) else None for x in out] == [2, None, 3]
    alone = tiny.generate([3], sampling=Sampling(temperature=2, n=3), seed=7, max_new_tokens=6)
    assert [g.tokens for g in out[2]] == [g.tokens for g in alone]


def test_best_of_returns_the_texts_with_the_highest_mean_logprob(tiny):
    settings = {"temperature": 4.0, "seed": 3, "max_new_tokens": 8}
    every = tiny.generate([1, 2], n=6, logprobs=0, **settings)
    mean = [np.mean([t.logprob for t in g.logprobs]) for g in every]
    order = sorted(range(6), key=lambda i: -mean[i])
    best = tiny.generate([1, 2], n=2, best_of=6, **settings)
    assert [g.tokens for g in best] == [every[i].tokens for i in order[:2]]
    assert best[0].logprobs is None
    assert tiny.generate([1, 2], best_of=6, **settings).tokens == every[order[0]].tokens


def test_a_stream_tells_one_text(tiny):
    for settings in ({"n": 2, "temperature": 1}, {"best_of": 2, "temperature": 1}, {"num_beams": 2}):
        with pytest.raises(ValueError, match="stream: one text is told as it comes"):
            tiny.stream([1], **settings)


# Log-probabilities


@pytest.mark.parametrize("k", [0, 1, 5, 99])
def test_logprobs_are_the_models_own(isa, tiny, k):
    out = tiny.generate([1, 2, 3], max_new_tokens=6, temperature=2.0, seed=4, logprobs=k, top_k=5,
                        repetition_penalty=2.0)
    text = [1, 2, 3, *out.tokens]
    for i, told in enumerate(out.logprobs):
        expected = log_softmax(run(tiny.model, [text[: 3 + i]])[-1])
        assert told.token == out.tokens[i]
        # float32 exponentials in the sum: a few units in the last place
        assert told.logprob == pytest.approx(expected[told.token], abs=1e-5)
        order = np.lexsort((np.arange(len(expected)), -expected))[:k]
        assert [t for t, _ in told.top] == order.tolist()
        assert [p for _, p in told.top] == pytest.approx(expected[order].tolist(), abs=1e-5)
    assert len(out.logprobs) == len(out.tokens)
    assert tiny.generate([1], max_new_tokens=2).logprobs is None


# Rules within a text


def test_min_new_tokens_holds_the_end_back(demo):
    stop = demo.generate("Once upon a time", max_new_tokens=8).tokens[1]
    out = demo.generate("Once upon a time", max_new_tokens=12, min_new_tokens=5, stop=stop)
    assert stop not in out.tokens[:5]
    assert len(out.tokens) >= 5


def test_bad_words_and_bias_steer_a_text(demo):
    plain = demo.generate("Once upon a time", max_new_tokens=12)
    first = demo.tokenizer.decode(plain.tokens[:1])
    assert plain.tokens[0] not in demo.generate("Once upon a time", max_new_tokens=12, bad_words=[first]).tokens
    king = demo.generate("Once upon a time", max_new_tokens=3, logit_bias={" king": 100.0})
    assert king.text == " king king king"


def test_no_pair_of_tokens_occurs_twice(demo):
    out = demo.generate("The king and the king and the", max_new_tokens=60, no_repeat_ngram_size=2)
    text = out.prompt_tokens + out.tokens
    new = list(zip(text[len(out.prompt_tokens) - 1 :], text[len(out.prompt_tokens) :], strict=False))
    assert len(new) == len(set(new))


def test_a_text_that_has_no_token_left_is_an_error_that_says_so(tiny):
    everything = [[i] for i in range(37)]
    with pytest.raises(ValueError, match="the largest logit must be finite"):
        tiny.generate([1], bad_words=everything, max_new_tokens=2)
    with pytest.raises(ValueError, match="finite"):
        tiny.generate([1], bad_words=everything, max_new_tokens=2, temperature=1.0)
    with pytest.raises(ValueError, match="finite"):
        tiny.generate([1], processors=lambda x: x * np.float32(np.nan), max_new_tokens=2, temperature=1.0)


def test_uniform_draws_evenly_from_the_best(tiny):
    logits = tiny.logits([1, 2, 3], last_only=True)
    best = np.argsort(-logits)[:3]
    every = tiny.generate([[1, 2, 3]] * 600, max_new_tokens=1, temperature=1.0, top_k=3, uniform=True, seed=1)
    counts = [sum(g.tokens == [int(token)] for g in every) for token in best]
    assert sum(counts) == 600
    # each count is binomial with mean 200 and deviation 11.5; the seed is fixed, so that this cannot flicker
    assert max(abs(c - 200) for c in counts) < 5 * 11.5


def test_settings_may_come_as_an_object_and_be_changed(tiny):
    s = Sampling(temperature=2.0, seed=5, max_new_tokens=4)
    given = tiny.generate([1], temperature=2.0, seed=5, max_new_tokens=4)
    assert tiny.generate([1], sampling=s).tokens == given.tokens
    assert len(tiny.generate([1], sampling=s, max_new_tokens=7).tokens) == 7
    for wrong, told in (([s, s], "sampling must be one or one for each of the 1 prompts"), ({"a": 1}, "must be next")):
        with pytest.raises((ValueError, TypeError), match=told):
            tiny.generate([1], sampling=wrong)
    with pytest.raises(TypeError, match="did you mean temperature"):
        tiny.generate([1], temperatur=1)


def test_the_top_names_are_public():
    assert nextword.Sampling is Sampling


@given(prompts=st.lists(st.integers(1, 60), min_size=1, max_size=4), again=st.integers(1, 60))
def test_a_prefix_store_is_used_across_calls_and_changes_no_bit(tiny, prompts, again):
    store = PrefixCache(tiny.model, tokens=256)
    text = np.random.default_rng(2).integers(0, 37, 60).tolist()
    settings = {"max_new_tokens": 6, "temperature": 2.0, "logprobs": 0, "seed": 3}
    for batch in ([text[:n] for n in prompts], [text[:again]]):
        plain = tiny.generate(batch, **settings)
        stored = tiny.generate(batch, prefix=store, **settings)
        assert [(g.tokens, g.logprobs) for g in plain] == [(g.tokens, g.logprobs) for g in stored]
    known = min(again, max(prompts))
    assert stored[0].timings.prefill_tokens == again - min(known, again - 1)


def test_a_prefix_store_of_another_model_is_refused(tiny):
    other = LanguageModel(random_model(tiny_config(), seed=6))
    with pytest.raises(ValueError, match="must be a PrefixCache of this model"):
        tiny.generate([1], prefix=PrefixCache(other.model))


# Searches


def test_beam_search_of_generate_is_that_of_beams(tiny):
    settings = {"num_beams": 4, "max_new_tokens": 8, "length_penalty": 0.5, "early_stopping": True}
    found = beam_search(tiny.model, [1, 2, 3], num_return_sequences=3, eos=(), stop=(5,), **settings)
    every = tiny.generate([1, 2, 3], n=3, stop=5, eos=None, logprobs=1, **settings)
    assert [(g.tokens, g.score, g.finish_reason) for g in every] == [
        (b.tokens, b.score, b.finish_reason) for b in found.beams]  # fmt: skip
    assert every[0].beams == found
    for g, beam in zip(every, found.beams, strict=True):
        assert [t.logprob for t in g.logprobs] == pytest.approx(beam.logprobs, abs=1e-5)
        assert len(g.logprobs[0].top) == 1
    assert tiny.generate([1, 2, 3], stop=5, eos=None, **settings).tokens == found.beams[0].tokens


def test_beams_obey_the_rules(tiny):
    settings = {"num_beams": 3, "max_new_tokens": 8, "eos": None}
    plain = tiny.generate([1, 2], **settings).tokens
    assert plain[0] not in tiny.generate([1, 2], bad_words=[[plain[0]]], **settings).tokens
    out = tiny.generate([1, 2], no_repeat_ngram_size=1, **settings)
    assert len({1, 2, *out.tokens}) == 2 + len(out.tokens)
    assert plain[2] not in tiny.generate([1, 2], stop=plain[2], min_new_tokens=5, **settings).tokens[:5]


def test_searches_and_sampling_share_a_batch(tiny):
    every = [Sampling(num_beams=3, n=2), Sampling(temperature=2.0, seed=4), Sampling(penalty_alpha=0.6), Sampling()]
    out = tiny.generate([[1], [2], [3], [4]], sampling=every, max_new_tokens=6)
    alone = [tiny.generate([i + 1], sampling=one, max_new_tokens=6) for i, one in enumerate(every)]
    assert [g.tokens for g in out[0]] == [g.tokens for g in alone[0]]
    assert [g.tokens for g in out[1:]] == [g.tokens for g in alone[1:]]


def test_contrastive_search_of_generate_is_that_of_contrastive(tiny):
    found = contrastive_search(tiny.model, [1, 2], penalty_alpha=0.5, top_k=3, max_new_tokens=7)
    out = tiny.generate([1, 2], penalty_alpha=0.5, top_k=3, max_new_tokens=7, eos=None)
    assert (out.tokens, out.finish_reason) == (found.tokens, found.finish_reason)
    assert out.timings.prefill_tokens == 2


def test_a_search_does_not_slide(tiny):
    for settings in ({"num_beams": 2}, {"penalty_alpha": 0.5}):
        with pytest.raises(ValueError, match="for a search"):
            tiny.generate([1], on_overflow="slide", **settings)


def test_pairs_of_a_batch_share_their_own_beginnings(tiny):
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 37, 50).tolist(), rng.integers(0, 37, 45).tolist()
    prompts = [[*a, 1], [*b, 2], [*a, 3], [*b, 4]]
    together = tiny.generate(prompts, max_new_tokens=5)
    assert [g.tokens for g in together] == [tiny.generate(p, max_new_tokens=5).tokens for p in prompts]
    assert together[0].timings.prefill_tokens == 51 + 46 + 1 + 1


def test_a_shared_beginning_looks_the_same_from_inside(tiny):
    prompts = [list(range(37)) * 2, list(range(37)) + [5] * 9]
    settings = {"max_new_tokens": 3, "on_overflow": "stop"}
    with nextword.trace(tiny, names="h.1.attn.weights") as seen:
        traced = tiny.generate(prompts, **settings)
    assert [g.tokens for g in traced] == [tiny.generate(p, **settings).tokens for p in prompts]
    assert seen.all("h.1.attn.weights")[-1].shape[-1] == len(prompts[1]) + 2


# A text of several, repeated alone


@given(
    seed=st.integers(0, 2**64 - 1), row=st.integers(0, 2**63), own=st.booleans(), n=st.integers(1, 3),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3),
)  # fmt: skip
def test_each_text_is_repeated_alone_by_its_seed_and_row(tiny, seed, row, own, n, lengths):
    prompts = [[i + 1] * length for i, length in enumerate(lengths)]
    seeds = [seed // (i + 1) for i in range(len(prompts))] if own else seed
    settings = {"temperature": 3.0, "max_new_tokens": 5, "logprobs": 1}
    together = tiny.generate(prompts, seed=seeds, row=row, n=n, **settings)
    for prompt, texts in zip(prompts, together, strict=True):
        for one in texts if n > 1 else [texts]:
            alone = tiny.generate(prompt, seed=one.seed, row=one.row, **settings)
            assert (alone.tokens, alone.logprobs, alone.seed, alone.row) == (
                one.tokens, one.logprobs, one.seed, one.row)  # fmt: skip


def test_the_best_of_several_is_repeated_alone_and_without_a_seed_too(tiny):
    best = tiny.generate([1, 2], temperature=3.0, best_of=6, max_new_tokens=5)
    assert tiny.generate([1, 2], temperature=3.0, seed=best.seed, row=best.row, max_new_tokens=5).tokens == best.tokens
    rows = {one.row for one in tiny.generate([1], temperature=3.0, n=4, max_new_tokens=2)}
    assert rows == {0, 1, 2, 3}
    session = tiny.session([1, 2])
    assert session.generate(temperature=3.0, seed=best.seed, row=best.row, max_new_tokens=5).tokens == best.tokens


def test_rows_beyond_the_counters_range_are_an_error():
    Sampling(row=2**64 - 2, n=2, temperature=1)
    with pytest.raises(ValueError, match="row must be below"):
        Sampling(row=2**64 - 2, n=3, temperature=1)


# Log-probabilities


def test_all_log_probabilities_of_a_token_have_the_same_bits(tiny):
    prompt, settings = [1, 2, 3], {"max_new_tokens": 20, "logprobs": 37, "eos": None}
    ways = [{}, {"temperature": 2.0, "seed": 1}, {"num_beams": 3}, {"penalty_alpha": 0.4}, {"draft": "lookup"}]
    for way in ways:
        out = tiny.generate(prompt, **settings, **way)
        told = [one.logprob for one in out.logprobs]
        assert told == tiny.score(prompt + out.tokens, start=None).logprobs[3:].tolist()
        assert told == tiny.choose(prompt, [out.tokens])[0].logprobs.tolist()
        assert all(dict(one.top)[one.token] == one.logprob for one in out.logprobs)
        if out.beams is not None:
            assert out.beams.beams[0].logprobs == np.float32(told).tolist()


# None, and numbers beyond any limit


def test_none_is_the_default_of_every_argument(demo):
    names = [field.name for field in fields(Sampling)]
    expected = demo.generate("Once upon", max_new_tokens=3)
    nothing = dict.fromkeys([*names, "sampling", "on_overflow", "explain", "prefix", "draft", "allowed_special"])
    assert demo.generate("Once upon", **{**nothing, "max_new_tokens": 3}).tokens == expected.tokens
    del nothing["prefix"]
    assert "".join(demo.stream("Once upon", **{**nothing, "max_new_tokens": 3})) == expected.text


@pytest.mark.parametrize("settings", [
    {"max_new_tokens": 10**30, "on_overflow": "stop"}, {"top_k": 10**30, "temperature": 1.0},
    {"logprobs": 10**30}, {"explain": 10**30}, {"no_repeat_ngram_size": 10**30},
    {"penalty_alpha": 0.5, "top_k": 10**30},
    {"max_new_tokens": 10**30, "on_overflow": "stop", "num_beams": 2},
])  # fmt: skip
def test_a_number_may_be_beyond_what_there_is(tiny, settings):
    out = tiny.generate([1, 2], **{"max_new_tokens": 2, **settings})
    assert len(out.tokens) == (95 if settings.get("on_overflow") else 2)


@pytest.mark.parametrize("settings", [{"n": 10**15, "temperature": 1.0}, {"best_of": 10**15, "temperature": 1.0},
                                      {"num_beams": 10**30}])
def test_more_texts_than_any_memory_holds_are_an_error(tiny, settings):
    with pytest.raises(MemoryError, match="GB of memory, and"):
        tiny.generate([1, 2], **{"max_new_tokens": 2, **settings})


def test_rows_beyond_the_largest_number_are_an_error_that_names_row(tiny):
    last = 2**64 - 1
    assert len(tiny.generate([1], temperature=1.0, seed=1, row=last, max_new_tokens=2).tokens) == 2
    with pytest.raises(ValueError, match=f"generate: row must leave room below 2\\*\\*64 for 2 texts, got {last}"):
        tiny.generate([[1], [2]], temperature=1.0, seed=1, row=last)

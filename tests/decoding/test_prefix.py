"""prefix.py: what the store gives are the model's own bits; it finds the longest beginning and keeps its bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.decoding.prefix import PrefixCache
from nextword.models.cache import PANEL
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, run, tiny_config

WINDOW = 150


@pytest.fixture(scope="module", params=["float32", "bfloat16", "int8"])
def model(request):
    return random_model(tiny_config(n_positions=WINDOW, vocab_size=5), kv_dtype=request.param)


@st.composite
def prompts(draw, most=6, vocabulary=5):
    """Prompts that begin like each other at any length, as a tree of turns does."""
    made = [[]]
    for _ in range(draw(st.integers(1, most))):
        begin = draw(st.sampled_from(made))
        begin = begin[: draw(st.integers(0, len(begin)))]
        rest = np.random.default_rng(draw(st.integers(0, 99))).integers(0, vocabulary, WINDOW - len(begin)).tolist()
        made.append(begin + rest[: draw(st.integers(0, len(rest)))])
    return [ids for ids in made if ids]


def encode(model, store, ids, slots=1, slot=0):
    """Logits of all but what the store gave, and how many that were."""
    cache = model.cache(slots, len(ids))
    held = store.fetch(ids[:-1], cache, slot)
    assert cache.lengths[slot] == held
    logits = model([np.array(ids[held:])], cache, [slot])
    store.remember(ids, cache, slot)
    return logits, held


def common(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@given(prompts(), st.integers(0, 2))
def test_logits_have_the_same_bits_with_and_without_the_store(isa, model, several, slot):
    store = PrefixCache(model, 96)
    for ids in several:
        logits, held = encode(model, store, ids, 3, slot)
        np.testing.assert_array_equal(logits, run(model, [ids])[held:])


@given(st.data())
def test_models_of_any_shape_take_the_bits_of_the_store(data):
    model = data.draw(models())
    store = PrefixCache(model)
    for _ in range(3):
        ids = [data.draw(st.integers(0, min(1, model.vocabulary - 1)))] * data.draw(st.integers(1, model.limit))
        logits, held = encode(model, store, ids)
        np.testing.assert_array_equal(logits, run(model, [ids])[held:])


@given(prompts())
def test_the_longest_common_beginning_counts(model, several):
    store = PrefixCache(model, 10_000)
    for number, ids in enumerate(several):
        known = max((common(ids, other) for other in several[:number]), default=0)
        assert store.lookup(ids) == known
        _, held = encode(model, store, ids)
        assert held == min(known, len(ids) - 1)
        assert store.lookup(ids) == len(ids)


@given(prompts(most=10), st.sampled_from([32, 33, 64, 96, 1000]))
def test_the_store_keeps_its_bound_and_the_newest(model, several, tokens):
    store = PrefixCache(model, tokens)
    size, scales = {"float32": (4, 0), "bfloat16": (2, 0), "int8": (1, 2 * 4)}[model.kv_dtype]
    page = 2 * 3 * PANEL * (size * (5 + 32) + scales)  # layers, heads, tokens; a head's 5 values take a panel of 32
    for ids in several:
        encode(model, store, ids)
        assert len(store) <= tokens
        assert store.bytes <= tokens // PANEL * page
        assert store.lookup(ids) == min(len(ids), tokens // PANEL * PANEL)


def test_common_beginnings_are_held_once(model):
    store, shared = PrefixCache(model, 1000), [1, 2, 3, 4] * 16
    for last in range(4):
        encode(model, store, [*shared, last, last])
    assert len(store) == 64 + 4 * 2
    one = store.bytes
    encode(model, store, [*shared, 0, 0, 0, 1])  # goes on in a page that is there
    assert (len(store), store.bytes) == (64 + 3 * 2 + 4, one)


def test_what_was_used_last_stays(model):
    store = PrefixCache(model, 64)
    a, b, c = ([n] * 20 for n in range(3))
    for ids in (a, b, a, c):
        encode(model, store, ids)
    assert [store.lookup(ids) for ids in (a, b, c)] == [20, 0, 20]


def test_clear_forgets_everything(model):
    store = PrefixCache(model)
    encode(model, store, [1] * 40)
    assert (len(store), repr(store)) == (40, f"PrefixCache(40 of 4096 tokens, {store.bytes} bytes)")
    store.clear()
    assert (len(store), store.bytes, store.lookup([1])) == (0, 0, 0)


def test_a_slot_keeps_what_it_held_if_that_is_more(model):
    store, ids = PrefixCache(model), [3] * 70
    encode(model, store, ids[:40])
    cache = model.cache(1)
    model([np.array(ids[:50])], cache)
    assert store.fetch(ids, cache) == 50
    cache.lengths[0] = 35
    assert store.fetch(ids, cache) == 40
    np.testing.assert_array_equal(model([np.array(ids[40:])], cache), run(model, [ids])[40:])


def test_a_trace_sees_every_activation_and_changes_nothing_in_the_store(model):
    store, ids = PrefixCache(model), [1, 2, 3]
    encode(model, store, ids)
    with nextword.trace(model, names="wte", replace={"h.0.attn.out": lambda x: 0 * x}) as t:
        _, held = encode(model, store, ids)
        encode(model, store, [4, 4])
    assert held == 0
    assert len(t.all("wte")[0]) == 3
    assert store.lookup([4, 4]) == 0


@given(prompts(most=4), st.sampled_from([0.0, 1.3]))
def test_generated_tokens_are_the_same_with_and_without_the_store(model, several, temperature):
    lm, store = LanguageModel(model), PrefixCache(model, 128)
    settings = {"max_new_tokens": 5, "temperature": temperature, "seed": 1, "on_overflow": "slide"}
    for ids in several:
        assert lm.session(ids, prefix=store).generate(**settings).tokens == lm.generate(ids, **settings).tokens


@given(prompts(most=4))
def test_rows_of_a_batch_may_begin_with_the_store(model, several):
    store = PrefixCache(model, 256)
    for ids in several[:2]:
        encode(model, store, ids)
    cache = model.cache(len(several))
    waiting = [np.array(ids[store.fetch(ids[:-1], cache, slot) :]) for slot, ids in enumerate(several)]
    ends = np.cumsum([len(part) for part in waiting]) - 1
    logits = model(waiting, cache, rows=ends)
    for ids, row in zip(several, logits, strict=True):
        np.testing.assert_array_equal(row, run(model, [ids])[-1])


def test_a_store_of_less_than_a_page_or_of_another_model_is_an_error(model):
    with pytest.raises(ValueError, match="tokens must be at least 32"):
        PrefixCache(model, 31)
    store, other = PrefixCache(model), random_model(tiny_config(n_head=5))
    for use in (store.fetch, store.remember):
        with pytest.raises(ValueError, match="the cache must be the model's"):
            use([1], other.cache(1))
    longer = random_model(tiny_config(vocab_size=5), kv_dtype="int8" if model.kv_dtype == "float32" else "float32")
    with pytest.raises(ValueError, match=f"model's, {model.kv_dtype} .* got {longer.kv_dtype}"):
        store.fetch([1], longer.cache(1))
    encode(model, store, [1] * 40)
    with pytest.raises(ValueError, match="room for 40 tokens, got a capacity of 32"):
        store.fetch([1] * 40, model.cache(1, 3))
    with pytest.raises(ValueError, match="prefix must be a PrefixCache of this model"):
        LanguageModel(other).session(prefix=store)


@pytest.mark.parametrize("tokens", [math.nan, math.inf, 64.5, None, "64"])
def test_a_number_of_tokens_that_is_none_is_a_type_error(model, tokens):
    with pytest.raises(TypeError, match="PrefixCache: tokens must be an integer, got "):
        PrefixCache(model, tokens=tokens)

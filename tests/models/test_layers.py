"""layers.py: the same bits in one pass as step by step; the cache keeps keys and values where it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import ops, reference
from nextword.models.attention import Attention
from nextword.models.cache import PANEL, KVCache
from nextword.models.gpt2 import ACTIVATIONS
from nextword.models.inputs import Past
from nextword.models.layers import ActivatedLinear, Embedding, LayerNorm, Linear, RMSNorm
from nextword.models.rotary import Rope, Turns
from nextword.models.trace import Tap
from strategies import kv_dtypes, random_model, run, tiny_config


class Asked(Tap):
    """A tap that asks for everything and changes nothing."""

    def __init__(self):
        self.seen = {}

    def __call__(self, name, x):
        self.seen[name] = x
        return x

    def wants(self, name):
        return True


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


sizes = st.integers(1, 70)
seeds = st.integers(0, 2**16)


@given(seeds, st.integers(0, 20), sizes, sizes)
def test_a_linear_layer_adds_to_a_residual_with_the_bits_of_two_steps(isa, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    linear = Linear(ops, ops.pack(normal(rng, depth, cols)), normal(rng, cols))
    x, residual, asked = normal(rng, rows, depth), normal(rng, rows, cols), Asked()
    fused = linear.add_to(residual, x, Tap(), "y")
    np.testing.assert_array_equal(fused, linear.add_to(residual, x, asked, "y"))
    np.testing.assert_array_equal(asked.seen["y"], linear(x))
    np.testing.assert_array_equal(fused, residual + linear(x))


@pytest.mark.parametrize("form", sorted(set(ACTIVATIONS.values())))
@given(seeds, st.integers(0, 20), sizes, sizes)
def test_an_activated_layer_has_the_same_bits_seen_and_unseen(isa, form, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    layer = ActivatedLinear(ops, ops.pack(normal(rng, depth, cols)), normal(rng, cols), form)
    x, asked = normal(rng, rows, depth), Asked()
    fused = layer.activated(x, Tap(), "y")
    np.testing.assert_array_equal(fused, layer.activated(x, asked, "y"))
    np.testing.assert_array_equal(fused, getattr(ops, form)(asked.seen["y"]))


@given(seeds, st.integers(1, 20), sizes, st.integers(1, 50))
def test_an_embedding_has_the_same_bits_seen_and_unseen(isa, seed, tokens, width, vocabulary):
    rng = np.random.default_rng(seed)
    wte, wpe = normal(rng, vocabulary, width), normal(rng, 30, width)
    layer = Embedding(ops, ops.pack_transposed(wte), wpe, ("wte", "wpe"))
    ids, places, asked = rng.integers(0, vocabulary, tokens), rng.integers(0, 30, tokens), Asked()
    found = layer(ids, places, Tap())
    np.testing.assert_array_equal(found, layer(ids, places, asked))
    np.testing.assert_array_equal(found, wte[ids] + wpe[places])
    np.testing.assert_array_equal(asked.seen["wte"], wte[ids])
    np.testing.assert_array_equal(asked.seen["wpe"], wpe[places])


def test_layer_norm_passes_its_epsilon_on():
    x, one, zero = np.float32([[1, 3]]), np.ones(2, np.float32), np.zeros(2, np.float32)
    found = LayerNorm(ops, one, zero, 3.0)(x)  # variance 1, so the deviation is sqrt(1 + 3)
    np.testing.assert_array_equal(found, [[-0.5, 0.5]])


def attentions(draw):
    """An attention of any group, window, turn and norms, and the width of its heads."""
    kv_heads, group, width = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(sizes)
    turns = norms = None
    if draw(st.booleans()) and width % 2 == 0:
        turns = Turns(Rope(), width, 200)
        turns.reach(200)
    if draw(st.booleans()):
        norms = tuple(RMSNorm(ops, normal(np.random.default_rng(n), width), 1e-5) for n in range(2))
    window = draw(st.sampled_from([0, 1, 7, 40]))
    return Attention(ops, kv_heads * group, 0.3, "a", kv_heads, turns, norms, window), width


def a_pass(cache, slots, fresh):
    return Past(cache, slots, fresh, cache.rows(slots, fresh).positions)


@given(st.data(), seeds, kv_dtypes, st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_attention_has_the_same_bits_seen_and_unseen(isa, data, seed, dtype, fresh):
    (layer, width), rng, count = attentions(data.draw), np.random.default_rng(seed), len(fresh)
    plain, traced = (KVCache(ops, 1, count, layer.kv_heads, width, 80, dtype=dtype) for _ in range(2))
    slots, new = rng.permutation(count), np.array(fresh)
    if not new.sum():
        new[0] = 1
    asked = Asked()
    for _ in range(2):  # the second time over a past
        qkv = normal(rng, int(new.sum()), (layer.heads + 2 * layer.kv_heads) * width)
        found = layer(qkv, a_pass(plain, slots, new), 0, Tap())
        np.testing.assert_array_equal(found, layer(qkv, a_pass(traced, slots, new), 0, asked))
        for cache in (plain, traced):
            cache.lengths[slots] += new
    np.testing.assert_array_equal(asked.seen["a.q"], by_head(qkv[:, : layer.heads * width], layer.heads))


@given(seeds, st.integers(1, 3), st.integers(1, 3), sizes, st.integers(1, 60))
def test_heads_that_share_keys_have_the_bits_of_heads_with_copies_of_them(isa, seed, kv_heads, group, width, tokens):
    rng, heads = np.random.default_rng(seed), kv_heads * group
    q, k, v = normal(rng, tokens, heads * width), *(normal(rng, tokens, kv_heads, width) for _ in range(2))
    new, slots, found = np.array([tokens]), np.array([0]), []
    for count in (kv_heads, heads):
        cache = KVCache(ops, 1, 1, count, width, tokens)
        copies = (np.repeat(x, count // kv_heads, 1).reshape(tokens, -1) for x in (k, v))
        layer = Attention(ops, heads, 0.3, "a", count)
        found.append(layer(np.concatenate([q, *copies], 1), a_pass(cache, slots, new), 0, Tap()))
    np.testing.assert_array_equal(*found)


class Replaced(Asked):
    """A tap that gives other arrays of the same numbers."""

    def __call__(self, name, x):
        self.seen[name] = x
        return x.copy()


@given(seeds, kv_dtypes, st.integers(1, 3), sizes, st.integers(1, 70), st.booleans())
def test_replaced_weights_are_of_the_values_that_the_cache_holds(isa, seed, dtype, heads, width, tokens, apart):
    rng = np.random.default_rng(seed)
    layer, one = Attention(ops, heads, 0.3, "a"), np.array([0])
    first = KVCache(ops, 1, 1, heads, width, PANEL, dtype=dtype)
    layer(normal(rng, PANEL, 3 * heads * width), a_pass(first, one, np.array([PANEL])), 0, Tap())
    first.lengths[0] = PANEL
    plain, traced = (KVCache(ops, 1, 1, heads, width, 110, first if apart else None, dtype) for _ in range(2))
    qkv, asked = normal(rng, tokens, 3 * heads * width), Replaced()
    found = layer(qkv, a_pass(plain, one, np.array([tokens])), 0, Tap())
    again = layer(qkv, a_pass(traced, one, np.array([tokens])), 0, asked)
    # The same weighted sum, taken twice: a rounding for each product, each term of a chain, the two scales of a value
    # and the weight itself; |v| of int8 is at most 127 / 127 of its row's largest.
    weights = np.abs(asked.seen["a.weights"], dtype=np.float64)
    most = max(np.abs(qkv).max(), 6) * 1.01
    bound = (2 * weights.shape[2] + 20) * 2.0**-24 * weights.sum(-1) * most  # [heads, tokens]
    assert (np.abs(found - again).reshape(tokens, heads, width) <= bound.T[..., None]).all()


def by_head(x, heads):
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
@given(seeds, st.integers(1, 3), sizes, st.integers(1, 70))
def test_the_cache_holds_keys_and_values_in_panels_of_32_tokens(arithmetic, seed, heads, width, tokens):
    rng = np.random.default_rng(seed)
    cache = KVCache(ops, 2, 3, heads, width, tokens)
    for held in (*cache.keys, *cache.values):
        held[:] = 0
    k, v = normal(rng, tokens, heads * width), normal(rng, tokens, heads * width)
    one, none = np.array([1]), np.array([0])
    arithmetic.append(k, v, cache.keys[1], cache.values[1], one, none, np.array([tokens]))
    keys = cache.keys[1][1].transpose(0, 1, 3, 2).reshape(heads, cache.capacity, width)
    values = cache.values[1][1].transpose(0, 2, 1, 3).reshape(heads, cache.capacity, -1)[:, :, :width]
    np.testing.assert_array_equal(keys[:, :tokens], by_head(k, heads))
    np.testing.assert_array_equal(values[:, :tokens], by_head(v, heads))
    untouched = [*cache.keys[1][[0, 2]], *cache.values[1][[0, 2]], cache.keys[0], cache.values[0]]
    assert not any(x.any() for x in untouched)


@pytest.mark.parametrize(("asked", "held"), [(0, 32), (1, 32), (32, 32), (33, 64), (1024, 1024)])
def test_the_capacity_of_a_cache_is_whole_panels(asked, held):
    cache = KVCache(ops, 2, 3, 4, 33, asked)
    assert cache.capacity == held
    assert cache.keys[0].shape == (3, 4, held // PANEL, 33, PANEL)
    assert cache.values[1].shape == (3, 4, 2, held, PANEL)
    assert cache.lengths.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("dtype", "bytes_a_number"), [("float32", 4), ("bfloat16", 2), ("int8", 1)])
def test_a_cache_takes_the_bytes_of_its_dtype_and_int8_two_scales_for_each_token_and_head(dtype, bytes_a_number):
    cache = KVCache(ops, 2, 3, 4, 64, 96, dtype=dtype)
    numbers = 2 * 2 * 3 * 4 * 64 * 96  # keys and values, layers, slots, heads, width, tokens
    assert sum(x.nbytes for x in [*cache.keys, *cache.values]) == bytes_a_number * numbers
    assert sum(x.nbytes for x in cache.scales) == (4 * numbers // 64 if dtype == "int8" else 0)


def test_an_unknown_dtype_and_one_that_differs_are_errors_that_name_it():
    with pytest.raises(ValueError, match="cache: dtype must be one of float32, bfloat16, int8, got 'int4'"):
        KVCache(ops, 1, 1, 1, 4, 32, dtype="int4")
    with pytest.raises(ValueError, match="kv_dtype must be one of float32, bfloat16, int8, got 'half'"):
        random_model(tiny_config(), kv_dtype="half")
    first = KVCache(ops, 1, 1, 1, 4, 32)
    first.lengths[0] = 32
    with pytest.raises(ValueError, match="prefix must be of the same dtype, int8, got float32"):
        KVCache(ops, 1, 1, 1, 4, 64, first, "int8")
    with pytest.raises(ValueError, match="both caches must have the same dtype, got float32 and bfloat16"):
        first.copy(0, 0, 3, into=KVCache(ops, 1, 1, 1, 4, 32, dtype="bfloat16"))


@given(st.data())
def test_a_copied_slot_goes_on_with_the_bits_of_its_source(isa, data):
    config = tiny_config(n_positions=100)
    model = random_model(config, kv_dtype=data.draw(kv_dtypes, "dtype"))
    ids = np.random.default_rng(0).integers(0, 37, 100)
    held = data.draw(st.integers(1, 99), "held")
    tokens = data.draw(st.integers(0, held), "tokens")
    start = data.draw(st.integers(0, tokens), "start")
    cache = model.cache(3)
    model([ids[:held]], cache, [1])
    other = np.concatenate([ids[:start], 36 - ids[start:]])  # agrees up to `start`, goes its own way after it
    end = data.draw(st.integers(start, 100), "length of the target")
    if end:
        model([other[:end]], cache, [2])
    before = [x.copy() for x in (*cache.keys, *cache.values, *cache.scales)]
    cache.copy(1, 2, tokens, start)
    assert cache.lengths.tolist() == [0, held, tokens]
    for now, then in zip((*cache.keys, *cache.values, *cache.scales), before, strict=True):
        np.testing.assert_array_equal(now[:2], then[:2])
    fresh = data.draw(st.integers(1, 100 - tokens), "fresh")
    found = model([ids[tokens : tokens + fresh]], cache, [2])
    np.testing.assert_array_equal(found, run(model, [ids[: tokens + fresh]])[tokens:])


def test_a_copy_of_a_slot_to_itself_forgets_what_follows():
    cache = KVCache(ops, 1, 2, 1, 4, 40)
    cache.lengths[:] = 30, 3
    cache.copy(0, 0, 20)
    assert cache.lengths.tolist() == [20, 3]


@pytest.mark.parametrize(("slots", "tokens", "start", "error"), [
    ((0, 2), 1, 0, IndexError), ((-1, 0), 1, 0, IndexError),
    ((0, 1), 31, 0, ValueError), ((0, 1), -1, 0, ValueError), ((0, 1), 5, 6, ValueError), ((0, 1), 5, 4, ValueError),
])  # fmt: skip
def test_a_copy_of_what_is_not_there_is_an_error(slots, tokens, start, error):
    cache = KVCache(ops, 1, 2, 1, 4, 40)
    cache.lengths[:] = 30, 3
    with pytest.raises(error, match="copy: "):
        cache.copy(*slots, tokens, start)
    assert cache.lengths.tolist() == [30, 3]


@given(st.data())
def test_a_slot_copied_into_another_cache_goes_on_with_the_same_bits(isa, data):
    model = random_model(tiny_config(n_positions=100), kv_dtype=data.draw(kv_dtypes, "dtype"))
    ids = np.random.default_rng(0).integers(0, 37, 100)
    held = data.draw(st.integers(1, 99), "held")
    tokens = data.draw(st.integers(0, held), "tokens")
    narrow, wide = model.cache(2, held), model.cache(3, data.draw(st.integers(tokens + 1, 100), "capacity"))
    model([ids[:held]], narrow, [1])
    narrow.copy(1, 1, tokens, into=wide)
    assert (narrow.lengths.tolist(), wide.lengths.tolist()) == ([0, held], [0, tokens, 0])
    found = model([ids[tokens : tokens + 1]], wide, [1])
    np.testing.assert_array_equal(found[0], run(model, [ids[: tokens + 1]])[-1])


def test_a_copy_into_a_cache_without_room_is_an_error():
    big, small = KVCache(ops, 1, 1, 1, 4, 40), KVCache(ops, 1, 1, 1, 4, 32)
    big.lengths[0] = 33
    with pytest.raises(ValueError, match="at most 32 tokens"):
        big.copy(0, 0, 33, into=small)
    with pytest.raises(IndexError, match=r"slots must be 0 .. 0 and 0 .. 0, got 0 and 1"):
        big.copy(0, 1, 3, into=small)

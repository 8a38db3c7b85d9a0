"""inside/inside.py: activations that come back the same; a last lens that is the logits; parts that sum to a logit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import nextword
from made_up import MadeUp, MadeUpConfig
from nextword.inside.inside import Inside
from nextword.inside.rules import Mean, Scale, Zero
from nextword.models.random_weights import RandomWeights
from strategies import models, random_model, tiny_config, token_ids


@pytest.fixture(scope="module")
def demo():
    return nextword.load()


@pytest.fixture(scope="module")
def tiny():
    return nextword.LanguageModel(random_model(tiny_config()))


@st.composite
def insides(draw):
    """A prompt inside a model of any shape, format and cache, without interventions or with one."""
    model = draw(models())
    heads = [draw(st.integers(0, model.heads - 1))]
    layer = draw(st.integers(0, model.layers - 1))
    rules = draw(st.sampled_from([(), (Zero(f"h.{layer}.attn.z", heads=heads),),
                                  (Scale(f"h.{layer}.mlp.out", factor=-2.0),),
                                  (Scale(f"h.{layer}.resid_pre", factor=-2.0), Mean(f"h.{layer}.attn.q")),
                                  (Scale(f"h.{layer}.attn.weights", factor=0.5, heads=heads),),
                                  (Scale(f"h.{layer}.resid_mid", factor=0.5, positions=[0]),)]))  # fmt: skip
    return nextword.LanguageModel(model).inside(draw(token_ids(model)), rules)


# Activations


@given(insides(), st.integers(0, 100_000), st.integers(0, 2**16))
def test_a_recomputed_activation_has_the_bits_of_the_recorded_one(x, keep, seed):
    """Whatever was asked for before, and however little is kept."""
    least = Inside(x.host, x.ids, x.interventions, keep=keep)
    names = np.random.default_rng(seed).permutation([*x.names, *x.names]).tolist()
    for name in names:
        assert least[name].tobytes() == x[name].tobytes(), name
        assert least[name].shape == least.shape(name) == x[name].shape
        assert least[name].dtype == np.float32


@given(insides())
def test_one_row_has_the_bits_that_it_has_among_all(x):
    """Even where no other token's logits are computed."""
    alone = Inside(x.host, x.ids, x.interventions)
    for name in ("ln_f", "logits", "h.0.ln_1"):
        for position in range(len(x.ids)):
            assert alone.row(name, position).tobytes() == x[name][position].tobytes()


@pytest.mark.parametrize("keep", [0, 2000, 5000, 20000])
def test_no_more_is_kept_than_the_bound_and_what_was_asked_for(tiny, keep):
    x = Inside(tiny, [3, 1, 4, 1, 5], keep=keep)
    for name in x.names:
        x[name]
        held = {one: a.nbytes for one, a in (*x._kept.items(), *x._inputs.items())}
        assert name in held
        assert sum(held.values()) <= max(keep, held[name])


def test_pieces_of_a_long_prompt_are_joined():
    model = random_model(tiny_config(n_positions=700), kv_dtype="int8", dtype="bfloat16")
    ids = np.random.default_rng(3).integers(0, 37, 600).tolist()
    x = nextword.LanguageModel(model).inside(ids)
    with nextword.trace(model) as t:
        model([np.array(ids)], model.cache(1))  # in one piece
    assert set(x.names) == set(t)
    for name in t:
        np.testing.assert_array_equal(x[name], t[name], name)


def test_a_layer_is_computed_again_without_the_others():
    model = random_model(tiny_config(n_layer=3))
    x = Inside(nextword.LanguageModel(model), range(20), keep=14400)  # the streams, and two matrices
    first = x["h.0.attn.weights"].copy()
    assert (x["h.2.attn.scores"].shape, x["h.2.attn.weights"].shape) == ((3, 20, 20), (3, 20, 20))
    ran = []
    block = model.block
    model.block = lambda layer, *rest: (ran.append(layer), block(layer, *rest))[1]
    assert (x["h.0.attn.weights"] == first).all()
    assert ran == [0]


def test_it_is_a_mapping_of_arrays_that_cannot_be_written_to(tiny):
    x = tiny.inside([3, 1, 4])
    assert list(x) == x.names
    assert len(x) == len(x.names)
    assert "h.0.ln_1" in x
    assert "h.2.ln_1" not in x
    assert (x.tokens, x.texts) == ([3, 1, 4], ["[3]", "[1]", "[4]"])
    np.testing.assert_array_equal(x.logits, tiny.logits([3, 1, 4]))
    with pytest.raises(ValueError, match="read-only"):
        x["h.0.ln_1"][0, 0] = 1
    with pytest.raises(KeyError, match=r"no activation 'h\.5\.ln_1'"):
        x["h.5.ln_1"]


def test_what_is_inside_is_what_a_trace_sees_where_rules_replace(tiny):
    rules = [Mean("h.0.attn.z", heads=[1]), Zero("h.1.mlp.act", columns=[3])]
    x = tiny.inside([3, 1, 4, 1], rules)
    with nextword.trace(tiny, replace=rules) as t:
        expected = tiny.logits([3, 1, 4, 1])
    np.testing.assert_array_equal(x.logits, expected)
    assert all((x[name] == t[name]).all() for name in t)


@pytest.mark.parametrize(
    ("prompt", "rules", "error", "said"),
    [([], (), ValueError, r"inside: prompt must be 1 \.\. 24 tokens"), ([1] * 25, (), ValueError, "shorten it"),
     ("text", (), ValueError, "inside: a text needs a vocabulary"), ([37], (), IndexError, "inside: prompt"),
     ([1], [Zero("h.9.attn.z")], KeyError, r"no activation 'h\.9\.attn\.z'"), ([1], ["x"], TypeError, "rules"),
     ([1], Zero("h.0.attn.z"), TypeError, "inside: interventions must be a list of rules"),
     ([1], {"name": "h.0.attn.z"}, TypeError, "inside: interventions must be a list of rules")],
)  # fmt: skip
def test_a_wrong_prompt_or_rule_is_one_clear_error(tiny, prompt, rules, error, said):
    with pytest.raises(error, match=said):
        tiny.inside(prompt, rules)


def test_threads_that_look_at_once_see_the_same(tiny):
    ids, names = [3, 1, 4, 1, 5], tiny.inside([3, 1, 4, 1, 5]).names
    alone, shared = tiny.inside(ids), Inside(tiny, ids, keep=3000)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: (name, shared[name]), names * 8))
    assert all(x.tobytes() == alone[name].tobytes() for name, x in found)


def test_another_architecture_is_looked_into_as_far_as_it_declares():
    config = MadeUpConfig()
    lm = nextword.LanguageModel(MadeUp(RandomWeights(), config))
    x = lm.inside([3, 1, 4])
    assert x["h.1.attn.weights"].shape == (3, 3, 3)
    assert x.lens_logits().tobytes() == x.logits[-1].tobytes()
    assert "not declared" in x.cell("h.0.mlp.act", (1, 2)).formula
    logit = x.cell("logits", (2, 7))
    assert abs(logit.value - logit.exact) <= logit.bound
    found = x.attribution(7)
    assert found.names == ["ln_f.bias", "h.1.resid_post"]
    assert abs(found.parts.sum() - found.logit) <= found.bound
    for ask in (lambda: x.head_outputs(0), lambda: x.neurons(0)):
        with pytest.raises(ValueError, match="a made-up model does not declare"):
            ask()


@pytest.mark.parametrize("keep", [-1, 1.5, None])
def test_a_wrong_bound_is_one_clear_error(tiny, keep):
    with pytest.raises(ValueError, match="inside: keep must be a number of bytes"):
        Inside(tiny, [3], keep=keep)


# Lens


@given(insides(), st.integers(1, 6), st.sampled_from(["resid_post", "resid_mid", "resid_pre", "attn.out", "mlp.out"]))
def test_the_last_row_of_a_lens_is_the_logits_bit_for_bit(isa, x, top, at):
    found = x.lens(at=at, top=top, watch=0)
    logits, top = x.logits, min(top, x.model.vocabulary)
    assert found.tokens.shape == (len(found.names), len(x.ids), top)
    for position, row in enumerate(logits):
        assert x.lens_logits(-1, at, position).tobytes() == row.tobytes()
        assert found.logits[-1, position].tobytes() == row[found.tokens[-1, position]].tobytes()
        order = np.lexsort((np.arange(len(row)), -row))
        assert found.tokens[-1, position].tolist() == order[:top].tolist()
        assert found.ranks[-1, position] == 1 + order.tolist().index(0)
    best = found.probabilities.sum(-1, dtype=np.float64)
    assert (best <= 1 + 16 * 2.0**-24).all()
    assert found.ranks.shape == (len(found.names), len(x.ids)) == found.watched_probabilities.shape


def test_a_lens_reads_each_layer_with_the_models_norm_and_head(tiny):
    x = tiny.inside([3, 1, 4])
    found = x.lens(positions=[-1, 0])
    assert found.names == ["h.0.resid_pre", "h.0.resid_post", "h.1.resid_post"]
    assert found.positions == [2, 0]
    row = x["h.0.resid_post"][2].astype(np.float64)
    norm = tiny.model.norm
    y = (row - row.mean()) / np.sqrt(row.var() + norm.eps) * norm.weight + norm.bias
    expected = y @ tiny.model.ops.unpack(tiny.model.head.weight)
    # Width 15 and 37 tokens: 15 roundings in the norm and 15 in the product, of terms that sum to at most 60 here.
    np.testing.assert_allclose(x.lens_logits(1, position=2), expected, rtol=0, atol=64 * 2.0**-24 * 60)


def test_the_lecture_on_the_demo_model(demo):
    x = demo.inside("Once upon a time there was a little")
    found = x.lens(positions=-1, watch=" girl")
    assert (found.ranks[1:] == 1).all()
    assert demo.tokenizer.decode([int(found.tokens[-1, 0, 0])]) == " girl"


# Attribution


@given(insides(), st.sampled_from(["part", "head", "neuron", "source"]), st.booleans(), st.integers(0, 2**16))
def test_the_parts_of_an_attribution_sum_to_the_logit_within_its_bound(isa, x, by, alone, seed):
    rng = np.random.default_rng(seed)
    token, other = (int(n) for n in rng.integers(0, x.model.vocabulary, 2))
    position = int(rng.integers(len(x.ids)))
    found = x.attribution(token, None if alone else other, position, by)
    row = x.logits[position].astype(np.float64)
    assert found.logit == (row[token] if alone else row[token] - row[other])
    assert abs(found.parts.sum() - found.logit) <= found.bound
    assert len(found.names) == len(found.parts)
    assert found.bound <= 2e-2 * (1 + np.abs(found.parts).sum()), "a bound that says nothing"


def test_the_pieces_of_a_part_sum_to_the_part(tiny):
    x = tiny.inside([3, 1, 4, 1, 5])
    whole = x.attribution(7)
    parts = dict(zip(whole.names, whole.parts, strict=True))
    for by, name in (("head", "attn.out"), ("source", "attn.out"), ("neuron", "mlp.out")):
        split = x.attribution(7, by=by)
        grid = split.grid()
        biases = dict(zip(split.names, split.parts, strict=True))
        assert len(grid) == 2
        for layer, row in enumerate(grid):
            bias = biases[f"h.{layer}.{name[:4].strip('.')}.c_proj.bias"]
            assert abs(row.sum() + bias - parts[f"h.{layer}.{name}"]) <= whole.bound + split.bound


def test_a_head_that_is_zero_adds_nothing_and_a_later_token_neither(tiny):
    ids = [3, 1, 4, 1, 5]
    x = tiny.inside(ids, [Zero("h.1.attn.z", heads=[2])])
    assert x.attribution(7, by="head").grid()[1, 2] == 0
    assert (tiny.inside(ids).attribution(7, position=2, by="source").grid()[:, 3:] == 0).all()


def test_the_demo_models_largest_parts(demo):
    x = demo.inside("Once upon a time there was a little")
    found = x.attribution(" girl")
    assert found.bound < 1e-2
    assert abs(found.parts.sum() - found.logit) < 1e-5
    assert {name for name, _ in found.top(2)} == {"h.3.mlp.out", "h.0.mlp.out"}


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [({"token": " orange"}, ValueError, r"token must be one token, got ' orange', which is \d tokens"),
     ({"token": ""}, ValueError, "which is 0 tokens"), ({"token": 4096}, IndexError, "token must be a token id"),
     ({"token": " girl", "position": 9}, IndexError, r"position must be -9 \.\. 8, got 9"),
     ({"token": " girl", "by": "x"}, ValueError, "by must be one of part, head, neuron, source"),
     ({"token": " girl", "against": 1.5}, TypeError, "against must be"), ({"token": None}, TypeError, "got None")],
)  # fmt: skip
def test_a_wrong_argument_of_an_attribution_is_one_clear_error(demo, settings, error, said):
    with pytest.raises(error, match=said):
        demo.inside("Once upon a time there was a little").attribution(**settings)


# Heads, attention, neurons


@given(insides(), st.integers(0, 2))
def test_heads_and_bias_sum_to_what_attention_adds(isa, x, layer):
    layer = min(layer, x.model.layers - 1)
    heads = x.head_outputs(layer)
    assert heads.shape == (x.model.heads, len(x.ids), x.model.width)
    off = np.abs(heads.values.sum(0) + heads.bias - x[f"h.{layer}.attn.out"])
    assert (off <= heads.bound).all()
    assert np.asarray(heads).tobytes() == heads[:].tobytes()


@given(insides())
def test_attention_rows_sum_to_one_and_rollout_does_too(x):
    assume(not any(name.endswith("weights") for name in x.replaced))
    every = x.attention()
    assert every.weights.shape == (x.model.layers, x.model.heads, len(x.ids), len(x.ids))
    n = len(x.ids)
    bound = (n + 20) * 2.0**-23  # a float32 softmax of n terms: exp, sum, division; see bounds.softmax
    np.testing.assert_allclose(every.weights.sum(-1, dtype=np.float64), 1, atol=bound)
    np.testing.assert_allclose(every.rollout().sum(-1), 1, atol=x.model.layers * bound)
    assert (np.triu(every.rollout()[-1], 1) == 0).all()
    assert (every.entropy >= -bound).all()
    assert (every.entropy <= np.log2(np.arange(1, n + 1)) + n * bound).all()
    one = x.attention(-1, 0)
    np.testing.assert_array_equal(one.weights, every.weights[-1, 0])
    np.testing.assert_array_equal(one.value_weighted(), every.value_weighted()[-1, 0])


def test_neurons_are_told_with_what_they_add_to_the_logits(tiny):
    x = tiny.inside([3, 1, 4])
    found = x.neurons(1, top=23)
    parts = x.attribution(7, by="neuron")
    values = dict(zip(parts.names, parts.parts, strict=True))
    for one in found:
        assert one.activation == x["h.1.mlp.act"][2, one.neuron]
        for token, _, change in (*one.promoted, *one.suppressed):
            if token == 7:
                assert abs(change - values[f"h.1.mlp.act[{one.neuron}]"]) <= 1e-4
    assert sorted(one.neuron for one in found) == list(range(23))


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [(lambda x: x.lens(at="attn.q"), ValueError, "lens: at must be one of"),
     (lambda x: x.lens(top=0), ValueError, "lens: top must be an integer >= 1"),
     (lambda x: x.lens(positions=[0, 3]), IndexError, r"lens: positions must be -3 \.\. 2, got 3"),
     (lambda x: x.lens(positions="a"), TypeError, "lens: positions must be"),
     (lambda x: x.lens(watch=37), IndexError, "lens: watch must be a token id"),
     (lambda x: x.attention(2), IndexError, r"attention: layer must be -2 \.\. 1, got 2"),
     (lambda x: x.attention(0, 3), IndexError, "attention: head must be"),
     (lambda x: x.head_outputs(5), IndexError, "head_outputs: layer must be"),
     (lambda x: x.neurons(0, 9), IndexError, "neurons: position must be"),
     (lambda x: x.neurons("0"), TypeError, "neurons: layer must be an integer"),
     (lambda x: x.neurons(0, top=0), ValueError, "neurons: top must be"),
     (lambda x: x.attribution(1).grid(), ValueError, "grid: by must be")],
)  # fmt: skip
def test_a_wrong_place_is_one_clear_error(tiny, ask, error, said):
    with pytest.raises(error, match=said):
        ask(tiny.inside([3, 1, 4]))

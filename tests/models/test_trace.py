"""trace.py: recording, patterns, replacing and timing; a replacement changes the result as the formula says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword import reference
from nextword.models.trace import Tap, Trace
from strategies import random_model, run, tiny_config

LAYERS, HEADS, WIDTH, EMBD, INNER, VOCABULARY = 2, 3, 5, 15, 23, 37
IN_A_BLOCK = ("resid_pre", "ln_1", "attn.q", "attn.k", "attn.v", "attn.scores", "attn.weights", "attn.z", "attn.out",
              "resid_mid", "ln_2", "mlp.fc", "mlp.act", "mlp.out", "resid_post")  # fmt: skip
NAMES = ["wte", "wpe", "embed", *(f"h.{layer}.{name}" for layer in range(LAYERS) for name in IN_A_BLOCK), "ln_f",
         "logits"]  # fmt: skip
IDS = [5, 1, 36, 0]


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config())


@pytest.fixture(scope="module")
def every(model):
    with nextword.trace(model) as t:
        run(model, [IDS])
    return t


# Recording


def test_every_activation_is_recorded_once_in_the_order_of_the_graph(every):
    assert list(every) == NAMES
    assert len(every) == len(NAMES)
    assert all(name in every and len(every.all(name)) == 1 for name in NAMES)
    assert "h.2.ln_1" not in every


def test_activations_have_the_documented_shapes_and_type(every):
    tokens = len(IDS)
    by_head, square = (HEADS, tokens, WIDTH), (HEADS, tokens, tokens)
    special = {"attn.q": by_head, "attn.k": by_head, "attn.v": by_head, "attn.scores": square, "attn.weights": square,
               "attn.z": by_head, "mlp.fc": (tokens, INNER), "mlp.act": (tokens, INNER),
               "logits": (tokens, VOCABULARY)}  # fmt: skip
    for name in every:
        assert every[name].shape == special.get(name.split(".", 2)[-1], (tokens, EMBD)), name
        assert every[name].dtype == np.float32, name


def test_activations_satisfy_the_equations_of_the_graph(every):
    add, t = np.add, every
    before = add(t["wte"], t["wpe"])
    for layer in range(LAYERS):
        h = f"h.{layer}"
        np.testing.assert_array_equal(add(before, t[f"{h}.attn.out"]), t[f"{h}.resid_mid"])
        np.testing.assert_array_equal(nextword.ops.gelu_tanh(t[f"{h}.mlp.fc"]), t[f"{h}.mlp.act"])
        np.testing.assert_array_equal(add(t[f"{h}.resid_mid"], t[f"{h}.mlp.out"]), t[f"{h}.resid_post"])
        before = t[f"{h}.resid_post"]


def test_weights_are_the_softmax_of_the_scores_and_hide_the_future(every):
    for layer in range(LAYERS):
        scores, weights = every[f"h.{layer}.attn.scores"], every[f"h.{layer}.attn.weights"]
        future = np.triu(np.ones(weights.shape[1:], bool), 1)
        assert (scores[:, future] == -np.inf).all()
        assert (weights[:, future] == 0).all()
        expected = reference.softmax(scores.reshape(-1, len(IDS))).reshape(weights.shape)
        # exp within 4 ulp, a sum of 4 and a division: 8 units, of a weight up to 1
        assert np.abs(weights - expected).max() <= 8 * 2.0**-24


@pytest.mark.parametrize("name", NAMES)
def test_asking_for_one_name_gives_it_alone_with_the_bits_it_has_among_all(isa, model, name):
    plain = run(model, [IDS])
    with nextword.trace(model) as everything:
        run(model, [IDS])
    with nextword.trace(model, names=name) as t:
        found = run(model, [IDS])
    assert list(t) == [name]
    np.testing.assert_array_equal(t[name], everything[name])
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize(
    ("patterns", "count"),
    [("*", len(NAMES)), ("h.*", 30), ("h.1.*", 15), ("h.*.attn.[qkv]", 6), (["wte", "ln_f"], 2), ("h.?.resid_*", 6),
     ([], 0), ("nothing", 0), ("H.0.ln_1", 0), (("h.0.ln_1", "h.0.*"), 15)],
)  # fmt: skip
def test_patterns_choose_names(model, patterns, count):
    with nextword.trace(model, names=patterns) as t:
        run(model, [IDS])
    assert len(t) == count


def test_passes_are_recorded_one_after_the_other(model):
    with nextword.trace(model, names=["h.0.attn.weights", "logits"]) as t:
        logits = run(model, [IDS[:2], IDS[2:3], IDS[3:]])
    assert [x.shape for x in t.all("h.0.attn.weights")] == [(3, 2, 2), (3, 1, 3), (3, 1, 4)]
    np.testing.assert_array_equal(np.concatenate(t.all("logits")), logits)
    np.testing.assert_array_equal(t["logits"], t.all("logits")[-1])


def test_a_batch_records_scores_and_weights_once_for_each_sequence(isa, model):
    batch = [[1, 2, 3], [4], [5, 6]]
    with nextword.trace(model, names=["h.1.attn.*"]) as t:
        model([np.array(ids) for ids in batch], model.cache(3))
    assert t["h.1.attn.q"].shape == (3, 6, 5)
    for name in ("h.1.attn.scores", "h.1.attn.weights"):
        for ids, found in zip(batch, t.all(name), strict=True):
            with nextword.trace(model, names=name) as alone:
                run(model, [ids])
            np.testing.assert_array_equal(found, alone[name])


def test_what_is_recorded_stays_when_the_model_runs_on(model):
    with nextword.trace(model) as t:
        run(model, [IDS])
    copies = {name: t[name].copy() for name in t}
    run(model, [[7, 8, 9, 10, 11]])
    for name, x in copies.items():
        np.testing.assert_array_equal(t[name], x)


def test_nothing_is_recorded_after_the_block(model):
    with nextword.trace(model, names="logits") as t:
        run(model, [[1]])
    run(model, [[1]])
    assert len(t.all("logits")) == 1


def test_an_unknown_name_is_a_key_error_that_says_what_was_recorded(every):
    with pytest.raises(KeyError, match=r"no activation 'h\.9\.ln_1' was recorded.*recorded: embed, h\.0\.attn\.k"):
        every["h.9.ln_1"]
    with nextword.trace(random_model(tiny_config()), names=["x.*"]) as t:
        pass
    with pytest.raises(KeyError, match=r"names=\['x\.\*'\]; recorded: nothing"):
        t.all("logits")


@pytest.mark.parametrize("target", [None, 3, "gpt2", object()])
def test_what_cannot_be_traced_is_a_type_error(target):
    with pytest.raises(TypeError, match=f"trace: expected .*, got {type(target).__name__}"):
        nextword.trace(target)


@pytest.mark.parametrize("names", [3, [3], None, [None]])
def test_names_that_are_no_patterns_are_a_type_error(model, names):
    with pytest.raises(TypeError, match="trace: names"):
        nextword.trace(model, names=names)


# Nesting and errors


def test_the_tap_from_before_comes_back_even_after_an_error(model):
    before = model.tap
    with pytest.raises(RuntimeError, match="mine"), nextword.trace(model):
        raise RuntimeError("mine")
    assert model.tap is before
    assert type(before) is Tap


def test_an_inner_trace_takes_over_and_the_outer_one_goes_on_after_it(model):
    with nextword.trace(model, names="logits") as outer:
        run(model, [[1]])
        with nextword.trace(model, names="ln_f") as inner:
            run(model, [[2]])
        run(model, [[3]])
    assert list(inner) == ["ln_f"]
    assert len(outer.all("logits")) == 2


def test_one_trace_may_be_entered_again_and_keeps_adding(model):
    t = nextword.trace(model, names="logits")
    for _ in range(2):
        with t:
            run(model, [[1]])
    assert len(t.all("logits")) == 2
    assert type(model.tap) is Tap


def test_a_language_model_is_traced_through_its_model(demo):
    with nextword.trace(demo, names="h.3.attn.weights") as t:
        demo.logits([281, 290, 300])
    assert isinstance(t, Trace)
    assert t["h.3.attn.weights"].shape == (4, 3, 3)


def test_generation_records_a_value_for_each_pass(demo):
    with nextword.trace(demo, names="logits") as t:
        demo.generate([281, 290, 300], max_new_tokens=4)
    assert [x.shape for x in t.all("logits")] == [(1, 4096)] * 4


# Times


def test_every_step_is_timed_even_if_nothing_is_recorded(model):
    with nextword.trace(model, names=[]) as t:
        run(model, [IDS])
    fused = {"wte", "wpe", "attn.q", "attn.k", "attn.v", "attn.scores", "attn.weights", "attn.z", "attn.out", "mlp.fc",
             "mlp.out"}
    assert set(t.seconds) == {name for name in NAMES if name.split(".", 2)[-1] not in fused}
    assert all(s >= 0 for s in t.seconds.values())


def test_the_times_sum_to_less_than_the_whole(model):
    import time

    with nextword.trace(model) as t:
        start = time.perf_counter()
        run(model, [IDS])
        run(model, [IDS])
        whole = time.perf_counter() - start
    inside = sum(t.seconds.values()) - t.seconds["wte"]  # wte's also holds the time since the block began
    assert 0 < inside < whole


# Replacing


@pytest.mark.parametrize("name", NAMES)
def test_replacing_an_activation_by_itself_changes_no_bit(isa, model, name):
    with nextword.trace(model) as plain:
        run(model, [IDS])
    # After replaced scores or weights the step is computed anew, see test_attention_after_a_replacement.
    same = NAMES[: NAMES.index(name) + 1] if name.endswith(("scores", "weights")) else NAMES
    for new in (plain[name], lambda x: x):
        with nextword.trace(model, replace={name: new}) as t:
            run(model, [IDS])
        for other in same:
            np.testing.assert_array_equal(t[other], plain[other], err_msg=other)


@pytest.mark.parametrize("name", NAMES)
def test_replacing_an_activation_reaches_the_logits(model, name):
    plain = run(model, [IDS])
    change = {name: lambda x: np.where(np.isfinite(x), x * np.float32(0.25) - np.float32(0.5), x)}
    if name.endswith(("scores", "weights")):  # a constant added to all scores is no change; the first token has one key
        change = {name: lambda x: np.where(np.isfinite(x), x[:, :, ::-1].clip(-9, 9), x)}
    with nextword.trace(model, names=[], replace=change):
        changed = run(model, [IDS])
    assert not np.array_equal(changed, plain)
    np.testing.assert_array_equal(run(model, [IDS]), plain)


def downstream(model, t, layer):
    """attn.out from the recorded weights and values, in float64."""
    mixed = (
        (t[f"h.{layer}.attn.weights"].astype(np.float64) @ t[f"h.{layer}.attn.v"])
        .swapaxes(0, 1)
        .reshape(len(IDS), EMBD)
    )
    linear = model.blocks[layer].attn_out
    return mixed @ nextword.ops.unpack(linear.weight).astype(np.float64) + linear.bias


@given(seed=st.integers(0, 2**16))
@pytest.mark.parametrize("what", ["q", "k", "v", "scores", "weights"])
@pytest.mark.parametrize("layer", [0, 1])
def test_attention_after_a_replacement_is_what_the_formula_gives(isa, model, layer, what, seed):
    rng = np.random.default_rng(seed)
    name = f"h.{layer}.attn.{what}"
    shape = (HEADS, len(IDS), len(IDS) if what in ("scores", "weights") else WIDTH)
    new = rng.standard_normal(shape).astype(np.float32)
    if what == "weights":
        new = np.abs(new)
    with nextword.trace(model, replace={name: new}) as t:
        run(model, [IDS])
    np.testing.assert_array_equal(t[name], new)
    h = f"h.{layer}.attn"
    q, k, v = (t[f"{h}.{x}"].astype(np.float64) for x in "qkv")
    scale, unit = WIDTH**-0.5, 2.0**-24
    if what in ("q", "k", "v"):
        size = scale * np.abs(q) @ np.abs(k).swapaxes(1, 2)
        error = np.where(np.isfinite(t[f"{h}.scores"]), t[f"{h}.scores"] - scale * q @ k.swapaxes(1, 2), 0)
        assert (np.abs(error) <= (WIDTH + 2) * unit * size).all()
    if what == "scores":  # replaced scores are taken as they are, mask and all
        expected = reference.softmax(new.reshape(-1, len(IDS))).reshape(shape)
        assert np.abs(t[f"{h}.weights"] - expected).max() <= 8 * unit
    linear = np.abs(nextword.ops.unpack(model.blocks[layer].attn_out.weight)).astype(np.float64)
    mixed = (np.abs(t[f"{h}.weights"]).astype(np.float64) @ np.abs(v)).swapaxes(0, 1).reshape(len(IDS), EMBD)
    # weights to 8 units (the fused pass normalises after the sum), two sums, a bias
    bound = (8 + 2 * len(IDS) + EMBD + 4) * unit * (mixed @ linear + np.abs(model.blocks[layer].attn_out.bias))
    assert (np.abs(t[f"{h}.out"] - downstream(model, t, layer)) <= bound).all()


def test_a_replaced_key_is_what_later_tokens_see(model):
    """Keys and values go into the cache after the tap."""
    key = "h.0.attn.k"
    with nextword.trace(model, names=key) as other:
        run(model, [[9, 9]])
    cache = model.cache(1)
    with nextword.trace(model, names=[], replace={key: other[key]}):
        run(model, [[1, 2]], cache)
    with nextword.trace(model, names=["h.0.attn.scores", "h.0.attn.q"]) as t:
        run(model, [[3]], cache)
    q, k = (x.astype(np.float64) for x in (t["h.0.attn.q"], other[key].swapaxes(1, 2)))
    error = np.abs(t["h.0.attn.scores"][:, :, :2] - WIDTH**-0.5 * q @ k)
    assert (error <= (WIDTH + 2) * 2.0**-24 * WIDTH**-0.5 * np.abs(q) @ np.abs(k)).all()


def test_ablating_attention_leaves_the_residual_stream_as_it_was(model):
    with nextword.trace(model, replace={"h.0.attn.out": np.zeros_like}) as t:
        run(model, [IDS])
    np.testing.assert_array_equal(t["h.0.resid_mid"], t["wte"] + t["wpe"])
    assert not t["h.0.attn.out"].any()


def test_a_function_gets_a_copy_of_its_own(model):
    plain = run(model, [IDS])

    def spoil(x):
        same = x.copy()
        x[:] = 7
        return same

    with nextword.trace(model, names=[], replace=dict.fromkeys(("h.0.ln_1", "logits", "h.1.attn.q"), spoil)):
        np.testing.assert_array_equal(run(model, [IDS]), plain)


def test_a_replacement_of_another_dtype_or_layout_is_converted(model):
    new = np.arange(len(IDS) * EMBD).reshape(EMBD, len(IDS)).T  # int64, not C-contiguous
    with nextword.trace(model, replace={"h.0.ln_1": new}) as t:
        run(model, [IDS])
    assert t["h.0.ln_1"].dtype == np.float32
    np.testing.assert_array_equal(t["h.0.ln_1"], new)


def test_a_replacement_of_another_shape_is_an_error_that_names_it(model):
    rule = {"h.1.mlp.act": np.zeros((1, INNER))}
    with (
        pytest.raises(ValueError, match=r"replacement of h\.1\.mlp\.act must have shape \[4, 23\], got \[1, 23\]"),
        nextword.trace(model, replace=rule),
    ):
        run(model, [IDS])
    assert type(model.tap) is Tap


def test_a_replacement_that_no_step_used_is_an_error_at_the_end_of_the_block(model):
    """A misspelt name would otherwise go unnoticed."""
    with pytest.raises(KeyError, match=r"'h\.7\.ln_1'"), nextword.trace(model, replace={"h.7.ln_1": np.zeros(3)}):
        run(model, [IDS])

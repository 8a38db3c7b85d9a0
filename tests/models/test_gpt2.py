"""models/gpt2.py: the graph against its NumPy twin, the numeric promise, configurations and what weights may be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from noisy import UNIT, rounding_bound

import nextword
from model_files import from_bfloat16, to_bfloat16, write_model
from nextword import reference
from nextword.files.weights import open_model
from nextword.models.gpt2 import ACTIVATIONS, ALIASES, GPT2, GPT2Config
from strategies import chunks, configs, models, random_model, random_tensors, run, tiny_config, token_ids

# The graph against NumPy


@given(configs(), st.integers(0, 2**16), st.booleans(), st.data())
def test_logits_are_those_of_numpy_within_what_rounding_explains(isa, config, seed, head_bias, data):
    tensors = random_tensors(config, seed, head_bias)
    exact = GPT2(tensors, config, ops=reference)
    ids = data.draw(token_ids(exact, most=20))
    expected = run(exact, [ids])
    bound = rounding_bound(lambda ops: run(GPT2(tensors, config, ops=ops), [ids]), expected)
    error = np.abs(run(GPT2(tensors, config), [ids]) - expected).max()
    assert error <= bound
    # A bound this large tells nothing: a norm over two or three features may be all but a step function. Were this so
    # for most models, hypothesis would fail the test for discarding too many.
    assume(bound < 0.1 * np.abs(expected).max())


@pytest.mark.parametrize("form", ["gelu_new", "gelu", "quick_gelu", "relu", "silu", "tanh"])
def test_each_activation_is_the_one_asked_for(isa, form):
    """Nearer to itself in NumPy than to any other, by far."""
    tensors, ids = random_tensors(tiny_config()), [[1, 2, 3]]
    found = run(GPT2(tensors, tiny_config(activation_function=form)), ids)
    distance = {}
    for name in ACTIVATIONS:
        exact = run(GPT2(tensors, tiny_config(activation_function=name), ops=reference), ids)
        distance[name] = np.abs(exact - found).max()
    for name, far in distance.items():
        if ACTIVATIONS[name] == ACTIVATIONS[form]:
            assert far == distance[form]
        else:
            assert distance[form] < 0.1 * far, name


# The numeric promise: exact equality


@given(models(), st.data())
def test_a_sequence_has_the_same_bits_alone_and_in_any_batch(isa, model, data):
    batch = [data.draw(token_ids(model)) for _ in range(data.draw(st.integers(2, 5)))]
    order = data.draw(st.permutations(range(len(batch))))
    alone = [run(model, [ids]) for ids in batch]
    together = model([np.array(ids) for ids in batch], model.cache(len(batch)), order)
    np.testing.assert_array_equal(together, np.concatenate(alone))


@given(models(), st.data())
def test_chunks_of_a_prompt_give_the_same_bits(isa, model, data):
    ids = data.draw(token_ids(model))
    np.testing.assert_array_equal(run(model, data.draw(chunks(ids))), run(model, [ids]))


@given(models(), st.data())
def test_a_batch_of_chunks_gives_the_same_bits(isa, model, data):
    batch = [data.draw(chunks(data.draw(token_ids(model)))) for _ in range(3)]
    cache, found = model.cache(3), [[], [], []]
    for step in itertools.zip_longest(*batch):
        live = [i for i, part in enumerate(step) if part]
        rows = model([np.array(step[i]) for i in live], cache, live)
        for i in live:
            found[i].append(rows[: len(step[i])])
            rows = rows[len(step[i]) :]
    for parts, logits in zip(batch, found, strict=True):
        np.testing.assert_array_equal(np.concatenate(logits), run(model, [list(itertools.chain(*parts))]))


@given(models(), st.data())
def test_a_cached_prefix_gives_the_same_bits(isa, model, data):
    """Lowering the cache's length forgets the tokens behind it, whatever they were."""
    ids = data.draw(token_ids(model))
    other = data.draw(token_ids(model))
    kept = data.draw(st.integers(0, len(ids) - 1))
    cache = model.cache(1)
    run(model, [(ids[:kept] + other)[: model.limit]], cache)
    cache.lengths[0] = kept
    np.testing.assert_array_equal(run(model, [ids[kept:]], cache), run(model, [ids])[kept:])


@given(models(), st.data())
def test_a_cache_of_any_capacity_gives_the_same_bits(isa, model, data):
    ids = data.draw(token_ids(model))
    small = model.cache(1, len(ids))
    np.testing.assert_array_equal(run(model, [ids], small), run(model, [ids]))


@given(models(), st.data())
def test_asking_for_some_rows_gives_the_bits_they_have_among_all(isa, model, data):
    ids = data.draw(token_ids(model))
    rows = data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=200))  # more than there are tokens, too
    found = model([np.array(ids)], model.cache(1), rows=rows)
    np.testing.assert_array_equal(found, run(model, [ids])[np.array(rows, int)])


@pytest.mark.parametrize("rows", [[2], [-1], [0, 1, 99]])
@pytest.mark.parametrize("traced", [False, True])
def test_a_row_that_is_no_token_is_an_index_error_that_leaves_the_cache_as_it_was(traced, rows):
    model = random_model(tiny_config())
    cache = model.cache(1)
    names = ["ln_f"] if traced else []
    with nextword.trace(model, names=names), pytest.raises(IndexError, match=r"rows must be 0 \.\. 1"):
        model([np.array([1, 2])], cache, rows=rows)
    assert cache.lengths.tolist() == [0]


@given(models(), st.data())
def test_tracing_does_not_change_a_bit(isa, model, data):
    parts = data.draw(chunks(data.draw(token_ids(model))))
    plain = run(model, parts)
    everything = ["*", "h.*.attn.*", "h.*.mlp.*", "wpe", "h.*.attn.scores", "h.*.attn.out", []]
    with nextword.trace(model, names=data.draw(st.sampled_from(everything))):
        traced = run(model, parts)
    np.testing.assert_array_equal(traced, plain)


# Sizes at which every operation divides its work: see worth_a_thread in csrc/machine/parallel.h.
def large_model() -> GPT2:
    return random_model(tiny_config(n_layer=1, n_head=5, n_embd=5 * 40, n_inner=300, n_positions=400, vocab_size=999))


@pytest.mark.parametrize("tokens", [1, 3, 17, 333])
def test_any_thread_count_gives_the_same_bits(isa, threads, tokens):
    model = large_model()
    ids = np.random.default_rng(tokens).integers(0, 999, tokens).tolist()
    before = list(range(60))  # so that the few tokens attend to many
    threads(1)
    expected = run(model, [before, ids])
    for count in (2, 3, 7):
        threads(count)
        np.testing.assert_array_equal(run(model, [before, ids]), expected)


@pytest.mark.parametrize("cut", [1, 15, 16, 255, 256, 257, 299])
def test_chunks_of_a_long_prompt_give_the_same_bits(isa, cut):
    """The matmul's blocks of rows and of depth have edges at 16 and 256."""
    model = large_model()
    ids = np.random.default_rng(0).integers(0, 999, 300).tolist()
    np.testing.assert_array_equal(run(model, [ids[:cut], ids[cut:]]), run(model, [ids]))


# Batches and caches


def test_an_empty_batch_gives_no_rows():
    model = random_model(tiny_config())
    assert model([], model.cache(1)).shape == (0, 37)


def test_an_empty_sequence_among_others_gives_no_rows():
    model = random_model(tiny_config())
    cache = model.cache(2)
    found = model([np.array([], np.int64), np.array([1, 2])], cache)
    assert found.shape == (2, 37)
    assert cache.lengths.tolist() == [0, 2]
    np.testing.assert_array_equal(found, run(model, [[1, 2]]))


@pytest.mark.parametrize("ids", [[37], [-1], [5, 2**40]])
def test_an_unknown_id_is_an_index_error_that_leaves_the_cache_usable(ids):
    model = random_model(tiny_config())
    cache = model.cache(1)
    first = run(model, [[1, 2]], cache)
    with pytest.raises(IndexError, match=f"ids must be 0 .. 36, got {ids[-1]}"):
        model([np.array(ids)], cache)
    assert cache.lengths.tolist() == [2]
    np.testing.assert_array_equal(np.concatenate([first, run(model, [[3]], cache)]), run(model, [[1, 2, 3]]))


def test_more_tokens_than_the_window_are_an_index_error():
    model = random_model(tiny_config())
    cache = model.cache(1, 99)
    with pytest.raises(IndexError, match=r"places must be 0 \.\. 23, got 24"):
        model([np.zeros(25, np.int64)], cache)


def test_more_tokens_than_the_cache_holds_are_an_index_error():
    model = random_model(tiny_config(n_positions=70))
    cache = model.cache(1, 32)
    with pytest.raises(IndexError, match="capacity"):
        model([np.zeros(33, np.int64)], cache)
    assert cache.lengths.tolist() == [0]


def test_a_slot_that_the_cache_does_not_have_is_an_index_error():
    model = random_model(tiny_config())
    for slot in (1, -2):
        with pytest.raises(IndexError):
            model([np.array([1])], model.cache(1), [slot])


@pytest.mark.parametrize("slots", [[0, 0], [0, -2], [0], [0, 1, 1]])
def test_slots_that_do_not_name_each_sequence_once_are_an_error(slots):
    """Two sequences in one slot would write over each other's keys."""
    model = random_model(tiny_config())
    with pytest.raises((ValueError, IndexError)):
        model([np.array([1]), np.array([2])], model.cache(2), slots)


@pytest.mark.parametrize("ids", [[1.5, 2.0], [[1, 2]], ["a"], [True]])
def test_ids_that_are_no_row_of_integers_are_an_error(ids):
    model = random_model(tiny_config())
    with pytest.raises((ValueError, TypeError), match="ids"):
        model([np.array(ids)], model.cache(1))


# Heads


def test_a_tied_head_is_the_embedding_and_an_untied_one_is_its_own():
    config = tiny_config()
    tensors = random_tensors(config)
    own = random_tensors(tiny_config(tie_word_embeddings=False))["lm_head.weight"]
    tied = run(GPT2(tensors, config), [[1, 2, 3]])
    # a stored copy of a tied head is no second matrix
    both = GPT2({**tensors, "lm_head.weight": tensors["wte.weight"].copy()}, config)
    assert both.head.weight is both.embed.tokens
    np.testing.assert_array_equal(run(both, [[1, 2, 3]]), tied)
    untied = tiny_config(tie_word_embeddings=False)
    same = GPT2({**tensors, "lm_head.weight": tensors["wte.weight"]}, untied)
    np.testing.assert_array_equal(run(same, [[1, 2, 3]]), tied)
    other = GPT2({**tensors, "lm_head.weight": own}, untied)
    with nextword.trace(other, names="ln_f") as t:
        found = run(other, [[1, 2, 3]])
    np.testing.assert_array_equal(found, nextword.ops.matmul(t["ln_f"], nextword.ops.pack_transposed(own)))
    assert not np.array_equal(found, tied)


def test_a_head_bias_is_added_to_the_logits():
    tensors = random_tensors(tiny_config(), head_bias=True)
    with_bias = run(GPT2(tensors, tiny_config()), [[4, 5]])
    bias = tensors.pop("lm_head.bias")
    np.testing.assert_array_equal(with_bias, run(GPT2(tensors, tiny_config()), [[4, 5]]) + bias)


# Configurations


@pytest.mark.parametrize(
    ("weights", "inverse", "layer", "scale"),
    [(True, False, 2, 5**-0.5), (False, False, 2, 1.0), (True, True, 2, 5**-0.5 / 3), (False, True, 1, 0.5)],
)
def test_the_attention_scale_is_what_the_configuration_says(weights, inverse, layer, scale):
    config = tiny_config(scale_attn_weights=weights, scale_attn_by_inverse_layer_idx=inverse, n_layer=3)
    model = random_model(config)
    assert model.config.attention_scale(layer) == pytest.approx(scale, rel=1e-15)
    with nextword.trace(model) as t:
        run(model, [[1, 2, 3]])
    q, k = (t[f"h.{layer}.attn.{x}"].astype(np.float64) for x in "qk")
    expected = scale * q @ k.swapaxes(1, 2)
    size = scale * np.abs(q) @ np.abs(k).swapaxes(1, 2)
    seen = np.tril(np.ones((3, 3), bool))
    found = t[f"h.{layer}.attn.scores"]
    assert (np.abs(found - expected)[:, seen] <= ((q.shape[2] + 2) * UNIT * size)[:, seen]).all()
    assert (found[:, ~seen] == -np.inf).all()


WRONG_FIELDS = [
    ("n_layer", 0), ("n_layer", -1), ("n_layer", 2.0), ("n_layer", "2"), ("n_layer", None), ("n_layer", True),
    ("n_head", 0), ("n_head", 4), ("n_embd", 0), ("n_embd", 2**31), ("n_inner", 0), ("n_inner", "x"),
    ("n_positions", 0), ("n_positions", [1]), ("vocab_size", 0), ("vocab_size", 3.5),
    ("activation_function", "gelu_10"), ("activation_function", None), ("activation_function", ["gelu"]),
    ("layer_norm_epsilon", 0), ("layer_norm_epsilon", -1e-5), ("layer_norm_epsilon", "1e-5"),
    ("layer_norm_epsilon", float("nan")), ("layer_norm_epsilon", True), ("layer_norm_epsilon", 1),
    ("scale_attn_weights", 1), ("scale_attn_by_inverse_layer_idx", "false"), ("tie_word_embeddings", None),
    ("eos_token_id", True), ("eos_token_id", "0"), ("eos_token_id", 1.0), ("bos_token_id", "a"),
    ("eos_token_id", ["0"]), ("eos_token_id", {}),
    ("add_cross_attention", True), ("is_encoder_decoder", True), ("is_causal", False), ("sliding_window", 8),
    ("attention_chunk_size", 8), ("pruned_heads", {"0": [1]}), ("transformers_weights", "other.safetensors"),
    ("layer_types", ["sliding_attention"]), ("layer_types", "full_attention"),
    ("quantization_config", {"quant_method": "gptq"}), ("quantization_config", {"load_in_8bit": True}),
    ("quantization_config", "int8"), ("num_hidden_layers", 3), ("hidden_size", 16),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG_FIELDS, ids=lambda x: repr(x)[:12])
def test_a_wrong_field_is_an_error_that_names_it(field, value):
    words = f"config: {field} must be|config: n_embd must be a multiple of {field}|config: .* the same as {field},"
    with pytest.raises(ValueError, match=words):
        GPT2Config.from_dict(tiny_config(**{field: value}))


def test_fields_that_are_absent_have_the_defaults_of_the_published_format():
    assert GPT2Config.from_dict({}) == GPT2Config()
    assert GPT2Config() == GPT2Config(
        n_layer=12, n_head=12, n_embd=768, n_positions=1024, vocab_size=50257, eos_token_id=50256
    )
    assert GPT2Config().inner == 3072
    assert GPT2Config(n_inner=10).inner == 10


def test_fields_that_change_nothing_here_are_passed_over():
    extra = {
        "attn_pdrop": 0.1,
        "summary_type": "cls_index",
        "n_ctx": 1024,
        "architectures": ["GPT2LMHeadModel"],
        "use_cache": True,
        "add_cross_attention": False,
        "pruned_heads": {},
        "sliding_window": None,
        "layer_types": ["full_attention"] * 2,
        "quantization_config": None,
        "reorder_and_upcast_attn": True,
        "hidden_size": 15,
    }
    assert GPT2Config.from_dict({**tiny_config(), **extra}) == GPT2Config.from_dict(tiny_config())


def test_the_names_that_all_models_share_are_read():
    config = tiny_config()
    for alias, name in ALIASES.items():
        config[alias] = config.pop(name)
    assert GPT2Config.from_dict(config) == GPT2Config.from_dict(tiny_config())


@pytest.mark.parametrize(("given", "kept"), [([3, 5], (3, 5)), ([], ()), (None, None), (0, 0), (-1, -1)])
def test_the_end_token_may_be_a_list(given, kept):
    assert GPT2Config.from_dict(tiny_config(eos_token_id=given)).eos_token_id == kept


# Weights


ONE_LAYER = random_tensors(tiny_config(n_layer=1, tie_word_embeddings=False))
FAULTS = [
    (name, fault)
    for name, x in sorted(ONE_LAYER.items())
    for fault in ("missing", "misshapen", "nan", "infinity", "transposed")
    if fault != "transposed" or x.shape != x.T.shape
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_wrong_tensor_is_an_error_that_names_it_and_its_file(tmp_path, name, fault):
    config = tiny_config(n_layer=1, tie_word_embeddings=False)
    tensors = random_tensors(config)
    x = tensors[name]
    if fault == "missing":
        del tensors[name]
    elif fault == "misshapen":
        tensors[name] = np.concatenate([x, x])
    elif fault == "transposed":
        tensors[name] = np.ascontiguousarray(x.T)
    else:
        x.flat[x.size // 2] = np.nan if fault == "nan" else -np.inf
    words = {"missing": "is missing|absent", "nan": "finite", "infinity": "finite"}.get(fault, "must have shape")
    folder = write_model(tmp_path / "m", config, tensors)
    with pytest.raises(ValueError, match=words) as caught:
        GPT2(open_model(folder))
    assert name in str(caught.value)
    assert "model.safetensors" in str(caught.value)
    with pytest.raises(ValueError, match=f"tensor '{name}'"):  # arrays that came from no file
        GPT2(tensors, config)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@given(configs(), st.integers(0, 99))
def test_half_precision_weights_compute_as_float32_of_the_same_numbers(isa, dtype, config, seed):
    tensors = random_tensors(config, seed, head_bias=True)
    if dtype == "float16":
        stored = {name: x.astype(np.float16) for name, x in tensors.items()}
        rounded = {name: x.astype(np.float32) for name, x in stored.items()}
    else:
        stored = {name: to_bfloat16(x) for name, x in tensors.items()}
        rounded = {name: from_bfloat16(x) for name, x in stored.items()}
    ids = [np.arange(min(3, config["n_positions"])) % config["vocab_size"]]
    models = GPT2(stored, config), GPT2(rounded, config)
    found, expected = (model(ids, model.cache(1)) for model in models)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["wte.weight", "ln_f.bias"])
@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_weights_of_another_dtype_are_an_error_that_names_the_tensor(name, dtype):
    tensors = random_tensors(tiny_config())
    tensors[name] = tensors[name].astype(dtype)
    with pytest.raises(ValueError, match=f"'{name}'.*float32"):
        GPT2(tensors, tiny_config())


def test_weights_that_are_views_load_like_copies():
    tensors = random_tensors(tiny_config())
    views = {name: np.asfortranarray(x) for name, x in tensors.items()}
    np.testing.assert_array_equal(
        run(GPT2(views, tiny_config()), [[1, 2]]), run(GPT2(tensors, tiny_config()), [[1, 2]])
    )


def test_a_model_does_not_change_with_the_arrays_it_was_made_of():
    tensors = random_tensors(tiny_config())
    model = GPT2(tensors, tiny_config())
    before = run(model, [[1, 2]])
    for x in tensors.values():
        x[:] = 0
    np.testing.assert_array_equal(run(model, [[1, 2]]), before)

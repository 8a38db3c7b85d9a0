"""models/llama.py: the graph against its NumPy twin, configurations, what weights may be, joined matrices, windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from noisy import rounding_bound

import nextword
from model_files import write_model
from nextword import reference
from nextword.files.weights import open_model
from nextword.models import ARCHITECTURES, SHAPES
from nextword.models.llama import Llama
from nextword.models.llama_config import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from small_llama import OWN, small_config, small_llama, small_tensors
from strategies import llama_configs, run, token_ids

CONFIGS = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


@given(llama_configs(), st.integers(0, 2**16), st.data())
def test_logits_are_those_of_numpy_within_what_rounding_explains(isa, config, seed, data):
    exact = small_llama(config, seed, ops=reference)
    ids = data.draw(token_ids(exact, most=20))
    expected = run(exact, [ids])
    bound = rounding_bound(lambda ops: run(small_llama(config, seed, ops=ops), [ids]), expected)
    assert np.abs(run(small_llama(config, seed), [ids]) - expected).max() <= bound
    assume(bound < 0.1 * np.abs(expected).max())  # see test_gpt2.py


@pytest.mark.parametrize("tokens", [1, 3, 17, 200])
@pytest.mark.parametrize("kind", OWN)
def test_any_thread_count_gives_the_same_bits(isa, threads, kind, tokens):
    model = small_llama(small_config(kind, num_hidden_layers=1, num_attention_heads=6, head_dim=40, vocab_size=999,
                                     hidden_size=200, intermediate_size=300, max_position_embeddings=300))
    ids = np.random.default_rng(tokens).integers(0, 999, tokens).tolist()
    before = list(range(60))  # so that the few tokens attend to many
    threads(1)
    expected = run(model, [before, ids])
    for count in (2, 3, 7):
        threads(count)
        np.testing.assert_array_equal(run(model, [before, ids]), expected)


def test_a_window_hides_what_came_before_it():
    model, plain = small_llama("mistral"), small_llama("llama")  # a window of 5 tokens, two layers
    first, second = [1, 2, 3, *range(4, 16)], [9, 8, 7, *range(4, 16)]
    assert not (run(plain, [first])[-1] == run(plain, [second])[-1]).any()
    np.testing.assert_array_equal(run(model, [first])[-1], run(model, [second])[-1])  # 2 * (5 - 1) tokens back at most
    assert not (run(model, [first])[8] == run(model, [second])[8]).all()


def test_more_tokens_than_the_window_are_an_index_error():
    model = small_llama()
    with pytest.raises(IndexError, match=r"places must be 0 \.\. 47, got 48"):
        model([np.zeros(49, np.int64)], model.cache(1, 99))


# Configurations


WRONG_FIELDS = [
    ("num_hidden_layers", 0), ("num_hidden_layers", "2"), ("hidden_size", None), ("intermediate_size", 2.5),
    ("num_attention_heads", 3), ("num_key_value_heads", 3), ("num_key_value_heads", 0), ("head_dim", 5),
    ("head_dim", 2**30), ("head_dim", -2), ("max_position_embeddings", 0), ("vocab_size", 2**31),
    ("hidden_act", "geglu"),
    ("rms_norm_eps", 0), ("rms_norm_eps", "1e-5"), ("tie_word_embeddings", None), ("attention_bias", "yes"),
    ("mlp_bias", 1), ("eos_token_id", "0"), ("bos_token_id", [1]), ("rope_scaling", {"rope_type": "dynamic"}),
    ("rope_parameters", {"rope_type": "longrope"}), ("rope_theta", -1), ("partial_rotary_factor", 0.25),
    ("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0), ("num_experts", 8),
    ("num_local_experts", 8), ("pretraining_tp", 2), ("is_encoder_decoder", True), ("add_cross_attention", True),
    ("is_causal", False), ("attention_chunk_size", 8), ("sliding_window", 8),
    ("layer_types", ["sliding_attention"] * 2), ("layer_types", ["full_attention"]), ("layer_types", "full_attention"),
    ("transformers_weights", "x.safetensors"),
    ("quantization_config", {"quant_method": "gptq"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS, ids=lambda x: repr(x)[:24])
def test_a_wrong_field_is_an_error_that_names_it(name, value):
    words = rf"config: (.*must be a multiple of )?({name}|rope_type)"
    with pytest.raises(ValueError, match=words) as caught:
        LlamaConfig.from_dict(small_config(**{name: value}))
    assert repr(value)[:20] in str(caught.value) or str(value) in str(caught.value) or "rope" in name


WRONG_OF_KINDS = [
    ("mistral", {"sliding_window": 0}, "sliding_window must be a positive integer, got 0"),
    ("mistral", {"layer_types": ["full_attention"] * 2}, "layer_types must be sliding_attention everywhere"),
    ("mistral", {"sliding_window": None, "layer_types": ["sliding_attention"] * 2},
     "layer_types must be full_attention"),
    ("qwen2", {"use_sliding_window": 1}, "use_sliding_window must be true or false, got 1"),
    ("qwen2", {"max_window_layers": -1}, "max_window_layers must be a number of layers, got -1"),
    ("qwen2", {"sliding_window": 2.5}, "sliding_window must be a positive integer"),
    ("qwen3", {"layer_types": ["sliding_attention"] * 2}, "layer_types must be full_attention everywhere"),
    ("qwen3", {"layer_types": ["chunked_attention"] * 2}, "layer_types must be full_attention or sliding_attention"),
]


@pytest.mark.parametrize(("kind", "changes", "said"), WRONG_OF_KINDS)
def test_a_window_that_is_none_is_an_error_that_names_the_field(kind, changes, said):
    with pytest.raises(ValueError, match=f"config: {said}"):
        CONFIGS[kind].from_dict(small_config(kind, **changes))


def test_windows_are_those_of_the_layers_that_have_them():
    windows = {"llama": [0, 0], "mistral": [5, 5], "qwen2": [0, 5], "qwen3": [0, 0]}
    for kind, expected in windows.items():
        config = CONFIGS[kind].from_dict(small_config(kind))
        assert [config.window_of(layer) for layer in range(2)] == expected
    by_name = small_config("qwen2", layer_types=["sliding_attention", "full_attention"])
    assert [Qwen2Config.from_dict(by_name).window_of(layer) for layer in range(2)] == [5, 0]
    unused = small_config("qwen2", use_sliding_window=False)
    assert [Qwen2Config.from_dict(unused).window_of(layer) for layer in range(2)] == [0, 0]


def test_fields_that_change_nothing_here_are_passed_over():
    extra = {"torch_dtype": "bfloat16", "attention_dropout": 0.1, "use_cache": True, "pretraining_tp": 1,
             "architectures": ["LlamaForCausalLM"], "initializer_range": 0.02, "sliding_window": None,
             "layer_types": ["full_attention"] * 2, "rope_scaling": None}  # fmt: skip
    assert LlamaConfig.from_dict({**small_config(), **extra}) == (
        LlamaConfig.from_dict({**small_config(), "layer_types": ["full_attention"] * 2}))


@pytest.mark.parametrize("kind", CONFIGS)
def test_fields_that_are_absent_have_transformers_defaults(kind):
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install nextword[parity]")
    theirs = transformers.AutoConfig.for_model(kind)
    ours = CONFIGS[kind].from_dict({})
    for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                 "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "sliding_window",
                 "eos_token_id", "bos_token_id"):
        assert getattr(ours, name) == getattr(theirs, name, None), name
    assert ours.key_heads == theirs.num_key_value_heads
    assert ours.head_width == getattr(theirs, "head_dim", theirs.hidden_size // theirs.num_attention_heads)


# Weights


FAULTS = [(name, fault) for name in small_tensors(small_config("qwen2", num_hidden_layers=1))
          for fault in ("missing", "misshapen", "nan")]  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_wrong_tensor_is_an_error_that_names_it_and_its_file(tmp_path, name, fault):
    config = small_config("qwen2", num_hidden_layers=1)
    tensors = small_tensors(config)
    if fault == "missing":
        del tensors[name]
    elif fault == "misshapen":
        tensors[name] = np.concatenate([tensors[name]] * 2)
    else:
        tensors[name].flat[-1] = np.nan
    words = {"missing": "is missing|absent", "nan": "finite"}.get(fault, "must have shape")
    with pytest.raises(ValueError, match=words) as caught:
        nextword.load(write_model(tmp_path / "m", config, tensors))
    assert name.removeprefix("model.") in str(caught.value)
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), [("llama", "model.layers.0.self_attn.q_proj.bias"),
                                            ("llama", "model.layers.1.self_attn.q_norm.weight"),
                                            ("qwen2", "model.layers.1.self_attn.o_proj.bias"),
                                            ("mistral", "model.layers.2.mlp.up_proj.weight")])  # fmt: skip
def test_a_tensor_without_a_place_is_an_error_that_names_it(tmp_path, kind, name):
    tensors = {**small_tensors(small_config(kind)), name: np.zeros(24, np.float32)}
    with pytest.raises(ValueError, match=f"'{name}'.*has no place in a {ARCHITECTURES[kind].title} of this"):
        nextword.load(write_model(tmp_path / "m", small_config(kind), tensors))


def test_constants_are_passed_over_and_other_heads_are_told_of(tmp_path):
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(3, np.float32),
             "score.weight": np.zeros((2, 20), np.float32)}  # fmt: skip
    folder = write_model(tmp_path / "m", small_config(), {**small_tensors(small_config()), **extra})
    with pytest.warns(UserWarning, match="no logit depends on it: 'score.weight'"):
        nextword.load(folder)


def test_a_tied_head_is_the_embedding_and_an_untied_one_is_its_own():
    tensors = {name.removeprefix("model."): x for name, x in small_tensors(small_config()).items()}
    own = tensors.pop("lm_head.weight")
    tied = Llama(tensors, small_config(tie_word_embeddings=True))
    assert tied.head.weight is tied.embed.tokens
    both = Llama({**tensors, "lm_head.weight": own}, small_config(tie_word_embeddings=True))
    assert not both.config.tie_word_embeddings
    np.testing.assert_array_equal(run(both, [[1, 2]]), run(small_llama(), [[1, 2]]))
    with pytest.raises(ValueError, match=r"lm_head\.weight' is missing"):
        Llama(tensors, small_config())


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
def test_joined_matrices_are_those_of_their_parts_and_keep_their_name_in_packed_folders(tmp_path, kind, dtype):
    config, tensors = small_config(kind), small_tensors(small_config(kind))
    folder = write_model(tmp_path / "m", config, tensors)
    from_folder = nextword.load(folder, dtype=dtype).model
    out = tmp_path / "packed"
    from nextword.tasks.quantized import quantize

    packed = nextword.load(quantize(folder, dtype, out)).model
    assert packed.dtype == dtype
    assert "layers.1.self_attn.qkv_proj.weight" in open_model(out)
    assert packed.tensors().keys() == from_folder.tensors().keys()
    ids = [[5, 3, 1, 20, 36, 2, 9, 11]]
    np.testing.assert_array_equal(run(packed, ids), run(from_folder, ids))
    np.testing.assert_array_equal(run(small_llama(config).quantised(dtype), ids), run(from_folder, ids))
    parts = [tensors[f"model.layers.1.self_attn.{x}_proj.weight"] for x in "qkv"]
    of_parts = np.concatenate([nextword.ops.unpack(nextword.ops.pack_transposed(x, dtype)) for x in parts], 1)
    np.testing.assert_array_equal(nextword.ops.unpack(packed.blocks[1].qkv.weight), of_parts)


def test_parts_of_several_dtypes_are_joined_as_float32():
    tensors = {name.removeprefix("model."): x for name, x in small_tensors(small_config()).items()}
    name = "layers.0.self_attn.k_proj.weight"
    half = {**tensors, name: tensors[name].astype(np.float16)}
    same = {**tensors, name: tensors[name].astype(np.float16).astype(np.float32)}
    found, expected = (run(Llama(x, small_config()), [[1, 2, 3]]) for x in (half, same))
    np.testing.assert_array_equal(found, expected)


# Memory


def test_a_cache_has_the_heads_of_keys_alone():
    model = small_llama()
    assert (model.heads, model.kv_heads, model.head_width) == (4, 2, 6)
    cache = model.cache(3, 40)
    assert cache.keys[0].shape == (3, 2, 2, 6, 32)
    held = sum(x.nbytes for x in (*cache.keys, *cache.values, *cache.scales))
    assert model.cache_bytes(3, 40) == held


@pytest.mark.parametrize("shape", SHAPES)
def test_published_shapes_have_the_published_numbers_of_weights(shape):
    config = ARCHITECTURES[SHAPES[shape]["model_type"]].Config.from_dict(SHAPES[shape])
    if shape == "gpt2-124m":
        assert (config.n_layer, config.n_embd) == (12, 768)
        return
    width, kv = config.hidden_size, config.key_heads * config.head_width
    layer = 2 * width * width + 2 * width * kv + 3 * width * config.intermediate_size + 2 * width
    total = config.num_hidden_layers * layer + width * config.vocab_size + width
    assert total == {"smollm2-135m": 134_515_008, "llama-3.2-1b": 1_235_814_400}[shape]

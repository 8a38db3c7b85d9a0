"""The same logits, texts and beams as transformers' Llama, Mistral, Qwen2 and Qwen3, over folders that it has saved."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nextword

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')

torch.set_num_threads(1)  # see test_parity.py

SMALL = {"vocab_size": 77, "hidden_size": 48, "intermediate_size": 70, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 128, "eos_token_id": None, "bos_token_id": 0}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32, "rope_theta": 500.0}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 10000.0}
LINEAR = {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}
# Of all kinds: sizes around registers and panels, groups of 1 to 8, wider and narrower heads, ties, angles.
COMMON = {
    "each head its own keys": {"num_key_value_heads": 4},
    "one key for all": {"num_key_value_heads": 1, "num_attention_heads": 8, "hidden_size": 80},
    "heads wider than the model": {"head_dim": 32, "num_attention_heads": 6, "num_key_value_heads": 3,
                                   "hidden_size": 36},
    "heads of 2": {"head_dim": 2, "hidden_size": 33, "num_attention_heads": 3, "num_key_value_heads": 1},
    "width 64 as published": {"head_dim": 64, "hidden_size": 192, "num_attention_heads": 3, "num_key_value_heads": 1,
                              "vocab_size": 1000, "intermediate_size": 512, "max_position_embeddings": 300},
    "tied, wide vocabulary": {"tie_word_embeddings": True, "vocab_size": 32003, "num_hidden_layers": 1},
    "llama3 angles": {"rope_parameters": LLAMA3},
    "yarn angles": {"rope_parameters": YARN, "head_dim": 32},
    "linear angles, large epsilon, gelu": {"rope_parameters": LINEAR, "rms_norm_eps": 1e-2, "hidden_act": "gelu"},
    "four layers, another base": {"num_hidden_layers": 4, "rope_parameters": {"rope_type": "default",
                                                                              "rope_theta": 1e6}},
}  # fmt: skip
OWN = {
    "llama": {"all biases": {"attention_bias": True, "mlp_bias": True},
              "yarn of a stated size": {"rope_parameters": {**YARN, "attention_factor": 1.3, "beta_fast": 8.0,
                                                            "beta_slow": 2.0, "truncate": False}}},
    "mistral": {"a window": {"sliding_window": 7}, "a window of one panel": {"sliding_window": 32},
                "a window of two": {"sliding_window": 2}, "no window": {"sliding_window": None}},
    "qwen2": {"windows from layer 1 on": {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
              "windows by name": {"use_sliding_window": True, "sliding_window": 40, "num_hidden_layers": 3,
                                  "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}},
    "qwen3": {"biases": {"attention_bias": True},
              "windows": {"use_sliding_window": True, "sliding_window": 33, "max_window_layers": 0}},
}  # fmt: skip
CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
SHAPES = {f"{kind}, {name}": (kind, changes) for kind in CLASSES for name, changes in {**COMMON, **OWN[kind]}.items()}


def made(kind, changes):
    """transformers' model of a shape with random weights."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{CLASSES[kind]}Config")(**{**SMALL, **changes}, attn_implementation="eager")
    if kind in ("mistral", "qwen3") and "head_dim" not in changes:
        config.head_dim = config.hidden_size // config.num_attention_heads
    theirs = getattr(transformers, f"{CLASSES[kind]}ForCausalLM")(config).eval()
    with torch.no_grad():  # larger than a fresh model's, so that attention and gates are far from linear
        for name, x in theirs.named_parameters():
            if x.ndim == 2:
                x.normal_(0, 1 if name.endswith("embed_tokens.weight") else x.shape[1] ** -0.5)
            else:
                x.add_(torch.randn_like(x) * 0.1)
    return theirs


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def pair(request, tmp_path_factory):
    """(their model, ours) with the same random weights, ours from the folder that theirs saved."""
    theirs, folder = made(*request.param), tmp_path_factory.mktemp("saved")
    theirs.save_pretrained(folder)
    return theirs, nextword.load(folder)


def prompt_of(lm, tokens):
    return np.random.default_rng(tokens).integers(0, lm.model.vocabulary, tokens)


@pytest.fixture(scope="module")
def expected(pair):
    """Their logits of 1, 31 and 100 tokens."""
    theirs, ours = pair
    with torch.no_grad():
        return {n: theirs(torch.tensor(prompt_of(ours, n))[None]).logits[0].numpy() for n in (1, 31, 100)}


def test_logits_are_theirs_within_a_ten_thousandth(isa, pair, expected):
    for tokens, logits in expected.items():
        assert np.abs(pair[1].logits(prompt_of(pair[1], tokens)) - logits).max() <= 1e-4 * np.abs(logits).max()


def test_greedy_text_is_theirs_token_by_token(pair):
    theirs, ours = pair
    prompt = prompt_of(ours, 9)
    given = torch.tensor(prompt)[None]
    settings = {"max_new_tokens": 30, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(given)}
    with torch.no_grad():
        expected = theirs.generate(given, eos_token_id=None, **settings)[0, 9:].tolist()
    assert ours.generate(prompt, max_new_tokens=30, eos=None).tokens == expected


def test_beams_are_theirs(pair):
    theirs, ours = pair
    prompt = prompt_of(ours, 9)
    given = torch.tensor(prompt)[None]
    settings = {"max_new_tokens": 8, "num_beams": 3, "do_sample": False, "pad_token_id": 0, "length_penalty": 1.0,
                "attention_mask": torch.ones_like(given)}  # fmt: skip
    with torch.no_grad():
        expected = theirs.generate(given, eos_token_id=None, **settings)[0, 9:].tolist()
    assert ours.generate(prompt, num_beams=3, max_new_tokens=8, eos=None).tokens == expected


def test_attention_weights_are_theirs(pair):
    theirs, ours = pair
    ids = prompt_of(ours, 40)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None], output_attentions=True).attentions
    with nextword.trace(ours, names="h.*.attn.weights") as t:
        ours.logits(ids)
    for layer, weights in enumerate(expected):
        np.testing.assert_allclose(t[f"h.{layer}.attn.weights"], weights[0].numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", CLASSES)
def test_sharded_bfloat16_folders_are_theirs_in_float32(tmp_path, kind):
    made(kind, {}).to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    ids = np.arange(50)
    # Read anew: a model that was made bfloat16 has rounded its angles.
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.abs(nextword.load(tmp_path).logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("rope", [LLAMA3, YARN, LINEAR, {"rope_type": "default", "rope_theta": 500.0}],
                         ids=lambda x: x["rope_type"])  # fmt: skip
def test_older_files_say_the_same_angles_beside_a_base(tmp_path, rope):
    theirs = made("llama", {"rope_parameters": rope})
    theirs.save_pretrained(tmp_path)
    ids, file = np.arange(50), tmp_path / "config.json"
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    config = json.loads(file.read_text())
    told = config.pop("rope_parameters")
    scaling = {name: x for name, x in told.items() if name != "rope_theta"}
    scaling["type"] = scaling.pop("rope_type")
    file.write_text(json.dumps({**config, "rope_theta": told["rope_theta"], "rope_scaling": scaling}))
    assert np.abs(nextword.load(tmp_path).logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_trained_models_logits_and_text_are_theirs(isa, shared):
    folder = shared("llama_stories260k")
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours, ids = nextword.load(folder), np.array([1, 403, 407, 261, 378])
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
        text = theirs.generate(torch.tensor(ids)[None], max_new_tokens=100, do_sample=False, pad_token_id=0,
                               attention_mask=torch.ones(1, 5, dtype=torch.int64))[0, 5:].tolist()  # fmt: skip
    assert np.abs(ours.logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()
    found = ours.generate(ids, max_new_tokens=100)
    assert found.tokens == [token for token in text if token != 2]

"""The same logits and the same greedy text as transformers' GPT2LMHeadModel, over folders that it has saved."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nextword
from nextword.models.gpt2 import ACTIVATIONS

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')

# Two OpenMP runtimes, torch's and ours, would wait for each other's threads on a small machine.
torch.set_num_threads(1)

SMALL = {"n_head": 2, "n_embd": 48, "vocab_size": 77}
SHAPES = {
    "width 20, vocabulary 50257": {"n_layer": 2, "n_head": 3, "n_embd": 60, "n_inner": 100, "vocab_size": 50257},
    "width 7, vocabulary 7": {"n_layer": 3, "n_head": 5, "n_embd": 35, "n_inner": 33, "vocab_size": 7},
    "width 64 as published": {"n_layer": 2, "n_head": 4, "n_embd": 256, "vocab_size": 1000, "n_positions": 300},
    "width 1": {"n_layer": 2, "n_head": 4, "n_embd": 4, "n_inner": 1, "vocab_size": 9},
    "width 33, erf": {"n_layer": 2, "n_head": 2, "n_embd": 66, "vocab_size": 77, "activation_function": "gelu"},
    "untied": {"n_layer": 2, "n_head": 2, "n_embd": 48, "vocab_size": 77, "tie_word_embeddings": False},
    "scaled by the layer": {"n_layer": 4, **SMALL, "scale_attn_by_inverse_layer_idx": True},
    "not scaled, large epsilon": {"n_layer": 2, **SMALL, "scale_attn_weights": False, "layer_norm_epsilon": 1e-3},
}  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def pair(request, tmp_path_factory):
    """(their model, ours) with the same random weights, ours from the folder that theirs saved."""
    torch.manual_seed(0)
    settings = {"n_positions": 128, "bos_token_id": 0, "eos_token_id": 0, **request.param}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager", **settings)).eval()
    with torch.no_grad():  # larger than a fresh model's, so that attention and GELU are far from linear
        for name, x in theirs.named_parameters():
            if x.ndim == 2:
                x.normal_(0, 1 if name.endswith("wte.weight") else x.shape[0] ** -0.5)
            else:
                x.add_(torch.randn_like(x) * 0.1)
    folder = tmp_path_factory.mktemp("saved")
    theirs.save_pretrained(folder)
    return theirs, nextword.load(folder)


@pytest.mark.parametrize("tokens", [1, 2, 31, 128])
def test_logits_are_theirs_within_a_ten_thousandth(isa, pair, tokens):
    theirs, ours = pair
    ids = np.random.default_rng(tokens).integers(0, ours.config.vocab_size, tokens)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.abs(ours.logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_greedy_text_is_theirs_token_by_token(isa, pair):
    theirs, ours = pair
    prompt = np.random.default_rng(1).integers(0, ours.config.vocab_size, 9)
    given = torch.tensor(prompt)[None]
    settings = {"max_new_tokens": 60, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(given)}
    with torch.no_grad():
        expected = theirs.generate(given, eos_token_id=None, **settings)[0, 9:].tolist()
    assert ours.generate(prompt, max_new_tokens=60, eos=None).tokens == expected


def test_attention_weights_are_theirs(isa, pair):
    theirs, ours = pair
    ids = np.random.default_rng(2).integers(0, ours.config.vocab_size, 40)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None], output_attentions=True).attentions
    with nextword.trace(ours, names="h.*.attn.weights") as t:
        ours.logits(ids)
    for layer, weights in enumerate(expected):
        np.testing.assert_allclose(t[f"h.{layer}.attn.weights"], weights[0].numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_theirs(isa, tmp_path, name):
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=2, n_head=3, n_embd=60, vocab_size=99, n_positions=64,
                                     activation_function=name)  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for x in theirs.parameters():
            x.add_(torch.randn_like(x) * 0.3)
    theirs.save_pretrained(tmp_path)
    ids = np.arange(50)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.abs(nextword.load(tmp_path).logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_folders_are_theirs_in_float32(tmp_path, dtype):
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=2, n_head=3, n_embd=60, vocab_size=99, n_positions=64)
    theirs = transformers.GPT2LMHeadModel(config).eval().to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path)
    ids = np.arange(50)
    with torch.no_grad():
        expected = theirs.float()(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.abs(nextword.load(tmp_path).logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_sharded_folders_are_theirs(tmp_path):
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=3, n_head=3, n_embd=60, vocab_size=999)
    ).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="200KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    ids = np.arange(20)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.abs(nextword.load(tmp_path).logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_demo_models_logits_are_theirs(isa, demo):
    theirs = transformers.GPT2LMHeadModel.from_pretrained(nextword.DEMO, dtype=torch.float32).eval()
    ids = demo.tokenizer.encode("Once upon a time there was a little girl who lived in a village near the forest.")
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.abs(demo.logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


# What the files say of ends, beginnings and forbidden tokens

FILES = [
    ({"eos_token_id": 7}, None), ({"eos_token_id": [0, 7]}, None), ({"eos_token_id": 7}, {}),
    ({"eos_token_id": 7}, {"eos_token_id": 3}), ({"eos_token_id": 7}, {"eos_token_id": None}),
    ({"eos_token_id": 7}, {"eos_token_id": [0, 3]}), ({"eos_token_id": []}, None), ({"eos_token_id": -1}, None),
    ({"eos_token_id": 99}, None), ({"eos_token_id": 7}, {"eos_token_id": [3], "suppress_tokens": [0, 3]}),
    ({"eos_token_id": 7}, {"eos_token_id": 3, "bad_words_ids": [[0], [3], [7, 7]]}),
]  # fmt: skip


@pytest.mark.parametrize(("config", "generation"), FILES)
def test_texts_end_where_theirs_end(tmp_path, config, generation):
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 32, "vocab_size": 40}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape)).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "bos_token_id": 5, **config}))
    (tmp_path / "generation_config.json").unlink()
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    theirs, ours = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval(), nextword.load(tmp_path)
    for token in (0, 3, 7):
        settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 1, "sequence_bias": [[[token], 1000.0]]}
        expected = theirs.generate(torch.tensor([[1, 2]]), attention_mask=torch.ones(1, 2, dtype=torch.int64),
                                   **settings)[0, 2:].tolist()
        ended = theirs.generation_config.eos_token_id
        ends = ended if isinstance(ended, list) else [ended]
        out = ours.generate([1, 2], max_new_tokens=4, logit_bias={token: 1000.0})
        assert out.tokens == (expected[:-1] if expected[-1] in ends else expected)
    if theirs.generation_config.bos_token_id is not None:
        expected = theirs.generate(max_new_tokens=3, do_sample=False, pad_token_id=1)[0].tolist()
        out = ours.generate(np.array([], int), max_new_tokens=3)
        assert out.prompt_tokens + out.tokens == [token for token in expected if token not in ours.ends]

"""Trained models whose answers are published: a sorter with its intermediates, a small text model, and GPT-2 124M.

The embeddings of GPT-2 124M are not among the shared files, so its attention can be tested from the published scores on
only; whoever has the real model sets NEXTWORD_GPT2 to its folder, and the published numbers are tested as well.
"""

from __future__ import annotations

import itertools
import json
import os

import numpy as np
import pytest

import nextword
from nextword.models.gpt2 import GPT2
from strategies import run

# gpt_nano_sort (minGPT), as it comes with the package: six letters of three kinds in, the same letters sorted out


@pytest.fixture(scope="module")
def sorter():
    return nextword.load("nextword:nano-sort").model


PARTIALS = {"tok_emb": "wte", "pos_emb": "wpe", "ln1": "ln_1", "q": "attn.q", "k": "attn.k", "v": "attn.v",
            "att": "attn.scores",
            "attSm": "attn.weights", "yProj": "attn.out", "attnResid": "resid_mid", "ln2": "ln_2", "fc": "mlp.fc",
            "gelu": "mlp.act", "mlp": "mlp.out", "mlpResid": "resid_post"}  # fmt: skip


@pytest.mark.parametrize(("theirs", "ours"), PARTIALS.items())
def test_the_sorters_first_block_has_the_published_intermediates(isa, shared, sorter, theirs, ours):
    partials = np.load(shared("gpt_nano_sort/partials_block0.npz"))
    name = ours if ours in ("wte", "wpe") else f"h.0.{ours}"
    for at, ids in enumerate(partials["idx"].astype(np.int64)):
        expected = partials[theirs][min(at, len(partials[theirs]) - 1)]
        with nextword.trace(sorter, names=name) as t:
            run(sorter, [ids])
        np.testing.assert_allclose(t[name], expected, rtol=0, atol=2e-6)


def test_the_sorters_intermediates_are_the_same_in_a_batch(isa, shared, sorter):
    partials = np.load(shared("gpt_nano_sort/partials_block0.npz"))
    batch = partials["idx"].astype(np.int64)
    with nextword.trace(sorter) as t:
        sorter(list(batch), sorter.cache(len(batch)))
    np.testing.assert_allclose(t["h.0.resid_post"], partials["block0"].reshape(33, 48), rtol=0, atol=2e-6)
    for found, expected in zip(t.all("h.0.attn.weights"), partials["attSm"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_the_sorter_sorts_all_729_inputs(isa, sorter):
    lm = nextword.LanguageModel(sorter)
    inputs = [list(ids) for ids in itertools.product(range(3), repeat=6)]
    found = [out.tokens for out in lm.generate(inputs, max_new_tokens=6)]
    wrong = [ids for ids, out in zip(inputs, found, strict=True) if out != sorted(ids)]
    assert wrong == []


# gpt2_basic_tiny: erf GELU, untied head with a bias, a lexicon of pieces of text


@pytest.fixture
def basic(shared):
    from safetensors.numpy import load_file

    described = json.loads(shared("gpt2_basic_tiny/gold_v4.json").read_text())
    stored = load_file(shared("gpt2_basic_tiny/gold_v4.safetensors"))
    tensors = {name.removeprefix("transformer."): x for name, x in stored.items()}
    return GPT2(tensors, described["config"]), described["vocab_latin1"], tensors, described["config"]


def test_the_small_text_model_is_what_its_config_says(basic):
    model, vocabulary, tensors, _ = basic
    assert len(vocabulary) == model.config.vocab_size
    assert sum(x.size for x in tensors.values()) == 463_168
    assert (model.config.activation_function, model.config.tie_word_embeddings) == ("gelu", False)
    assert model.head.bias is not None


def pieces(text, vocabulary):
    """Longest match first."""
    ids = []
    while text:
        at, piece = max(
            ((i, p) for i, p in enumerate(vocabulary) if p and text.startswith(p)), key=lambda found: len(found[1])
        )
        ids.append(at)
        text = text[len(piece) :]
    return ids


def test_the_small_text_model_computes_as_numpy_does_and_needs_its_erf_and_its_bias(isa, basic):
    model, vocabulary, tensors, config = basic
    ids = [pieces("Q: What is a neural network?\nA:", vocabulary)]

    def distance(without=(), **changes):
        given = {name: x for name, x in tensors.items() if name not in without}
        other = GPT2(given, {**config, **changes}, ops=nextword.reference)
        return float(np.abs(run(model, ids) - run(other, ids)).max())

    same = distance()
    assert 10 * same < distance(activation_function="gelu_new")
    assert 1000 * same < distance(without=("lm_head.bias",))


@pytest.mark.parametrize(
    ("prompt", "continuation"),
    [("Why is the", " generated text not a script? A scripted text table would not prove anything about the runtime"),
     ("The prompt", ", runs attention and feed-forward layers, and chooses the next token from model logits."),
     ("What is a neural network?", " Emulator timing is useful for iteration, but physical hardware timing is")],
)  # fmt: skip
def test_the_small_text_model_continues_in_whole_sentences_of_its_trade(isa, basic, prompt, continuation):
    """A graph that were wrong anywhere would not know its training text by heart."""
    model, vocabulary, *_ = basic
    out = nextword.LanguageModel(model).generate(pieces(prompt, vocabulary), max_new_tokens=25)
    assert "".join(vocabulary[i] for i in out.tokens).startswith(continuation)


# GPT-2 124M


@pytest.mark.parametrize("example", ["ex0", "ex1", "ex2"])
def test_softmax_turns_gpt2s_published_scores_into_its_published_weights(isa, shared, example):
    stored = np.load(shared(f"gpt2_124m_outputs/{example}.npz"))
    scores, expected = stored["attn_masked"], stored["attn_softmax"]
    found = nextword.ops.softmax(np.ascontiguousarray(scores.reshape(-1, scores.shape[-1]))).reshape(scores.shape)
    # two float32 softmaxes, each with exp to 8 units, a sum of n terms and a division, of weights up to 1
    assert np.abs(found - expected).max() <= 2 * (8 + scores.shape[-1] + 1) * 2.0**-24


@pytest.fixture(scope="module")
def gpt2():
    folder = os.environ.get("NEXTWORD_GPT2")
    if not folder:
        pytest.skip("needs the real GPT-2 124M: set NEXTWORD_GPT2 to its folder")
    return nextword.load(folder)


def published(shared, kind):
    return json.loads(shared("published_numbers/gpt2_published.json").read_text())[kind]


@pytest.mark.parametrize("example", ["ex0", "ex1", "ex2"])
def test_gpt2_gives_the_published_logits_and_attention(gpt2, shared, example):
    stored = np.load(shared(f"gpt2_124m_outputs/{example}.npz"))
    with nextword.trace(gpt2, names="h.*.attn.weights") as t:
        logits = gpt2.logits(stored["token_ids"], last_only=True)
    # parity's 1e-4 relative: the logits were computed in float32 elsewhere
    assert np.abs(logits - stored["logits_last"]).max() <= 1e-4 * np.abs(stored["logits_last"]).max()
    for layer in range(12):
        np.testing.assert_allclose(t[f"h.{layer}.attn.weights"], stored["attn_softmax"][layer], rtol=0, atol=1e-4)


def test_gpt2_has_the_published_losses_and_best_tokens(gpt2, shared):
    checked = 0
    for row in published(shared, "logits_and_losses"):
        if row.get("model"):
            continue
        if "argmax_id" in row:
            logits = gpt2.logits(row["ids"], last_only=True)
            assert int(logits.argmax()) == row["argmax_id"]
            assert abs(logits.max() - row["logit"]) <= row["tolerance"] * abs(row["logit"])
        elif "loss" in row and "ids" in row:
            assert abs(loss(gpt2, row["ids"][:-1], row["ids"][1:]) - row["loss"]) <= row["tolerance"]
        elif "batch_ids_x" in row:
            losses = [loss(gpt2, x, y) for x, y in zip(row["batch_ids_x"], row["batch_ids_y"], strict=True)]
            assert abs(np.mean(losses) - row["loss"]) <= row["tolerance"]
        else:
            continue
        checked += 1
    assert checked == 3


def loss(lm, ids, targets):
    logits = lm.logits(ids).astype(np.float64)
    top = logits.max(-1)
    normaliser = top + np.log(np.exp(logits - top[:, None]).sum(-1))
    return float((normaliser - logits[np.arange(len(ids)), targets]).mean())


def test_gpt2_continues_greedily_as_published(gpt2, shared):
    checked = 0
    for row in published(shared, "greedy"):
        special = {"model", "dtype", "suppress_sequences", "bad_words", "repetition_penalty", "note"} & row.keys()
        if special or "ids" not in row:
            continue
        prompt = row.get("prompt_ids") or gpt2.tokenizer.encode(row["prompt"])
        expected = row["ids"][len(prompt) :] if row["ids"][: len(prompt)] == prompt else row["ids"]
        assert gpt2.generate(prompt, max_new_tokens=len(expected), eos=None).tokens == expected
        checked += 1
    assert checked >= 3


# llama_stories260k (karpathy's stories260K), whose greedy text llama2.c publishes in its test_all.py

STORY = """Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she \
saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, "I want to play with \
your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she"""


def test_the_small_llama_tells_the_published_story(isa, shared):
    lm = nextword.load(shared("llama_stories260k"))
    pieces = [one["piece_latin1"] for one in json.loads(shared("llama_stories260k/vocab.json").read_text("utf-8"))]
    found = lm.generate([1], max_new_tokens=200, eos=None).tokens
    text = b"".join(bytes([int(pieces[i][3:5], 16)]) if pieces[i][:3] == "<0x" else pieces[i].encode("latin-1")
                    for i in found)  # fmt: skip
    assert text.decode().lstrip().startswith(STORY)

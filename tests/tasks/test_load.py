"""nextword.load: folders of every kind give the same model, wrong ones one clear error; memory stays low."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nextword
from byte_vocabulary import write_byte_vocabulary
from model_files import from_bfloat16, to_bfloat16, write_model
from nextword.models import ARCHITECTURES, ENCODERS
from nextword.models.gpt2 import GPT2
from strategies import random_tensors, run, tiny_config

IDS = [1, 2, 3, 36]


def rounded(tensors, dtype):
    if dtype == "bfloat16":
        return {name: from_bfloat16(to_bfloat16(x)) for name, x in tensors.items()}
    return {name: x.astype(dtype).astype(np.float32) for name, x in tensors.items()}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_every_way_to_store_a_model_gives_its_logits(tmp_path, prefix, shards, dtype, tied):
    config = tiny_config(tie_word_embeddings=tied)
    tensors = random_tensors(config, head_bias=not tied)
    lm = nextword.load(write_model(tmp_path / "m", config, tensors, dtype, shards, prefix))
    expected = run(GPT2(rounded(tensors, dtype), config), [IDS])
    np.testing.assert_array_equal(lm.logits(IDS), expected)
    assert lm.config.tie_word_embeddings is tied


def test_stored_masks_are_passed_over(tmp_path):
    config, tensors = tiny_config(), random_tensors(tiny_config())
    masks = {f"h.{i}.attn.bias": np.ones((1, 1, 24, 24), np.float32) for i in range(2)}
    masks |= {f"h.{i}.attn.masked_bias": np.float32(-1e4) for i in range(2)}
    lm = nextword.load(write_model(tmp_path / "m", config, {**tensors, **masks}))
    np.testing.assert_array_equal(lm.logits(IDS), run(GPT2(tensors, config), [IDS]))


def test_a_path_may_be_text_or_a_path(tmp_path):
    folder = write_model(tmp_path / "m", tiny_config(), random_tensors(tiny_config()))
    np.testing.assert_array_equal(nextword.load(str(folder)).logits(IDS), nextword.load(folder).logits(IDS))


def test_a_folder_without_a_vocabulary_works_with_ids(tmp_path):
    lm = nextword.load(write_model(tmp_path / "m", tiny_config(), random_tensors(tiny_config())))
    assert lm.tokenizer is None
    assert lm.generate(IDS, max_new_tokens=2).text is None


def test_a_folder_with_a_vocabulary_works_with_text(tmp_path):
    config = tiny_config(vocab_size=257)
    folder = write_model(tmp_path / "m", config, random_tensors(config))
    write_byte_vocabulary(folder)
    out = nextword.load(folder).generate("ab", max_new_tokens=2)
    assert out.prompt_tokens == [97, 98]
    assert isinstance(out.text, str)


def test_a_vocabulary_may_be_smaller_than_the_model_or_larger(tmp_path):
    """Models pad their vocabulary; the spare ids decode to nothing known. A tokenizer may have tokens never used."""
    for size in (257, 300, 256, 100):
        config = tiny_config(vocab_size=size)
        folder = write_model(tmp_path / str(size), config, random_tensors(config))
        write_byte_vocabulary(folder)
        lm = nextword.load(folder)
        assert len(lm.tokenizer) == 257
        out = lm.generate("abc", max_new_tokens=8, temperature=2.0, seed=size, stop="\x00\x00")
        assert out.prompt_tokens == [97, 98, 99]
        assert all(token < size for token in out.tokens)


def test_a_token_beyond_the_model_is_refused_where_it_is_used(tmp_path):
    config = tiny_config(vocab_size=256, eos_token_id=None)
    folder = write_byte_vocabulary(write_model(tmp_path / "m", config, random_tensors(config)))
    lm = nextword.load(folder)
    end = "<|endoftext|>"
    assert lm.score("abc").count == 2  # no token to start from
    for call, message in [
        (lambda: lm.generate("a" + end, allowed_special="all"), "prompt must hold token ids 0 .. 255, got 256"),
        (lambda: lm.logits([256]), "prompt must hold token ids 0 .. 255, got 256"),
        (lambda: lm.score(end, allowed_special="all"), "text must hold token ids 0 .. 255, got 256"),
        (lambda: lm.choose("a", [end], allowed_special="all"), "each choice must hold token ids 0 .. 255, got 256"),
        (lambda: lm.generate("a", bad_words=[end]), "bad_words must hold token ids 0 .. 255, got 256"),
        (lambda: lm.generate("a", logit_bias={end: 1.0}), "logit_bias must hold token ids 0 .. 255, got 256"),
        (lambda: lm.generate("a", eos=end), "eos must be a token id 0 .. 255"),
        (lambda: lm.generate(""), "prompt must have at least one token"),
    ]:
        with pytest.raises((IndexError, ValueError), match=message):
            call()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"tokenizer_config.json": "{"}, "tokenizer_config.json: not JSON"),
        ({"vocab.json": '{"a": 0, "b": 0}'}, "vocab.json line 1: id 0 is given a second time"),
        ({"tokenizer.json": '{"model": {"type": "Other", "vocab": {"a": 0}, "merges": []}}'}, "model.type must be BPE"),
        ({"merges.txt": None}, "vocab.json is there, but not merges.txt"),
        ({"vocab.json": None, "merges.txt": None, "spiece.model": ""}, "spiece.model is of another kind"),
    ],
)
def test_a_vocabulary_that_cannot_be_read_leaves_a_model_that_works_with_ids(tmp_path, files, reason):
    config = tiny_config(vocab_size=257)
    folder = write_byte_vocabulary(write_model(tmp_path / "m", config, random_tensors(config)))
    whole = nextword.load(folder)
    for name, text in files.items():
        (folder / name).unlink() if text is None else (folder / name).write_text(text)
    lm = nextword.load(folder)
    assert lm.tokenizer is None
    assert lm.generate(IDS, max_new_tokens=2, seed=1).tokens == whole.generate(IDS, max_new_tokens=2, seed=1).tokens
    for call in (
        lambda: lm.generate("text"),
        lambda: lm.stream("text"),
        lambda: lm.logits("text"),
        lambda: lm.score("text"),
        lambda: lm.choose("text", ["a"]),
        lambda: lm.session("text"),
        lambda: lm.session(IDS).feed("text"),
        lambda: lm.session(IDS).generate(bad_words=["text"]),
        lambda: lm.generate(IDS, stop="text"),
    ):
        with pytest.raises(ValueError, match=r"needs? a vocabulary, which this model does not have") as error:
            call()
        assert reason in str(error.value)
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_generation_of_an_id_beyond_the_vocabulary_gives_replacement_characters(tmp_path):
    config = tiny_config(vocab_size=300)
    bias = np.zeros(300, np.float32)
    bias[299] = 1e6
    folder = write_model(tmp_path / "m", config, {**random_tensors(config), "lm_head.bias": bias})
    write_byte_vocabulary(folder)
    lm = nextword.load(folder)
    out = lm.generate("a", max_new_tokens=2)
    assert out.tokens == [299, 299]
    assert out.text == "\ufffd\ufffd"
    assert "".join(lm.stream("a", max_new_tokens=2)) == out.text


@pytest.mark.parametrize("kind", ["mamba", "", None, 3, ["gpt2"]])
def test_an_unknown_model_type_is_an_error_that_lists_the_known(tmp_path, kind):
    folder = write_model(tmp_path / "m", tiny_config(model_type=kind), random_tensors(tiny_config()))
    known = ", ".join((*ARCHITECTURES, *ENCODERS))
    with pytest.raises(ValueError, match=rf"model_type in .*config\.json must be one of {known}, got "):
        nextword.load(folder)


def test_a_config_without_a_model_type_is_taken_for_gpt2(tmp_path):
    config = tiny_config()
    del config["model_type"]
    assert nextword.load(write_model(tmp_path / "m", config, random_tensors(tiny_config()))).config.n_layer == 2


def test_architectures_say_what_a_config_without_a_model_type_is_of(tmp_path):
    from nextword.models import kind_of

    for kind, name in (("llama", "LlamaForCausalLM"), ("qwen2", "Qwen2ForCausalLM"), ("bert", "BertModel"),
                       ("xlm-roberta", "XLMRobertaModel"), ("gpt2", "GPT2LMHeadModel")):
        assert kind_of(SimpleNamespace(source="config.json", config={"architectures": [name]})).kind == kind
    config = tiny_config(architectures=["MambaForCausalLM"])
    del config["model_type"]
    with pytest.raises(ValueError, match=r"config\.json, .* architectures has \['MambaForCausalLM'\]"):
        nextword.load(write_model(tmp_path / "m", config, random_tensors(tiny_config())))


def test_sizes_beyond_31_bits_are_told(tmp_path):
    folder = write_model(tmp_path / "m", tiny_config(n_positions=2**31), random_tensors(tiny_config()))
    with pytest.raises(ValueError, match=r"n_positions must be a positive integer below 2\^31, got 2,?147"):
        nextword.load(folder)


@pytest.mark.parametrize("change", [{"n_layer": 3}, {"n_embd": 18}, {"n_positions": 25}, {"vocab_size": 38},
                                    {"n_inner": 24},
                                    {"n_inner": None}, {"tie_word_embeddings": False}])  # fmt: skip
def test_a_config_that_disagrees_with_the_tensors_is_an_error_that_names_a_tensor_and_the_file(tmp_path, change):
    folder = write_model(tmp_path / "m", tiny_config(**change), random_tensors(tiny_config()))
    with pytest.raises(ValueError, match=r"load: tensor '.*model\.safetensors"):
        nextword.load(folder)


def test_a_wrong_config_is_an_error_that_names_the_field_and_the_file(tmp_path):
    folder = write_model(tmp_path / "m", tiny_config(n_head=0), random_tensors(tiny_config()))
    with pytest.raises(ValueError, match=r"config\.json.*n_head must be"):
        nextword.load(folder)


@pytest.mark.parametrize("dtype", ["float16", "", np.float32])
def test_another_dtype_is_an_error(dtype):
    with pytest.raises(ValueError, match="load: dtype must be one of float32, bfloat16, int8, int4, got "):
        nextword.load(dtype=dtype)


def test_the_thread_count_may_be_given(threads):
    nextword.load(threads=1)
    assert nextword.cpu.threads() == 1
    with pytest.raises(ValueError, match=r"1 \.\. 1024"):
        nextword.load(threads=0)


def test_a_folder_that_is_not_there_is_a_file_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        nextword.load(tmp_path / "absent")


# Memory

MEASURE = """
import sys, nextword

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

before = status("VmRSS")
lm = nextword.load(sys.argv[1])
print(before, status("VmHWM"), float(lm.logits([1]).sum()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc/self/status")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_loading_peaks_below_1_15_times_the_weights_and_100_megabytes(tmp_path, dtype):
    """About 200 MB of float32, half of it in the embedding, the largest single tensor that GPT-2 has."""
    embd = 640
    config = tiny_config(n_layer=5, n_head=10, n_embd=embd, n_inner=4 * embd, n_positions=512, vocab_size=40000)
    rng = np.random.default_rng(0)
    tensors = {}
    for name, x in zero_tensors(config).items():
        tensors[name] = rng.integers(-1000, 1000, x.shape, np.int16).astype(dtype) / x.dtype.type(1 << 15)
    size = sum(x.size for x in tensors.values()) * 4
    assert 150e6 < size < 250e6
    folder = write_model(tmp_path / "m", config, tensors, dtype)
    del tensors
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=True
    ).stdout
    before, peak, _ = map(float, out.split())
    assert peak < 1.15 * size + 100e6, (
        f"{peak / 1e6:.0f} MB at peak, {before / 1e6:.0f} before, weights {size / 1e6:.0f}"
    )
    assert peak > size  # the measurement sees the weights


def zero_tensors(config):
    """The names and shapes of `random_tensors`, without the numbers."""
    embd, inner = config["n_embd"], config["n_inner"]
    shapes = {
        "wte.weight": (config["vocab_size"], embd),
        "wpe.weight": (config["n_positions"], embd),
        "ln_f.weight": (embd,),
        "ln_f.bias": (embd,),
    }
    for layer in range(config["n_layer"]):
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{norm}.weight": (embd,), f"h.{layer}.{norm}.bias": (embd,)}
        for name, depth, cols in (
            ("attn.c_attn", embd, 3 * embd),
            ("attn.c_proj", embd, embd),
            ("mlp.c_fc", embd, inner),
            ("mlp.c_proj", inner, embd),
        ):
            shapes |= {f"h.{layer}.{name}.weight": (depth, cols), f"h.{layer}.{name}.bias": (cols,)}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def test_the_config_of_the_demo_is_what_its_file_says(demo):
    stored = json.loads((nextword.DEMO / "config.json").read_text())
    assert (demo.config.n_layer, demo.config.n_embd) == (stored["n_layer"], stored["n_embd"])


@pytest.mark.parametrize("context", [1, 33, 512])
def test_context_makes_the_window_smaller_and_changes_nothing_within_it(context: int) -> None:
    lm, whole = nextword.load(context=context), nextword.load()
    assert lm.model.window == context
    assert f"context {context}" in repr(lm)
    assert lm.model.cache().capacity == -(-context // 32) * 32
    ids = [281, 290, 300][:context]
    np.testing.assert_array_equal(lm.logits(ids), whole.logits(ids))
    with pytest.raises(ValueError, match=f"context window of {context};"):
        lm.generate([281] * (context + 1), max_new_tokens=1)


@pytest.mark.parametrize("context", [0, -1, 513, 2.5, "512", True])
def test_a_context_that_the_model_was_not_made_for(context: object) -> None:
    with pytest.raises(ValueError, match=r"context must be 1 \.\. 512"):
        nextword.load(context=context)  # type: ignore[arg-type]

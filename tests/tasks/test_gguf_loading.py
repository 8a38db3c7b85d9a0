"""Language models of GGUF files: the same as of a folder with the same numbers, in all that a user holds."""

from __future__ import annotations

import json
import pickle
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from gguf_files import decoder_file, decoder_metadata, decoder_tensors, gguf_bytes, interleaved, random_blocks, stored
from nextword.arithmetic.formats import DTYPES
from nextword.files.weights import open_model
from nextword.models.gpt2 import GPT2
from nextword.tasks.fingerprint import model_fingerprint

IDS = [281, 290, 300, 17, 42]
PARTS = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
         "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}  # fmt: skip
OUTER = {"wte.weight": "token_embd.weight", "wpe.weight": "position_embd.weight", "ln_f.weight": "output_norm.weight",
         "ln_f.bias": "output_norm.bias"}


def vocabulary():
    """The demo model's, as such files have it."""
    tokens = json.loads((nextword.DEMO / "vocab.json").read_text())
    merges = (nextword.DEMO / "merges.txt").read_text().splitlines()
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": sorted(tokens, key=tokens.__getitem__),
            "tokenizer.ggml.token_type": np.ones(len(tokens), np.int32),
            "tokenizer.ggml.merges": [line for line in merges if line and not line.startswith("#version")]}


def demo_file(kind="F32"):
    """The demo model as such a file; matrices [in, out] are stored the other way round."""
    weights = open_model(nextword.DEMO).renamed(GPT2.own_name)
    c, tensors = nextword.load().config, {}
    for name, x in weights.items():
        x = np.asarray(x, np.float32)
        if name in OUTER:
            tensors[OUTER[name]] = stored(x, kind if name == "wte.weight" else "F32")
        else:
            _, layer, rest = name.split(".", 2)
            part, what = rest.rsplit(".", 1)
            tensors[f"blk.{layer}.{PARTS[part]}.{what}"] = stored(x.T if x.ndim == 2 else x,
                                                                 kind if x.ndim == 2 else "F32")
    metadata = {"general.architecture": "gpt2", "gpt2.context_length": c.n_positions, "gpt2.embedding_length": c.n_embd,
                "gpt2.block_count": c.n_layer, "gpt2.attention.head_count": c.n_head,
                "gpt2.feed_forward_length": c.inner, "gpt2.attention.layer_norm_epsilon": c.layer_norm_epsilon,
                "tokenizer.ggml.eos_token_id": c.eos_token_id, "tokenizer.ggml.bos_token_id": c.bos_token_id}
    return gguf_bytes({**metadata, **vocabulary()}, tensors)


@pytest.fixture(scope="module")
def demo_gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "demo.gguf"
    path.write_bytes(demo_file())
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_and_texts_are_those_of_the_folder(demo_gguf, dtype):
    one, other = nextword.load(demo_gguf, dtype), nextword.load(dtype=dtype)
    assert np.array_equal(one.logits(IDS), other.logits(IDS))
    text = "Once upon a time, there was a naïve girl."
    assert one.tokenizer.encode(text) == other.tokenizer.encode(text)
    assert one.generate(text, max_new_tokens=8).tokens == other.generate(text, max_new_tokens=8).tokens
    assert (one.ends, one.no_tokenizer) == (other.ends, "")


def test_a_model_of_a_file_is_pickled_by_its_place(demo_gguf):
    lm = nextword.load(demo_gguf, "int8")
    again = pickle.loads(pickle.dumps(lm))
    assert lm.source.path == str(demo_gguf)
    assert model_fingerprint(again.model) == model_fingerprint(lm.model)
    assert np.array_equal(again.logits(IDS), lm.logits(IDS))


@pytest.mark.parametrize(("kind", "dtype"), [("F32", "float32"), ("F16", "bfloat16"), ("BF16", "bfloat16"),
                                             ("Q8_0", "int8"), ("Q6_K", "int8"), ("Q5_K", "int8"), ("Q5_0", "int8"),
                                             ("Q4_K", "int8"), ("Q4_0", "int4"), ("Q4_1", "int8")])  # fmt: skip
def test_without_a_dtype_the_nearest_is_taken_and_named(tmp_path, kind, dtype):
    (tmp_path / "m.gguf").write_bytes(wide_file(kind))
    lm = nextword.load(tmp_path / "m.gguf")
    assert (lm.model.dtype, lm.note) == (dtype, f"{dtype} of {kind}")
    assert repr(lm).endswith(f"; {dtype} of {kind})")
    assert nextword.load(tmp_path / "m.gguf", "bfloat16").model.dtype == "bfloat16"


def wide_file(kind, vocabulary=64):
    """A decoder of one layer with rows of 256 numbers, so that every kind has whole blocks."""
    rng, width = np.random.default_rng(8), 256
    shapes = {"token_embd": (vocabulary, width), "blk.0.attn_q": (width, width), "blk.0.attn_k": (64, width),
              "blk.0.attn_v": (64, width), "blk.0.attn_output": (width, width), "blk.0.ffn_gate": (width, width),
              "blk.0.ffn_up": (width, width), "blk.0.ffn_down": (width, width)}
    tensors = {f"{name}.weight": (kind, shape, random_blocks(kind, *shape, rng)) for name, shape in shapes.items()}
    norms = {f"{name}.weight": stored(np.ones(width)) for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")}
    sizes = {"embedding_length": width, "block_count": 1, "feed_forward_length": width, "rope__dimension_count": 64,
             "attention__head_count_kv": 1}
    return gguf_bytes(decoder_metadata(**sizes), {**tensors, **norms})


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_a_decoders_logits_are_those_of_its_folder(tmp_path, architecture):
    from model_files import write_model
    from nextword.models import build

    path = tmp_path / "m.gguf"
    tensors = decoder_tensors(architecture)
    turned = {name: stored(interleaved(x, 4 if "attn_q." in name else 2)
                           if architecture == "llama" and ("attn_q." in name or "attn_k." in name) else x)
              for name, x in tensors.items()}
    path.write_bytes(gguf_bytes(decoder_metadata(architecture), turned))
    weights = open_model(path)
    named = {name: np.asarray(weights[name]) for name in weights}
    folder = write_model(tmp_path / "folder", weights.config, named)
    ids = [1, 5, 99, 0, 7]
    one, other = nextword.load(path, "float32"), nextword.load(folder)
    assert np.array_equal(one.logits(ids), other.logits(ids))
    assert build(open_model(path)).kind == architecture
    quantised = nextword.load(nextword.quantize(path, "int8", tmp_path / "small"))
    assert np.array_equal(quantised.logits(ids), nextword.load(path, "int8").logits(ids))


def test_a_quantised_folder_of_a_file_has_its_vocabulary(demo_gguf, tmp_path):
    lm = nextword.load(nextword.quantize(demo_gguf, "int4", tmp_path / "small"))
    assert lm.model.dtype == "int4"
    assert lm.tokenizer.encode("Once upon") == nextword.load().tokenizer.encode("Once upon")
    assert np.array_equal(lm.logits(IDS), nextword.load(demo_gguf, "int4").logits(IDS))
    again = nextword.load(nextword.quantize(tmp_path / "small", "int4", tmp_path / "again"))
    assert again.tokenizer.encode("Once upon") == lm.tokenizer.encode("Once upon")


def test_messages_become_prompts_by_the_files_template(tmp_path):
    pytest.importorskip("jinja2", reason="needs jinja2")
    template = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}{{ eos_token }}"
    more = {**vocabulary(), "tokenizer.chat_template": template, "tokenizer.ggml.bos_token_id": 3,
            "tokenizer.ggml.eos_token_id": 2**32 - 1}
    (tmp_path / "m.gguf").write_bytes(decoder_file(metadata=more))
    lm = nextword.load(tmp_path / "m.gguf")
    begin = vocabulary()["tokenizer.ggml.tokens"][3]
    assert lm.chat_template.render([{"role": "user", "content": "Hi"}]) == f"{begin}[Hi]"
    (tmp_path / "m.gguf").write_bytes(decoder_file(metadata={**more, "tokenizer.chat_template": 7}))
    with pytest.raises(ValueError, match=r"chat: .*m\.gguf: tokenizer\.chat_template must be a text of .*, got 7"):
        nextword.load(tmp_path / "m.gguf").chat_template  # noqa: B018


def test_a_file_without_a_vocabulary_works_with_ids_and_says_why(tmp_path):
    (tmp_path / "m.gguf").write_bytes(wide_file("Q8_0"))
    lm = nextword.load(tmp_path / "m.gguf")
    assert lm.logits([1, 2]).shape == (2, 64)
    with pytest.raises(ValueError, match=r"a vocabulary, which this model does not have \(.*tokenizer\.ggml"):
        lm.generate("text")


WHOLE = decoder_file(metadata=vocabulary())


@given(st.data())
def test_a_changed_file_is_a_model_or_one_error(tmp_path, data):
    file = bytearray(WHOLE)
    names = [m.start() for m in re.finditer(rb"llama\.|tokenizer\.|blk\.|general\.", WHOLE)]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(names)) + data.draw(st.integers(-8, 60))
        file[at : at + 4] = data.draw(st.sampled_from([struct.pack("<I", x) for x in (0, 1, 7, 2**16, 2**31 - 1)])
                                      | st.binary(min_size=4, max_size=4))
    (tmp_path / "m.gguf").write_bytes(file)
    try:
        nextword.load(tmp_path / "m.gguf")
        message = "load: "
    except (ValueError, MemoryError) as error:
        message = str(error)
    assert message.startswith(("load: ", "weights: "))


def test_what_there_is_no_memory_for_is_refused_before_it_is_read(tmp_path, monkeypatch):
    from nextword.machine import memory

    (tmp_path / "m.gguf").write_bytes(wide_file("Q8_0"))
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(MemoryError, match=r"load: .*m.gguf in float32 would take .* of memory, and .* are available"):
        nextword.load(tmp_path / "m.gguf", "float32")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_loading_takes_little_more_memory_than_the_weights(tmp_path, dtype):
    """A file whose embedding, nearly all of the model, takes 205 MB as float32, in a process of its own."""
    (tmp_path / "m.gguf").write_bytes(wide_file("Q8_0", vocabulary=200_000))
    code = ("import sys, nextword, re\n"
            "from nextword import _core\n"
            "lm = nextword.load(*sys.argv[1:])\n"
            "peak = int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]) * 1024\n"
            "print(sum(x.nbytes for x in lm.model.tensors().values()), peak)\n")
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc/self/status")
    command = [sys.executable, "-c", code, tmp_path / "m.gguf", dtype]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    packed, peak = map(int, run.stdout.split())
    assert packed > 50_000_000
    assert peak < 1.15 * packed + 200_000_000

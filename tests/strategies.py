"""Models that hypothesis makes: configurations of odd shapes, weights, ids, cuts, settings; a model that recites."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

import nextword
from nextword.arithmetic.formats import DTYPES
from nextword.models.gpt2 import ACTIVATIONS, GPT2, GPT2Config
from nextword.models.model import Model
from small_llama import OWN, small_llama


def configs() -> st.SearchStrategy[dict[str, Any]]:
    """Configurations as in a config.json: head widths around the sizes of registers and panels, any inner width."""
    widths = st.sampled_from([1, 2, 3, 5, 8, 16, 17, 24, 31, 32, 33, 48])

    def whole(heads: int, width: int, rest: dict[str, Any]) -> dict[str, Any]:
        return {"model_type": "gpt2", "n_head": heads, "n_embd": heads * width, "eos_token_id": None, **rest}

    rest = st.fixed_dictionaries(
        {
            "n_layer": st.integers(1, 3),
            "n_inner": st.one_of(st.none(), st.integers(1, 70)),
            "n_positions": st.integers(4, 70),
            "vocab_size": st.sampled_from([1, 7, 31, 32, 33, 50, 129]),
            "activation_function": st.sampled_from(sorted(ACTIVATIONS)),
            "layer_norm_epsilon": st.sampled_from([1e-5, 1e-6, 1e-2]),
            "scale_attn_weights": st.booleans(),
            "scale_attn_by_inverse_layer_idx": st.booleans(),
            "tie_word_embeddings": st.booleans(),
        }
    )
    return st.builds(whole, st.integers(1, 4), widths, rest)


def tiny_config(**changes: Any) -> dict[str, Any]:
    """One fixed configuration of odd sizes, with changes."""
    fixed = {
        "model_type": "gpt2",
        "n_layer": 2,
        "n_head": 3,
        "n_embd": 15,
        "n_inner": 23,
        "n_positions": 24,
        "vocab_size": 37,
    }
    return {**fixed, "eos_token_id": None, **changes}


def random_tensors(
    config: dict[str, Any], seed: int = 0, head_bias: bool = False
) -> dict[str, np.ndarray]:
    """Weights for a configuration, in Hugging Face's names; matrices keep the size of what they multiply."""
    c, rng = GPT2Config.from_dict(config), np.random.default_rng(seed)

    def normal(*shape: int, size: float = 1.0) -> np.ndarray:
        return (size * rng.standard_normal(shape)).astype(np.float32)

    tensors = {"wte.weight": normal(c.vocab_size, c.n_embd), "wpe.weight": normal(c.n_positions, c.n_embd, size=0.5)}
    norms = [f"h.{layer}.{name}" for layer in range(c.n_layer) for name in ("ln_1", "ln_2")]
    for name in [*norms, "ln_f"]:
        tensors[f"{name}.weight"] = 1 + normal(c.n_embd, size=0.1)
        tensors[f"{name}.bias"] = normal(c.n_embd, size=0.1)
    for layer in range(c.n_layer):
        linears = [
            ("attn.c_attn", c.n_embd, 3 * c.n_embd),
            ("attn.c_proj", c.n_embd, c.n_embd),
            ("mlp.c_fc", c.n_embd, c.inner),
            ("mlp.c_proj", c.inner, c.n_embd),
        ]
        for name, depth, cols in linears:
            tensors[f"h.{layer}.{name}.weight"] = normal(depth, cols, size=depth**-0.5)
            tensors[f"h.{layer}.{name}.bias"] = normal(cols, size=0.1)
    if not c.tie_word_embeddings:
        tensors["lm_head.weight"] = normal(c.vocab_size, c.n_embd, size=c.n_embd**-0.5)
    if head_bias:
        tensors["lm_head.bias"] = normal(c.vocab_size)
    return tensors


kv_dtypes = st.sampled_from(["float32", "bfloat16", "int8"])


def random_model(config: dict[str, Any], seed: int = 0, head_bias: bool = False, **settings: Any) -> GPT2:
    """A model of random weights."""
    return GPT2(random_tensors(config, seed, head_bias), config, **settings)


def llama_configs() -> st.SearchStrategy[dict[str, Any]]:
    """The same of the Llama kind: any group of heads, a window in some layers, biases, angles."""
    def whole(kind: str, kv_heads: int, group: int, window: int | None, rest: dict[str, Any]) -> dict[str, Any]:
        heads = {"num_key_value_heads": kv_heads, "num_attention_heads": kv_heads * group}
        own = {"qwen2": {"use_sliding_window": window is not None, "max_window_layers": 1},
               "qwen3": {"use_sliding_window": window is not None, "max_window_layers": 0}}.get(kind, {})
        if kind != "llama":
            own |= {"sliding_window": window}
        return {"model_type": kind, "eos_token_id": None, "bos_token_id": None, **heads, **own, **rest}

    rest = st.fixed_dictionaries({
        "head_dim": st.sampled_from([2, 4, 6, 16, 18, 32, 34]), "hidden_size": st.integers(1, 60),
        "num_hidden_layers": st.integers(1, 3), "intermediate_size": st.integers(1, 70),
        "max_position_embeddings": st.integers(4, 70), "vocab_size": st.sampled_from([1, 7, 31, 32, 33, 50, 129]),
        "hidden_act": st.sampled_from(["silu", "gelu", "gelu_pytorch_tanh"]),
        "rms_norm_eps": st.sampled_from([1e-5, 1e-6, 1e-2]), "tie_word_embeddings": st.booleans(),
        "attention_bias": st.booleans(), "mlp_bias": st.booleans(),
        "rope_theta": st.sampled_from([100.0, 10000.0, 1e6])})  # fmt: skip
    return st.builds(whole, st.sampled_from(sorted(OWN)), st.integers(1, 3), st.integers(1, 3),
                     st.sampled_from([None, 1, 3, 32]), rest)


@st.composite
def gpt2_models(draw: st.DrawFn) -> GPT2:
    """A GPT-2 of any odd shape with random weights, stored in any format, and a cache of any dtype."""
    shape, seed, head_bias = draw(configs()), draw(st.integers(0, 2**16)), draw(st.booleans())
    return random_model(shape, seed, head_bias, dtype=draw(st.sampled_from(DTYPES)), kv_dtype=draw(kv_dtypes))


@st.composite
def llama_models(draw: st.DrawFn) -> Model:
    """The same of the Llama kind."""
    return small_llama(draw(llama_configs()), draw(st.integers(0, 2**16)), dtype=draw(st.sampled_from(DTYPES)),
                       kv_dtype=draw(kv_dtypes))


def models() -> st.SearchStrategy[Model]:
    """A model of any architecture and odd shape with random weights, stored in any format, and a cache of any dtype."""
    return st.one_of(gpt2_models(), llama_models())


@st.composite
def token_ids(draw: st.DrawFn, model: Model, most: int | None = None) -> list[int]:
    """Token ids that fit into the model's window, one at least."""
    length = draw(st.integers(1, min(model.limit, most or model.limit)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return rng.integers(0, model.vocabulary, length).tolist()


@st.composite
def chunks(draw: st.DrawFn, ids: list[int]) -> list[list[int]]:
    """The ids cut into consecutive parts, none empty."""
    cuts = draw(st.lists(st.integers(1, max(1, len(ids) - 1)), max_size=6))
    ends = sorted({0, len(ids), *(c for c in cuts if c < len(ids))})
    return [ids[a:b] for a, b in itertools.pairwise(ends)]


def settings_of_rows() -> st.SearchStrategy[dict[str, Any]]:
    """Fields of `Sampling` for a vocabulary of 37 tokens or more."""
    return st.builds(
        dict,
        temperature=st.sampled_from([0.0, 0.7, 3.0]),
        top_k=st.sampled_from([0, 3]),
        top_p=st.sampled_from([1.0, 0.8]),
        min_p=st.sampled_from([0.0, 0.1]),
        typical_p=st.sampled_from([1.0, 0.9]),
        repetition_penalty=st.sampled_from([1.0, 1.3]),
        frequency_penalty=st.sampled_from([0.0, 0.5]),
        presence_penalty=st.sampled_from([0.0, 0.5]),
        no_repeat_ngram_size=st.sampled_from([0, 2]),
        logit_bias=st.sampled_from([None, {3: 2.0, (1, 4): 5.0}]),
        bad_words=st.sampled_from([(), ((5,), (6, 7))]),
        min_new_tokens=st.sampled_from([0, 4]),
        max_new_tokens=st.integers(4, 12),
        stop=st.sampled_from([(), (2,), (9, 10)]),
        seed=st.integers(0, 2**32),
        logprobs=st.sampled_from([None, 0, 3]),
    )


def run(model: Model, parts: list[list[int]], cache: Any = None) -> np.ndarray:
    """Logits of every position of one sequence that goes through the model part by part."""
    cache = cache or model.cache(1)
    return np.concatenate([model([np.array(part)], cache) for part in parts])


class Script:
    """A stand-in for a model of bytes: it continues any prompt with the given bytes, then with the end token 256.

    What it has seen is told by the cache's length alone, so the prompt must have the given length.
    """

    def __init__(self, text: bytes, prompt_length: int, window: int = 512) -> None:
        self.text, self.start = text, prompt_length
        self.window = self.limit = window
        self.vocabulary, self.widest, self.end_ids, self.begin_id = 257, 8, (256,), None

    def cache_bytes(self, slots: int, capacity: int) -> int:
        """Its cache holds nothing."""
        return 0

    def cache(self, slots: int = 1, capacity: int | None = None, prefix: Any = None) -> Any:
        """A cache that counts."""
        return nextword.models.cache.KVCache(nextword.ops, 0, slots, 1, 1, capacity or self.window)

    def __call__(self, batch: Any, cache: Any, slots: Any = None, rows: Any = None, tap: Any = None) -> np.ndarray:
        """Logits that are 1 for the next byte of the script."""
        where = range(len(batch)) if slots is None else slots
        logits = []
        for ids, slot in zip(batch, where, strict=True):
            for _ in ids:
                at = cache.lengths[slot] - self.start + 1
                cache.lengths[slot] += 1
                logits.append(np.zeros(257, np.float32))
                logits[-1][self.text[at] if 0 <= at < len(self.text) else 256] = 1
        return np.array(logits)[slice(None) if rows is None else rows]

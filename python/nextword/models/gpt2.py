"""GPT-2 (Radford et al. 2019): configuration, weight names and the graph. Arithmetic is in ops."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import ModuleType
from typing import Any

from nextword.arithmetic.arrays import Floats
from nextword.models.attention import Attention
from nextword.models.config import (
    ACTIVATIONS,
    Unsupported,
    by_one_name,
    check_activation,
    check_flags,
    check_fraction,
    check_positive,
    check_token_ids,
    ends,
    refuse,
)
from nextword.models.inputs import Inputs, Past
from nextword.models.layers import ActivatedLinear, Embedding, Linear
from nextword.models.model import Model
from nextword.models.reader import Reader
from nextword.models.steps import Activated, Lookup, Mixed, Normalised, Product, Scores, Softmax, Step, Sum
from nextword.models.tap import Tap

# The same fields by the names that transformers gives those of all models.
ALIASES = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "hidden_size": "n_embd",
           "max_position_embeddings": "n_positions"}  # fmt: skip
# Fields with which transformers computes something else, and the values with which it does not.
UNSUPPORTED: Unsupported = {
    "add_cross_attention": ((False, None), "false: cross-attention is not supported"),
    "is_encoder_decoder": ((False, None), "false: encoders are not supported"),
    "is_causal": ((True, None), "true: attention to later tokens is not supported"),
    "sliding_window": ((None,), "null: attention within a window is not supported"),
    "attention_chunk_size": ((None,), "null: attention within chunks is not supported"),
    "pruned_heads": (({}, None), "empty: write the model anew without the pruned heads"),
    "transformers_weights": ((None, "model.safetensors"), "absent: the weights are read from model.safetensors"),
}

# Causal masks and counted positions, which older exports store.
CONSTANTS = re.compile(r"h\.\d+\.attn\.(masked_)?bias|(.*\.)?position_ids")
# Heads of transformers' other GPT-2 classes, and trl's: they read what ln_f gives, and no logit depends on them.
OTHER_HEADS = re.compile(r"(score|classifier|qa_outputs|multiple_choice_head\.summary|v_head\.summary)\.(weight|bias)")

# What its own names of activations stand for.
ROLES = {"token_embedding": "wte", "position_embedding": "wpe", "attention_norm": "ln_1", "mlp_norm": "ln_2",
         "last_norm": "ln_f"}  # fmt: skip


@dataclass(frozen=True)
class GPT2Config:
    """The fields of a GPT-2 `config.json` that change what is computed, with `transformers`' names and defaults.

    `reorder_and_upcast_attn` is another way to compute the same in fewer bits than float32; a `dtype` other than that
    says how numbers are stored, not how they are computed with here.
    """

    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    n_inner: int | None = None
    n_positions: int = 1024
    vocab_size: int = 50257
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True
    eos_token_id: int | tuple[int, ...] | None = 50256
    bos_token_id: int | None = 50256

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "GPT2Config":
        """Read a `config.json`. Raises ValueError that names the field that is wrong or not supported."""
        refuse(config, UNSUPPORTED)
        config = by_one_name(config, ALIASES)
        known = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        if isinstance(known.get("eos_token_id"), list):
            known["eos_token_id"] = tuple(known["eos_token_id"])
        return cls(**known)

    def __post_init__(self) -> None:
        check_positive(self, "n_layer", "n_head", "n_embd", "n_positions", "vocab_size")
        if self.n_inner is not None:
            check_positive(self, "n_inner")
        if self.n_embd % self.n_head:
            raise ValueError(f"config: n_embd must be a multiple of n_head, got {self.n_embd} and {self.n_head}")
        check_activation(self, "activation_function")
        check_fraction(self, "layer_norm_epsilon")
        check_flags(self, "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings")
        check_token_ids(self)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        return ends(self)

    @property
    def inner(self) -> int:
        """Width of the feed-forward layer."""
        return self.n_inner or 4 * self.n_embd

    def attention_scale(self, layer: int) -> float:
        """What scores are multiplied by: 1 / sqrt(head width), by the layer's number if so configured."""
        scale = (self.n_embd // self.n_head) ** -0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale


class Block:
    """The layers of one transformer block, and the names of its activations."""

    def __init__(self, read: Reader, config: GPT2Config, ops: ModuleType, layer: int) -> None:
        embd, inner, name = config.n_embd, config.inner, f"h.{layer}"
        self.ln_1 = read.norm(f"{name}.ln_1", embd, config.layer_norm_epsilon)
        self.qkv = Linear(ops, *read.linear(f"{name}.attn.c_attn", embd, 3 * embd))
        self.attention = Attention(ops, config.n_head, config.attention_scale(layer), f"{name}.attn")
        self.attn_out = Linear(ops, *read.linear(f"{name}.attn.c_proj", embd, embd))
        self.ln_2 = read.norm(f"{name}.ln_2", embd, config.layer_norm_epsilon)
        form = ACTIVATIONS[config.activation_function]
        self.fc = ActivatedLinear(ops, *read.linear(f"{name}.mlp.c_fc", embd, inner), form)
        self.mlp_out = Linear(ops, *read.linear(f"{name}.mlp.c_proj", inner, embd))
        self.name = name


class GPT2(Model):
    """The model: token ids in, logits out. `ops` does the arithmetic; `ops=nextword.reference` is the NumPy model.

    weights: named float32, float16 or bfloat16 (as uint16 bits) arrays in Hugging Face's names without `transformer.`;
        matrices may be PackedBytes, which are taken as they are. Where the configuration ties the head to the
        embedding, one of `wte.weight` and `lm_head.weight` is enough, and of both the head is its own if their numbers
        differ (`config` then says so), as in transformers. `lm_head.bias` is added to the logits.
    config: a GPT2Config or the content of a config.json, `weights.config` if None.
    dtype: how matrices are stored, one of `formats.DTYPES`; None: as they come packed, else float32. The rest is
        float32.
    kv_dtype: how its caches store keys and values, "float32", "bfloat16" or "int8"; see `ops.append`.
    Raises ValueError that names the tensor or the field if something is missing, misshapen or not finite, or if a
    tensor is stored that has no place in the graph. Warns (UserWarning) of heads of other classes, such as
    `score.weight` of a classifier, that no logit depends on.
    """

    Config = GPT2Config
    kind, title = "gpt2", "GPT-2"
    prefixes = ("transformer.", "model.")  # of its own classes and of trainers
    constants = CONSTANTS
    other_heads = OTHER_HEADS
    roles = ROLES
    config: GPT2Config

    def assemble(self, read: Reader) -> None:
        """Make the layers of named arrays, checked against the configuration."""
        c, ops = self.config, self.ops
        shared = read.shared("wte.weight", "lm_head.weight") if c.tie_word_embeddings else None
        if shared is None:
            self.config = c = replace(c, tie_word_embeddings=False)
        self.layers, self.width, self.vocabulary, self.window = c.n_layer, c.n_embd, c.vocab_size, c.n_positions
        self.heads = self.kv_heads = c.n_head
        self.head_width, self.widest = c.n_embd // c.n_head, 4 * c.n_embd + c.inner
        self.end_ids, self.begin_id, self.activation = c.end_ids, c.bos_token_id, c.activation_function

        tokens = read.matrix("wte.weight", c.vocab_size, c.n_embd, ops.pack_transposed, stored=shared)
        self.embed = Embedding(ops, tokens, read.vector("wpe.weight", c.n_positions, c.n_embd), ("wte", "wpe"))
        self.blocks = [Block(read, c, ops, layer) for layer in range(c.n_layer)]
        self.ln_f = self.norm = read.norm("ln_f", c.n_embd, c.layer_norm_epsilon)
        if shared is None:
            tokens = read.matrix("lm_head.weight", c.vocab_size, c.n_embd, ops.pack_transposed)
        bias = read.vector("lm_head.bias", c.vocab_size) if read.has("lm_head.bias") else None
        self.head = Linear(ops, tokens, bias)

    def begin(self, inputs: Inputs, tap: Tap) -> Floats:
        """Token and position."""
        return tap("embed", self.embed(inputs.ids, inputs.places, tap))                 # [tokens, embd]

    def block(self, layer: int, x: Floats, past: Past, tap: Tap) -> Floats:
        """Attention, then the feed-forward layer; each reads the stream and adds to it."""
        b = self.blocks[layer]
        x = tap(f"{b.name}.resid_pre", x)                                               # [tokens, embd]
        h = tap(f"{b.name}.ln_1", b.ln_1(x))                                            # [tokens, embd]
        h = b.attention(b.qkv(h), past, layer, tap)                                     # [tokens, embd]
        x = tap(f"{b.name}.resid_mid", b.attn_out.add_to(x, h, tap, f"{b.name}.attn.out"))
        h = tap(f"{b.name}.ln_2", b.ln_2(x))                                            # [tokens, embd]
        h = tap(f"{b.name}.mlp.act", b.fc.activated(h, tap, f"{b.name}.mlp.fc"))        # [tokens, inner]
        return tap(f"{b.name}.resid_post", b.mlp_out.add_to(x, h, tap, f"{b.name}.mlp.out"))

    def end(self, x: Floats, tap: Tap) -> Floats:
        """The last norm and the head."""
        return tap("logits", self.head(tap("ln_f", self.ln_f(x))))                      # [rows, vocabulary]

    def steps(self) -> dict[str, Step]:
        """What each activation is made of."""
        made: dict[str, Step] = {"wte": Lookup(self.embed.tokens, "token"), "embed": Sum(("wte", "wpe")),
                                 "wpe": Lookup(self.embed.positions, "place")}
        before = "embed"
        for b in self.blocks:
            h, attn = b.name, f"{b.name}.attn"
            made |= {f"{h}.resid_pre": Sum((before,)), f"{h}.ln_1": Normalised(f"{h}.resid_pre", b.ln_1)}
            made |= {f"{attn}.{x}": Product(f"{h}.ln_1", b.qkv, n * self.width) for n, x in enumerate("qkv")}
            made |= {f"{attn}.scores": Scores(f"{attn}.q", f"{attn}.k", b.attention.scale),
                     f"{attn}.weights": Softmax(f"{attn}.scores"),
                     f"{attn}.z": Mixed(f"{attn}.weights", f"{attn}.v"),
                     f"{attn}.out": Product(f"{attn}.z", b.attn_out),
                     f"{h}.resid_mid": Sum((f"{h}.resid_pre", f"{attn}.out")),
                     f"{h}.ln_2": Normalised(f"{h}.resid_mid", b.ln_2),
                     f"{h}.mlp.fc": Product(f"{h}.ln_2", b.fc),
                     f"{h}.mlp.act": Activated(f"{h}.mlp.fc", b.fc.form),
                     f"{h}.mlp.out": Product(f"{h}.mlp.act", b.mlp_out),
                     f"{h}.resid_post": Sum((f"{h}.resid_mid", f"{h}.mlp.out"))}
            before = f"{h}.resid_post"
        return made | {"ln_f": Normalised(before, self.norm), "logits": Product("ln_f", self.head, transposed=True)}

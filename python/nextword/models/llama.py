"""Decoders of the Llama kind: the graph, and what their files call its weights. Configurations are in llama_config."""

import re
from dataclasses import replace
from types import ModuleType
from typing import Any, ClassVar

from nextword.arithmetic.arrays import Floats
from nextword.models.attention import Attention
from nextword.models.config import ACTIVATIONS
from nextword.models.inputs import Inputs, Past
from nextword.models.layers import ActivatedLinear, Embedding, Linear
from nextword.models.llama_config import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from nextword.models.model import Model
from nextword.models.reader import Reader
from nextword.models.rotary import Turns
from nextword.models.steps import Gated, Lookup, Mixed, Normalised, Product, Rotated, Scores, Softmax, Step, Sum
from nextword.models.tap import Tap

# Frequencies of the rotary embedding, which older exports store.
CONSTANTS = re.compile(r"(.*\.)?rotary_emb\.inv_freq")
# Heads of transformers' other classes, and trl's: they read what the last norm gives, and no logit depends on them.
OTHER_HEADS = re.compile(r"(score|classifier|qa_outputs|v_head\.summary)\.(weight|bias)")
# What its own names of activations stand for.
ROLES = {"token_embedding": "embed", "attention_norm": "ln_1", "mlp_norm": "ln_2", "last_norm": "ln_f"}


class Block:
    """The layers of one transformer block, and the names of its activations."""

    def __init__(self, read: Reader, c: LlamaConfig, ops: ModuleType, turns: Turns, layer: int) -> None:
        width, inner, attn, mlp = c.hidden_size, c.intermediate_size, f"layers.{layer}.self_attn", f"layers.{layer}.mlp"
        heads, kv_heads, of_head = c.num_attention_heads, c.key_heads, c.head_width
        self.name, self.turns = f"h.{layer}", turns
        self.ln_1 = read.rms_norm(f"layers.{layer}.input_layernorm", width, c.rms_norm_eps)
        parts = {f"{attn}.q_proj": heads * of_head, f"{attn}.k_proj": kv_heads * of_head,
                 f"{attn}.v_proj": kv_heads * of_head}  # fmt: skip
        self.qkv = Linear(ops, *read.joined(f"{attn}.qkv_proj", parts, width, c.qkv_bias))
        norms = None
        if c.head_norms:
            q_norm, k_norm = (read.rms_norm(f"{attn}.{x}_norm", of_head, c.rms_norm_eps) for x in "qk")
            norms = q_norm, k_norm
        self.attention = Attention(ops, heads, of_head**-0.5, f"{self.name}.attn", kv_heads, turns, norms,
                                   c.window_of(layer))
        self.attn_out = Linear(ops, *read.projection(f"{attn}.o_proj", heads * of_head, width, c.out_bias))
        self.ln_2 = read.rms_norm(f"layers.{layer}.post_attention_layernorm", width, c.rms_norm_eps)
        form = ACTIVATIONS[c.hidden_act]
        self.gate = ActivatedLinear(ops, *read.projection(f"{mlp}.gate_proj", width, inner, c.mlp_bias), form)
        self.up = Linear(ops, *read.projection(f"{mlp}.up_proj", width, inner, c.mlp_bias))
        self.mlp_out = Linear(ops, *read.projection(f"{mlp}.down_proj", inner, width, c.mlp_bias))


class Llama(Model):
    """The model: token ids in, logits out. `ops` does the arithmetic; `ops=nextword.reference` is the NumPy model.

    weights: named float32, float16 or bfloat16 (as uint16 bits) arrays in Hugging Face's names without `model.`;
        matrices may be PackedBytes, which are taken as they are. Those of queries, keys and values become one,
        `self_attn.qkv_proj`, by which name a folder may hold it, too. Where the configuration ties the head to the
        embedding, one of `embed_tokens.weight` and `lm_head.weight` is enough, and of both the head is its own if their
        numbers differ (`config` then says so), as in transformers.
    config: a LlamaConfig or the content of a config.json, `weights.config` if None.
    dtype, kv_dtype: how matrices and caches are stored, as of a GPT2.
    Raises ValueError that names the tensor or the field if something is missing, misshapen or not finite, or if a
    tensor is stored that has no place in the graph. Warns (UserWarning) of heads of other classes.
    """

    Config: ClassVar[Any] = LlamaConfig
    kind, title = "llama", "Llama"
    prefixes = ("model.",)
    constants = CONSTANTS
    other_heads = OTHER_HEADS
    roles = ROLES
    config: LlamaConfig

    def assemble(self, read: Reader) -> None:
        """Make the layers of named arrays, checked against the configuration."""
        c, ops = self.config, self.ops
        shared = read.shared("embed_tokens.weight", "lm_head.weight") if c.tie_word_embeddings else None
        if shared is None:
            self.config = c = replace(c, tie_word_embeddings=False)
        self.layers, self.width, self.vocabulary = c.num_hidden_layers, c.hidden_size, c.vocab_size
        self.window, self.heads, self.kv_heads = c.max_position_embeddings, c.num_attention_heads, c.key_heads
        self.head_width = c.head_width
        turning = (self.heads + self.kv_heads) * self.head_width
        # The stream and its norm; queries, keys, values, what they are normalised and turned, and what heads give; or a
        # gate and what it lets through.
        self.widest = 2 * self.width + max((3 + c.head_norms) * turning, 2 * c.intermediate_size)
        self.end_ids, self.begin_id, self.activation = c.end_ids, c.bos_token_id, c.hidden_act

        self.turns = turns = Turns(c.rope, self.head_width, c.max_position_embeddings)
        tokens = read.matrix("embed_tokens.weight", c.vocab_size, self.width, ops.pack_transposed, stored=shared)
        self.embed = Embedding(ops, tokens, None, ("embed", ""))
        self.blocks = [Block(read, c, ops, turns, layer) for layer in range(self.layers)]
        self.norm = read.rms_norm("norm", self.width, c.rms_norm_eps)
        if shared is None:
            tokens = read.matrix("lm_head.weight", c.vocab_size, self.width, ops.pack_transposed)
        self.head = Linear(ops, tokens, None)

    def begin(self, inputs: Inputs, tap: Tap) -> Floats:
        """The token."""
        return self.embed(inputs.ids, inputs.places, tap)                               # [tokens, width]

    def block(self, layer: int, x: Floats, past: Past, tap: Tap) -> Floats:
        """Attention, then the gated feed-forward layer; each reads the stream and adds to it."""
        b = self.blocks[layer]
        x = tap(f"{b.name}.resid_pre", x)                                               # [tokens, width]
        h = tap(f"{b.name}.ln_1", b.ln_1(x))                                            # [tokens, width]
        h = b.attention(b.qkv(h), past, layer, tap)                                     # [tokens, heads * head_width]
        x = tap(f"{b.name}.resid_mid", b.attn_out.add_to(x, h, tap, f"{b.name}.attn.out"))
        h = tap(f"{b.name}.ln_2", b.ln_2(x))                                            # [tokens, width]
        gate = b.gate.activated(h, tap, f"{b.name}.mlp.gate")                           # [tokens, inner]
        h = tap(f"{b.name}.mlp.act", b.up.times(gate, h, tap, f"{b.name}.mlp.up"))      # [tokens, inner]
        return tap(f"{b.name}.resid_post", b.mlp_out.add_to(x, h, tap, f"{b.name}.mlp.out"))

    def end(self, x: Floats, tap: Tap) -> Floats:
        """The last norm and the head."""
        return tap("logits", self.head(tap("ln_f", self.norm(x))))                      # [rows, vocabulary]

    def steps(self) -> dict[str, Step]:
        """What each activation is made of."""
        made: dict[str, Step] = {"embed": Lookup(self.embed.tokens, "token")}
        before = "embed"
        for b in self.blocks:
            h, a, attn = b.name, b.attention, f"{b.name}.attn"
            made |= {f"{h}.resid_pre": Sum((before,)), f"{h}.ln_1": Normalised(f"{h}.resid_pre", b.ln_1)}
            first = 0
            for x, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
                made[f"{attn}.{x}"] = Product(f"{h}.ln_1", b.qkv, first, transposed=True)
                first += heads * self.head_width
            for x, norm in (("q", a.q_norm), ("k", a.k_norm)):
                turned = f"{attn}.{x}"
                if norm is not None:
                    turned = f"{attn}.{x}_norm"
                    made[turned] = Normalised(f"{attn}.{x}", norm)
                made[f"{attn}.{x}_rot"] = Rotated(turned, b.turns)
            made |= {f"{attn}.scores": Scores(f"{attn}.q_rot", f"{attn}.k_rot", a.scale, a.group, a.window),
                     f"{attn}.weights": Softmax(f"{attn}.scores", a.window),
                     f"{attn}.z": Mixed(f"{attn}.weights", f"{attn}.v", a.group, a.window),
                     f"{attn}.out": Product(f"{attn}.z", b.attn_out, transposed=True),
                     f"{h}.resid_mid": Sum((f"{h}.resid_pre", f"{attn}.out")),
                     f"{h}.ln_2": Normalised(f"{h}.resid_mid", b.ln_2),
                     f"{h}.mlp.gate": Product(f"{h}.ln_2", b.gate, transposed=True),
                     f"{h}.mlp.up": Product(f"{h}.ln_2", b.up, transposed=True),
                     f"{h}.mlp.act": Gated(f"{h}.mlp.gate", b.gate.form, f"{h}.mlp.up"),
                     f"{h}.mlp.out": Product(f"{h}.mlp.act", b.mlp_out, transposed=True),
                     f"{h}.resid_post": Sum((f"{h}.resid_mid", f"{h}.mlp.out"))}
            before = f"{h}.resid_post"
        return made | {"ln_f": Normalised(before, self.norm), "logits": Product("ln_f", self.head, transposed=True)}


class Mistral(Llama):
    """The same with what Mistral's configuration says."""

    Config = MistralConfig
    kind, title = "mistral", "Mistral"


class Qwen2(Llama):
    """The same with what Qwen2's configuration says."""

    Config = Qwen2Config
    kind, title = "qwen2", "Qwen2"


class Qwen3(Llama):
    """The same with what Qwen3's configuration says."""

    Config = Qwen3Config
    kind, title = "qwen3", "Qwen3"

"""ModernBERT (Warner et al. 2024): norms before each part, rotary positions, gated layers, and windows in most layers.
The configuration is in modernbert_config."""

import re
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats, Ints
from nextword.models.config import ACTIVATIONS
from nextword.models.encoder import Encoder, Texts
from nextword.models.heads import Classes, Heads, MaskedWords, Tags
from nextword.models.layers import ActivatedLinear, LayerNorm, Linear
from nextword.models.modernbert_config import ModernBertConfig
from nextword.models.reader import Reader
from nextword.models.rotary import Turns
from nextword.models.tap import NOBODY, Tap
from nextword.models.within import Within

__all__ = ["ModernBert"]


class Block:
    """The layers of one transformer block."""

    def __init__(self, read: Reader, c: ModernBertConfig, ops: ModuleType, layer: int, turns: Turns) -> None:
        width, inner, stored = c.hidden_size, c.intermediate_size, f"layers.{layer}"
        self.ln_1 = _norm(read, c, f"{stored}.attn_norm") if layer else None
        self.qkv = Linear(ops, *read.projection(f"{stored}.attn.Wqkv", width, 3 * width, c.attention_bias))
        window = c.local_attention // 2 if c.sliding[layer] else 0
        self.attention = Within(ops, c.heads, (width // c.heads) ** -0.5, window, turns=turns)
        self.attn_out = Linear(ops, *read.projection(f"{stored}.attn.Wo", width, width, c.attention_bias))
        self.ln_2 = _norm(read, c, f"{stored}.mlp_norm")
        self.fc = Linear(ops, *read.projection(f"{stored}.mlp.Wi", width, 2 * inner, c.mlp_bias))
        self.mlp_out = Linear(ops, *read.projection(f"{stored}.mlp.Wo", inner, width, c.mlp_bias))


class NormedClasses(Classes):
    """Logits of the classes of a text, by its first token or the mean of all: a layer, a norm, the classes."""

    def __init__(self, ops: ModuleType, dense: ActivatedLinear, norm: LayerNorm, out: Linear, how: str) -> None:
        super().__init__(ops, dense, out)
        self.before, self.norm, self.how = dense, norm, how

    def __call__(self, hidden: Floats, fresh: Ints, tap: Tap = NOBODY) -> Floats:
        """hidden: [tokens, width] of texts one after the other. Returns float32 [texts, classes]."""
        h = self.before.activated(self.ops.pool(hidden, fresh, self.how), tap, "head.fc")
        return tap("logits", self.out(tap("pooled", self.norm(h))))


class NormedTags(Tags):
    """Logits of the classes of each token: a layer, a norm, the classes."""

    def __init__(self, dense: ActivatedLinear, norm: LayerNorm, out: Linear) -> None:
        super().__init__(out)
        self.dense, self.norm = dense, norm

    def __call__(self, hidden: Floats, tap: Tap = NOBODY) -> Floats:
        """hidden: [tokens, width]. Returns float32 [tokens, classes]."""
        return tap("logits", self.out(self.norm(self.dense.activated(hidden, tap, "head.fc"))))


class ModernBert(Encoder):
    """ModernBERT's encoder.

    weights, config, dtype: as of a PostNorm; the same errors."""

    Config = ModernBertConfig
    kind, title = "modernbert", "ModernBERT"
    prefixes = ("model.",)
    constants = re.compile(r"(.*\.)?(rotary_emb\..*inv_freq)")
    other_heads = re.compile(r"(head\.(dense|norm)|classifier|decoder)\.(weight|bias)")

    def assemble(self, read: Reader) -> None:
        """Make the layers of named arrays, checked against the configuration."""
        c, ops = self.config, self.ops
        self.layers, self.width, self.vocabulary = c.num_hidden_layers, c.hidden_size, c.vocab_size
        self.window, self.types = c.max_position_embeddings, 0
        self.heads, self.head_width = c.heads, c.hidden_size // c.heads
        self.widest, self.activation = 6 * c.hidden_size + 4 * c.intermediate_size, c.hidden_act
        embedding = "embeddings.tok_embeddings.weight"
        shared = read.shared(embedding, "decoder.weight") if c.tie_word_embeddings else None
        self.tokens = read.matrix(embedding, c.vocab_size, self.width, ops.pack_transposed, shared or embedding)
        self.embed_norm = _norm(read, c, "embeddings.norm")
        self.turns = [Turns(rope, self.head_width, self.window) for rope in (c.full_rope, c.sliding_rope)]
        self.blocks = [Block(read, c, ops, n, self.turns[c.sliding[n]]) for n in range(self.layers)]
        self.form = ACTIVATIONS[c.hidden_act]  # the operation of this name
        self.last_norm = _norm(read, c, "final_norm")
        self.outputs = self._heads(read, shared is not None)

    def _texts(self, batch: Any, types: Any) -> Texts:
        texts = super()._texts(batch, types)
        for one in self.turns:
            one.reach(int(texts.fresh.max(initial=1)))
        return texts

    def graph(self, texts: Texts, tap: Tap) -> Floats:
        """The last hidden states [tokens, width]."""
        x = tap("tokens", self.ops.embedding(texts.ids, None, self.tokens, None))       # [tokens, width]
        x = tap("embed", self.embed_norm(x))                                            # [tokens, width]
        for layer in range(self.layers):
            x = self.block(layer, x, texts, tap)
        return tap("hidden", self.last_norm(x))                                         # [tokens, width]

    def block(self, layer: int, x: Floats, texts: Texts, tap: Tap) -> Floats:
        """Attention, then the gated feed-forward layer; each reads the stream, normalised, and adds to it."""
        b, name, inner = self.blocks[layer], f"h.{layer}", self.config.intermediate_size
        x = tap(f"{name}.resid_pre", x)                                                 # [tokens, width]
        h = x if b.ln_1 is None else tap(f"{name}.ln_1", b.ln_1(x))                     # [tokens, width]
        h = b.attention(b.qkv(h), texts.fresh, tap, f"{name}.attn", texts.places)       # [tokens, width]
        x = tap(f"{name}.resid_mid", b.attn_out.add_to(x, h, tap, f"{name}.attn.out"))  # [tokens, width]
        h = b.fc(tap(f"{name}.ln_2", b.ln_2(x)))                                        # [tokens, 2 * inner]
        gate, up = tap(f"{name}.mlp.gate", h[:, :inner]), tap(f"{name}.mlp.up", h[:, inner:])
        h = tap(f"{name}.mlp.act", getattr(self.ops, self.form)(gate) * up)             # [tokens, inner]
        return tap(f"{name}.resid_post", b.mlp_out.add_to(x, h, tap, f"{name}.mlp.out"))

    def _heads(self, read: Reader, tied: bool) -> Heads:
        """The heads that are stored, of those that the configuration's architecture may have."""
        c, ops, found = self.config, self.ops, Heads()
        masked = c.head == "masked" or (c.head is None and read.has("decoder.bias"))
        if not read.has("head.dense.weight") or not (masked or c.head in ("classes", "tags")):
            return found
        weights = read.projection("head.dense", self.width, self.width, c.classifier_bias)
        dense = ActivatedLinear(ops, *weights, ACTIVATIONS[c.classifier_activation])
        norm = _norm(read, c, "head.norm")
        if masked:
            matrix = self.tokens if tied else read.matrix("decoder.weight", c.vocab_size, self.width,
                                                          ops.pack_transposed)
            bias = read.vector("decoder.bias", c.vocab_size) if c.decoder_bias else None
            found.masked = MaskedWords(dense, norm, Linear(ops, matrix, bias))
            return found
        out = Linear(ops, *read.projection("classifier", self.width, len(c.labels), True))
        if c.head == "tags":
            found.tags = NormedTags(dense, norm, out)
        else:
            found.classes = NormedClasses(ops, dense, norm, out, "first" if c.classifier_pooling == "cls" else "mean")
        return found


def _norm(read: Reader, c: ModernBertConfig, name: str) -> LayerNorm:
    if c.norm_bias:
        return read.norm(name, c.hidden_size, c.layer_norm_eps)
    none: NDArray[np.float32] = np.zeros(c.hidden_size, np.float32)
    return LayerNorm(read.ops, read.vector(f"{name}.weight", c.hidden_size), none, c.layer_norm_eps)

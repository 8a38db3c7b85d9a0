"""An architecture that nobody uses, of the same operations and layers as GPT-2: norms behind the sums, a gated
feed-forward, heads that are wider together than the model, no positions, no context window, a head of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nextword.models.attention import Attention
from nextword.models.inputs import Inputs, Past
from nextword.models.layers import ActivatedLinear, Embedding, Linear
from nextword.models.model import Model
from nextword.models.reader import Reader
from nextword.models.trace import Tap


@dataclass(frozen=True)
class MadeUpConfig:
    """Its sizes, and the activation of its gate."""

    layers: int = 2
    heads: int = 3
    head_width: int = 8
    width: int = 20
    inner: int = 33
    vocabulary: int = 50
    form: str = "silu"

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> MadeUpConfig:
        return cls(**config)


class Block:
    """The layers of one block."""
    def __init__(self, read: Reader, c: MadeUpConfig, ops: Any, name: str) -> None:
        self.name, all_heads = name, c.heads * c.head_width
        self.qkv = Linear(ops, *read.linear(f"{name}.qkv", c.width, 3 * all_heads))
        self.attention = Attention(ops, c.heads, c.head_width**-0.5, f"{name}.attn")
        self.out = Linear(ops, *read.linear(f"{name}.out", all_heads, c.width))
        self.ln_1, self.ln_2 = (read.norm(f"{name}.{one}", c.width, 1e-6) for one in ("ln_1", "ln_2"))
        self.gate = ActivatedLinear(ops, *read.linear(f"{name}.gate", c.width, c.inner), c.form)
        self.up = Linear(ops, read.matrix(f"{name}.up.weight", c.width, c.inner, ops.pack), None)
        self.down = Linear(ops, *read.linear(f"{name}.down", c.inner, c.width))


class MadeUp(Model):
    """The model."""
    Config, kind, title = MadeUpConfig, "made_up", "made-up model"
    config: MadeUpConfig

    def assemble(self, read: Reader) -> None:
        c, ops = self.config, self.ops
        self.layers, self.width, self.vocabulary, self.window = c.layers, c.width, c.vocabulary, None
        self.heads = self.kv_heads = c.heads
        self.head_width, self.widest = c.head_width, 3 * c.width + 2 * c.inner
        self.end_ids, self.begin_id = (), None
        tokens = read.matrix("tokens", c.vocabulary, c.width, ops.pack_transposed)
        self.embed = Embedding(ops, tokens, None, ("tokens", "places"))
        self.blocks = [Block(read, c, ops, f"h.{layer}") for layer in range(c.layers)]
        self.norm = read.norm("ln_f", c.width, 1e-6)
        self.head = Linear(ops, read.matrix("head", c.width, c.vocabulary, ops.pack), None)

    def begin(self, inputs: Inputs, tap: Tap) -> Any:
        return tap("embed", self.embed(inputs.ids, inputs.places, tap))

    def block(self, layer: int, x: Any, past: Past, tap: Tap) -> Any:
        b = self.blocks[layer]
        x = tap(f"{b.name}.resid_pre", x)
        h = b.attention(b.qkv(x), past, layer, tap)
        x = tap(f"{b.name}.resid_mid", b.ln_1(b.out.add_to(x, h, tap, f"{b.name}.attn.out")))
        h = tap(f"{b.name}.mlp.act", b.gate.activated(x, tap, f"{b.name}.mlp.fc") * b.up(x))
        return tap(f"{b.name}.resid_post", b.ln_2(x + tap(f"{b.name}.mlp.out", b.down(h))))

    def end(self, x: Any, tap: Tap) -> Any:
        return tap("logits", self.head(tap("ln_f", self.norm(x))))

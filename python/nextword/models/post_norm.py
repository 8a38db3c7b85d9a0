"""The graph of BERT and its kin: norms stand behind the sums (Devlin et al. 2018). Whoever has another configuration,
other names or a part more is a class of it, in a file of its own."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from nextword.arithmetic.arrays import Floats
from nextword.models.config import ACTIVATIONS
from nextword.models.encoder import Encoder, Texts
from nextword.models.heads import Classes, Heads, MaskedWords, Pooler, Tags
from nextword.models.layers import ActivatedLinear, Linear
from nextword.models.reader import Reader
from nextword.models.steps import Activated, Lookup, Normalised, Product, Step, Sum
from nextword.models.tap import Tap
from nextword.models.within import Within


@dataclass(frozen=True)
class Names:
    """What files call the parts of such an encoder; None for those that it does not have."""

    tokens: str
    positions: str
    types: str | None
    norm: str  # of the embeddings
    project: str | None  # from the embeddings' width to that of the layers
    layer: str  # a layer of this number; what follows stands behind it and a dot
    q: str
    k: str
    v: str
    qkv: str  # the three as one, in a folder of packed weights
    out: str
    norm_1: str
    fc: str
    mlp_out: str
    norm_2: str
    pooler: str | None
    # The head of masked words, the first of its matrices and its activation, if not the configuration's.
    masked: tuple[str, str, str, str]  # dense, norm, words, bias of the words
    masked_act: str | None
    # The heads of classes: of a text, whose first layer may be the pooler, and its activation; of tokens.
    classes: tuple[str | None, str]
    classes_act: str
    tags: str = "classifier"


class Block:
    """The layers of one transformer block."""

    def __init__(self, read: Reader, c: Any, ops: ModuleType, names: Names, stored: str) -> None:
        width, inner = c.hidden_size, c.intermediate_size
        parts = {f"{stored}.{one}": width for one in (names.q, names.k, names.v)}
        self.qkv = Linear(ops, *read.joined(f"{stored}.{names.qkv}", parts, width, True))
        self.attn_out = Linear(ops, *read.projection(f"{stored}.{names.out}", width, width, True))
        self.attention_norm = read.norm(f"{stored}.{names.norm_1}", width, c.layer_norm_eps)
        form = ACTIVATIONS[c.hidden_act]
        self.fc = ActivatedLinear(ops, *read.projection(f"{stored}.{names.fc}", width, inner, True), form)
        self.mlp_out = Linear(ops, *read.projection(f"{stored}.{names.mlp_out}", inner, width, True))
        self.mlp_norm = read.norm(f"{stored}.{names.norm_2}", width, c.layer_norm_eps)


class PostNorm(Encoder):
    """An encoder of BERT's kind. `ops` does the arithmetic; `ops=nextword.reference` is the NumPy model.

    weights: named float32, float16 or bfloat16 (as uint16 bits) arrays in Hugging Face's names without the model's own
        prefix, such as `bert.`; matrices may be PackedBytes, which are taken as they are. Those of queries, keys and
        values become one. Where the configuration ties the words of the head to the embedding, one of both is enough.
    config: a Config or the content of a config.json, `weights.config` if None. dtype: as of a GPT2.
    Raises ValueError that names the tensor or the field if something is missing, misshapen or not finite, or if a
    tensor is stored that has no place in the graph. Warns (UserWarning) of heads of other classes.
    """

    names: ClassVar[Names]

    def assemble(self, read: Reader) -> None:
        """Make the layers of named arrays, checked against the configuration."""
        c, ops, names = self.config, self.ops, self.names
        self.layers, self.width, self.vocabulary = c.num_hidden_layers, c.hidden_size, c.vocab_size
        self.window, self.types = c.max_position_embeddings - c.first_place, c.type_vocab_size if names.types else 0
        self.heads, self.head_width = c.heads, c.hidden_size // c.heads
        self.widest, self.activation = 4 * c.hidden_size + c.intermediate_size, c.hidden_act

        words = names.masked[2]
        shared = read.shared(f"{names.tokens}.weight", f"{words}.weight") if c.tie_word_embeddings else None
        stored = shared or f"{names.tokens}.weight"
        self.tokens = read.matrix(f"{names.tokens}.weight", c.vocab_size, c.embedding, ops.pack_transposed, stored)
        self.positions = read.vector(f"{names.positions}.weight", c.max_position_embeddings, c.embedding)
        self.type_rows = read.vector(f"{names.types}.weight", self.types, c.embedding) if self.types else None
        self.embed_norm = read.norm(names.norm, c.embedding, c.layer_norm_eps)
        self.project = None
        if names.project is not None and self.projected:
            self.project = Linear(ops, *read.projection(names.project, c.embedding, c.hidden_size, True))
        self.attention = Within(ops, c.heads, self.head_width**-0.5, bias=self.assemble_bias(read))
        self.blocks = self.assemble_blocks(read)
        self.outputs = self._heads(read, shared is not None)

    @property
    def projected(self) -> bool:
        """Whether a layer stands between embeddings and blocks."""
        return bool(self.config.embedding != self.config.hidden_size)

    def assemble_bias(self, read: Reader) -> Floats | None:
        """What is added to scores by distance, float32 [heads, 2 * reach + 1]; None: nothing."""
        return None

    def assemble_blocks(self, read: Reader) -> list[Block]:
        """The layers in their order."""
        names, c = self.names, self.config
        return [Block(read, c, self.ops, names, names.layer.format(n)) for n in range(self.layers)]

    def graph(self, texts: Texts, tap: Tap) -> Floats:
        """The last hidden states [tokens, width]."""
        x = self.begin(texts, tap)
        for layer in range(self.layers):
            x = self.block(layer, x, texts, tap)
        return tap("hidden", x)                                                         # [tokens, width]

    def begin(self, texts: Texts, tap: Tap) -> Floats:
        """Token, position and type, normalised."""
        x = self._summed(texts, tap)                                                    # [tokens, embedding]
        x = tap("embed_norm", self.embed_norm(x))                                       # [tokens, embedding]
        return tap("embed", x if self.project is None else self.project(x))             # [tokens, width]

    def _summed(self, texts: Texts, tap: Tap) -> Floats:
        ops, positions = self.ops, self.positions[self.config.first_place :]
        x: Floats
        if tap.wants("tokens") or tap.wants("places"):
            x = tap("tokens", ops.embedding(texts.ids, None, self.tokens, None))
            x = x + tap("places", positions[texts.places])
        else:
            x = ops.embedding(texts.ids, texts.places, self.tokens, positions)
        if self.type_rows is None:
            return x
        if tap.wants("types"):
            return x + tap("types", self.type_rows[texts.types])
        x = ops.add_rows(x, texts.types, self.type_rows)
        return x

    def block(self, layer: int, x: Floats, texts: Texts, tap: Tap) -> Floats:
        """Attention, then the feed-forward layer; each adds to the stream, which is normalised behind it."""
        b, name = self.blocks[layer], f"h.{layer}"
        x = tap(f"{name}.resid_pre", x)                                                 # [tokens, width]
        h = self.attention(b.qkv(x), texts.fresh, tap, f"{name}.attn")                  # [tokens, width]
        x = tap(f"{name}.attn.sum", b.attn_out.add_to(x, h, tap, f"{name}.attn.out"))   # [tokens, width]
        x = tap(f"{name}.resid_mid", b.attention_norm(x))                                         # [tokens, width]
        h = tap(f"{name}.mlp.act", b.fc.activated(x, tap, f"{name}.mlp.fc"))            # [tokens, inner]
        x = tap(f"{name}.mlp.sum", b.mlp_out.add_to(x, h, tap, f"{name}.mlp.out"))      # [tokens, width]
        return tap(f"{name}.resid_post", b.mlp_norm(x))                                     # [tokens, width]

    def steps(self) -> dict[str, Step]:
        """What each activation is made of, but for attention, whose keys stand to both sides."""
        parts = ("tokens", "places", "types") if self.types else ("tokens", "places")
        made: dict[str, Step] = {"tokens": Lookup(self.tokens, "token")}
        made["places"] = Lookup(self.positions[self.config.first_place :], "place")
        made["embed_sum"] = Sum(parts)
        made["embed_norm"] = Normalised("embed_sum", self.embed_norm)
        made["embed"] = Sum(("embed_norm",)) if self.project is None else Product("embed_norm", self.project,
                                                                                  transposed=True)
        before = "embed"
        for n, b in enumerate(self.blocks):
            h, attn = f"h.{n}", f"h.{n}.attn"
            made |= {f"{attn}.{x}": Product(f"{h}.resid_pre", b.qkv, at * self.width, transposed=True)
                     for at, x in enumerate("qkv")}
            made |= {f"{h}.resid_pre": Sum((before,)), f"{attn}.out": Product(f"{attn}.z", b.attn_out, transposed=True),
                     f"{attn}.sum": Sum((f"{h}.resid_pre", f"{attn}.out")),
                     f"{h}.resid_mid": Normalised(f"{attn}.sum", b.attention_norm),
                     f"{h}.mlp.fc": Product(f"{h}.resid_mid", b.fc, transposed=True),
                     f"{h}.mlp.act": Activated(f"{h}.mlp.fc", b.fc.form),
                     f"{h}.mlp.out": Product(f"{h}.mlp.act", b.mlp_out, transposed=True),
                     f"{h}.mlp.sum": Sum((f"{h}.resid_mid", f"{h}.mlp.out")),
                     f"{h}.resid_post": Normalised(f"{h}.mlp.sum", b.mlp_norm)}
            before = f"{h}.resid_post"
        return made | {"hidden": Sum((before,))}

    def _heads(self, read: Reader, tied: bool) -> Heads:
        """The heads that are stored, of those that the configuration's architecture may have."""
        c, ops, names, found = self.config, self.ops, self.names, Heads()
        if names.pooler is not None and read.has(f"{names.pooler}.weight"):
            weights = read.projection(names.pooler, c.hidden_size, c.hidden_size, True)
            found.pooler = Pooler(ops, ActivatedLinear(ops, *weights, "tanh"))
        dense, norm, words, bias = names.masked
        if read.has(f"{dense}.weight"):
            form = ACTIVATIONS[names.masked_act or c.hidden_act]
            layer = ActivatedLinear(ops, *read.projection(dense, c.hidden_size, c.embedding, True), form)
            matrix = self.tokens if tied else read.matrix(f"{words}.weight", c.vocab_size, c.embedding,
                                                          ops.pack_transposed)
            both = (bias, f"{words}.bias") if tied else (f"{words}.bias", bias)
            known = [one for one in dict.fromkeys(both) if read.has(one)]
            read.skip(*known[1:])  # which transformers does not add
            found.masked = MaskedWords(layer, read.norm(norm, c.embedding, c.layer_norm_eps),
                                       Linear(ops, matrix, read.vector(known[0] if known else bias, c.vocab_size)))
        head = self._head_of(read)
        if head == "tags":
            found.tags = Tags(Linear(ops, *read.projection(names.tags, c.hidden_size, len(c.labels), True)))
        elif head == "classes":
            first, out = names.classes
            layer_1 = found.pooler.dense if found.pooler is not None and first == names.pooler else None
            if first is not None and layer_1 is None:
                weights = read.projection(first, c.hidden_size, c.hidden_size, True)
                layer_1 = ActivatedLinear(ops, *weights, ACTIVATIONS[names.classes_act])
            weights = read.projection(out, c.hidden_size, len(c.labels), True)
            found.classes = Classes(ops, layer_1, Linear(ops, *weights))
        return found

    def _head_of(self, read: Reader) -> str:
        """Which head a stored classifier is: "classes", "tags", or "" if there is none."""
        first, out = self.names.classes
        if self.config.head is not None:
            return self.config.head if self.config.head in ("classes", "tags") else ""
        if read.has(f"{out}.weight") and (first is None or read.has(f"{first}.weight")):
            return "classes"
        return "tags" if read.has(f"{self.names.tags}.weight") else ""

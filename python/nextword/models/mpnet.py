"""MPNet (Song et al. 2020): configuration, what its files call its weights, and its bias by distance. Positions begin
at 2."""

import re
from dataclasses import dataclass
from math import log
from typing import ClassVar

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.models.bert_config import BertConfig
from nextword.models.config import Unsupported
from nextword.models.post_norm import Names, PostNorm
from nextword.models.reader import Reader

__all__ = ["MPNet", "MPNetConfig", "buckets"]

FAR = 128  # tokens, from which on all distances are one
BUCKETS = 32  # of distances


@dataclass(frozen=True)
class MPNetConfig(BertConfig):
    """The fields of an MPNet `config.json` that change what is computed, with `transformers`' names and defaults."""

    vocab_size: int = 30527
    pad_token_id: int | None = 1
    type_vocab_size: int = 0

    offset: ClassVar[bool] = True
    unsupported: ClassVar[Unsupported] = {"relative_attention_num_buckets": (
        (BUCKETS, None), f"{BUCKETS}: transformers computes with these alone")}  # fmt: skip

    @property
    def first_place(self) -> int:
        """It is fixed."""
        return 2


class MPNet(PostNorm):
    """MPNet's encoder: the same bias of scores in all layers, by the distance of key and query."""

    Config = MPNetConfig
    kind, title = "mpnet", "MPNet"
    prefixes = ("mpnet.",)
    constants = re.compile(r"(.*\.)?position_ids")
    other_heads = re.compile(r"(classifier|qa_outputs)\.(weight|bias)")
    names = Names(
        tokens="embeddings.word_embeddings", positions="embeddings.position_embeddings", types=None,
        norm="embeddings.LayerNorm", project=None, layer="encoder.layer.{}", q="attention.attn.q",
        k="attention.attn.k", v="attention.attn.v", qkv="attention.attn.qkv", out="attention.attn.o",
        norm_1="attention.LayerNorm", fc="intermediate.dense", mlp_out="output.dense", norm_2="output.LayerNorm",
        pooler="pooler.dense", masked=("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
        masked_act="gelu", classes=("classifier.dense", "classifier.out_proj"), classes_act="tanh")  # fmt: skip

    def assemble_bias(self, read: Reader) -> Floats:
        """Of each head at the distances -FAR .. FAR, from the numbers of their buckets."""
        self.by_bucket = read.vector("encoder.relative_attention_bias.weight", BUCKETS, self.heads)
        return np.ascontiguousarray(self.by_bucket[buckets(np.arange(-FAR, FAR + 1))].T)


def buckets(distances: Ints, count: int = BUCKETS) -> Ints:
    """Numbers of the buckets of distances, key - query: each of the near ones has its own, further ones share one by
    their logarithm, in float32 as transformers does it; those to the right are the second half.

    >>> buckets(np.array([-200, -9, -8, -7, 0, 7, 8, 200])).tolist()
    [15, 8, 8, 7, 0, 23, 24, 31]
    """
    half = count // 2
    near = half // 2
    far = np.abs(distances)
    with np.errstate(divide="ignore"):
        ratio = np.log(far.astype(np.float32) / np.float32(near)) / np.float32(log(FAR / near))
    shared = near + (np.where(far < near, 0, ratio) * np.float32(half - near)).astype(np.int64)
    found: Ints = np.where(distances > 0, half, 0) + np.where(far < near, far, np.minimum(shared, half - 1))
    return found

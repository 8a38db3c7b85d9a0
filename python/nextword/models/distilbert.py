"""DistilBERT (Sanh et al. 2019): configuration, and what its files call its weights. It has no types of tokens."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nextword.models.bert_config import BertConfig
from nextword.models.config import Unsupported
from nextword.models.post_norm import Names, PostNorm

__all__ = ["DistilBert", "DistilBertConfig"]


@dataclass(frozen=True)
class DistilBertConfig(BertConfig):
    """The fields of a DistilBERT `config.json` that change what is computed. Its own names for these are n_layers,
    n_heads, dim, hidden_dim and activation; the epsilon of its norms is fixed."""

    num_hidden_layers: int = 6

    aliases: ClassVar[Mapping[str, str]] = {
        "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads", "dim": "hidden_size",
        "hidden_dim": "intermediate_size", "activation": "hidden_act"}  # fmt: skip
    unsupported: ClassVar[Unsupported] = {"layer_norm_eps": ((1e-12, None), "1e-12, as it is fixed")}


class DistilBert(PostNorm):
    """DistilBERT's encoder."""

    Config = DistilBertConfig
    kind, title = "distilbert", "DistilBERT"
    prefixes = ("distilbert.",)
    constants = re.compile(r"(.*\.)?position_ids")
    other_heads = re.compile(r"(pre_classifier|classifier|qa_outputs)\.(weight|bias)")
    names = Names(
        tokens="embeddings.word_embeddings", positions="embeddings.position_embeddings", types=None,
        norm="embeddings.LayerNorm", project=None, layer="transformer.layer.{}", q="attention.q_lin",
        k="attention.k_lin", v="attention.v_lin", qkv="attention.qkv_lin", out="attention.out_lin",
        norm_1="sa_layer_norm", fc="ffn.lin1", mlp_out="ffn.lin2", norm_2="output_layer_norm", pooler=None,
        masked=("vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias"), masked_act=None,
        classes=("pre_classifier", "classifier"), classes_act="relu")  # fmt: skip

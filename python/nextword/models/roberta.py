"""RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2020): configurations, and what files call the weights.
Positions begin behind the number of the padding token, and there is one type of tokens."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from nextword.models.bert_config import BertConfig
from nextword.models.post_norm import Names, PostNorm

__all__ = ["Roberta", "RobertaConfig", "XLMRoberta", "XLMRobertaConfig"]


@dataclass(frozen=True)
class RobertaConfig(BertConfig):
    """The fields of a RoBERTa `config.json` that change what is computed, with `transformers`' names and defaults."""

    vocab_size: int = 50265
    pad_token_id: int | None = 1

    offset: ClassVar[bool] = True


@dataclass(frozen=True)
class XLMRobertaConfig(RobertaConfig):
    """The same with XLM-RoBERTa's defaults."""

    vocab_size: int = 30522


class Roberta(PostNorm):
    """RoBERTa's encoder."""

    Config: ClassVar[Any] = RobertaConfig
    kind, title = "roberta", "RoBERTa"
    prefixes = ("roberta.",)
    constants = re.compile(r"(.*\.)?position_ids")
    other_heads = re.compile(r"(classifier|qa_outputs)\.(weight|bias)")
    names = Names(
        tokens="embeddings.word_embeddings", positions="embeddings.position_embeddings",
        types="embeddings.token_type_embeddings", norm="embeddings.LayerNorm", project=None,
        layer="encoder.layer.{}", q="attention.self.query", k="attention.self.key", v="attention.self.value",
        qkv="attention.self.qkv", out="attention.output.dense", norm_1="attention.output.LayerNorm",
        fc="intermediate.dense", mlp_out="output.dense", norm_2="output.LayerNorm", pooler="pooler.dense",
        masked=("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"), masked_act="gelu",
        classes=("classifier.dense", "classifier.out_proj"), classes_act="tanh")  # fmt: skip


class XLMRoberta(Roberta):
    """XLM-RoBERTa's."""

    Config = XLMRobertaConfig
    kind, title = "xlm-roberta", "XLM-RoBERTa"

"""BERT (Devlin et al. 2018): what its files call its weights. The graph is in post_norm, the configuration in
bert_config."""

import re

from nextword.models.bert_config import BertConfig
from nextword.models.post_norm import Names, PostNorm

__all__ = ["Bert"]


class Bert(PostNorm):
    """BERT's encoder."""

    Config = BertConfig
    kind, title = "bert", "BERT"
    prefixes = ("bert.",)
    constants = re.compile(r"(.*\.)?position_ids")
    other_heads = re.compile(r"cls\.seq_relationship\..*|(classifier|qa_outputs)\.(weight|bias)")
    names = Names(
        tokens="embeddings.word_embeddings", positions="embeddings.position_embeddings",
        types="embeddings.token_type_embeddings", norm="embeddings.LayerNorm", project=None,
        layer="encoder.layer.{}", q="attention.self.query", k="attention.self.key", v="attention.self.value",
        qkv="attention.self.qkv", out="attention.output.dense", norm_1="attention.output.LayerNorm",
        fc="intermediate.dense", mlp_out="output.dense", norm_2="output.LayerNorm", pooler="pooler.dense",
        masked=("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder",
                "cls.predictions.bias"),
        masked_act=None, classes=("pooler.dense", "classifier"), classes_act="tanh")  # fmt: skip

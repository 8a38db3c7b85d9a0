"""ELECTRA (Clark et al. 2020): configuration, and what its files call its weights. Its embeddings may be narrower than
its layers. The head that tells replaced tokens is not read."""

import re
from dataclasses import dataclass

from nextword.models.bert_config import BertConfig
from nextword.models.post_norm import Names, PostNorm

__all__ = ["Electra", "ElectraConfig"]


@dataclass(frozen=True)
class ElectraConfig(BertConfig):
    """The fields of an ELECTRA `config.json` that change what is computed, with `transformers`' names and defaults."""

    embedding_size: int | None = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024


class Electra(PostNorm):
    """ELECTRA's encoder: of its discriminator or its generator."""

    Config = ElectraConfig
    kind, title = "electra", "ELECTRA"
    prefixes = ("electra.",)
    constants = re.compile(r"(.*\.)?position_ids")
    other_heads = re.compile(r"(discriminator_predictions|sequence_summary)\..*|(classifier|qa_outputs)\.(weight|bias)")
    names = Names(
        tokens="embeddings.word_embeddings", positions="embeddings.position_embeddings",
        types="embeddings.token_type_embeddings", norm="embeddings.LayerNorm", project="embeddings_project",
        layer="encoder.layer.{}", q="attention.self.query", k="attention.self.key", v="attention.self.value",
        qkv="attention.self.qkv", out="attention.output.dense", norm_1="attention.output.LayerNorm",
        fc="intermediate.dense", mlp_out="output.dense", norm_2="output.LayerNorm", pooler=None,
        masked=("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head",
                "generator_lm_head.bias"),
        masked_act="gelu", classes=("classifier.dense", "classifier.out_proj"), classes_act="gelu")  # fmt: skip

"""ALBERT (Lan et al. 2019): configuration, what its files call its weights, and which layers are one."""

import re
from dataclasses import dataclass

from nextword.models.bert_config import BertConfig
from nextword.models.config import check_positive
from nextword.models.post_norm import Block, Names, PostNorm
from nextword.models.reader import Reader

__all__ = ["Albert", "AlbertConfig"]


@dataclass(frozen=True)
class AlbertConfig(BertConfig):
    """The fields of an ALBERT `config.json` that change what is computed, with `transformers`' names and defaults."""

    vocab_size: int = 30000
    embedding_size: int | None = 128
    hidden_size: int = 4096
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    num_hidden_groups: int = 1
    inner_group_num: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "num_hidden_groups", "inner_group_num")
        if self.num_hidden_groups > self.num_hidden_layers:
            raise ValueError(f"config: num_hidden_groups must be 1 .. {self.num_hidden_layers}, the number of layers, "
                             f"got {self.num_hidden_groups}")


class Albert(PostNorm):
    """ALBERT's encoder: layers share their weights, all of them or those of a group."""

    Config = AlbertConfig
    kind, title = "albert", "ALBERT"
    prefixes = ("albert.",)
    constants = re.compile(r"(.*\.)?position_ids")
    other_heads = re.compile(r"sop_classifier\..*|(classifier|qa_outputs)\.(weight|bias)")
    names = Names(
        tokens="embeddings.word_embeddings", positions="embeddings.position_embeddings",
        types="embeddings.token_type_embeddings", norm="embeddings.LayerNorm",
        project="encoder.embedding_hidden_mapping_in", layer="encoder.albert_layer_groups.{}.albert_layers.{}",
        q="attention.query", k="attention.key", v="attention.value", qkv="attention.qkv", out="attention.dense",
        norm_1="attention.LayerNorm", fc="ffn", mlp_out="ffn_output", norm_2="full_layer_layer_norm", pooler="pooler",
        masked=("predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions.bias"),
        masked_act=None, classes=("pooler", "classifier"), classes_act="tanh")  # fmt: skip

    @property
    def projected(self) -> bool:
        """It always is."""
        return True

    def assemble_blocks(self, read: Reader) -> list[Block]:
        """The layers in their order; those that share their weights are one."""
        c = self.config
        groups = [[Block(read, c, self.ops, self.names, self.names.layer.format(group, inner))
                   for inner in range(c.inner_group_num)] for group in range(c.num_hidden_groups)]
        order = [int(n / (c.num_hidden_layers / c.num_hidden_groups)) for n in range(c.num_hidden_layers)]
        blocks = [block for group in order for block in groups[group]]
        self.layers = len(blocks)
        return blocks

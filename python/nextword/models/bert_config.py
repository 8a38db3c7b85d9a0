"""The fields of an encoder's config.json, as BERT has them; those of its kin differ in names and defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from nextword.machine.shown import shown
from nextword.models.config import (
    Unsupported,
    by_one_name,
    check_activation,
    check_flags,
    check_fraction,
    check_positive,
    refuse,
)

# Fields with which transformers computes something else, and the values with which it does not.
UNSUPPORTED: Unsupported = {
    "is_decoder": ((False, None), "false: a decoder of this kind is not supported"),
    "add_cross_attention": ((False, None), "false: cross-attention is not supported"),
    "is_encoder_decoder": ((False, None), "false: encoder-decoders are not supported"),
    "position_embedding_type": (("absolute", None), "absolute: relative positions are not supported"),
    "pruned_heads": (({}, None), "empty: write the model anew without the pruned heads"),
    "transformers_weights": ((None, "model.safetensors"), "absent: the weights are read from model.safetensors"),
}
# The last words of a transformers class -> the head that its files have, "": none that is read.
HEADS = {"ForMaskedLM": "masked", "ForPreTraining": "masked", "ForSequenceClassification": "classes",
         "ForTokenClassification": "tags", "Model": "", "ForQuestionAnswering": "", "ForMultipleChoice": "",
         "ForNextSentencePrediction": ""}  # fmt: skip
PROBLEMS = (None, "regression", "single_label_classification", "multi_label_classification")


@dataclass(frozen=True)
class BertConfig:
    """The fields of a BERT `config.json` that change what is computed, with `transformers`' names and defaults."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True
    embedding_size: int | None = None  # None: hidden_size
    architectures: tuple[str, ...] = ()
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    problem_type: str | None = None
    activation_fn: str | None = None  # of a cross-encoder's scores, as sentence-transformers notes it

    unsupported: ClassVar[Unsupported] = {}  # more of these
    aliases: ClassVar[Mapping[str, str]] = {}  # what the files of the kind call a field -> the name here
    offset: ClassVar[bool] = False  # whether positions begin behind the number of the padding token
    of_heads: ClassVar[str] = "num_attention_heads"  # the field

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "BertConfig":
        """Read a `config.json`. Raises ValueError that names the field that is wrong or not supported."""
        refuse(config, {**UNSUPPORTED, **cls.unsupported})
        config = by_one_name(config, cls.aliases)
        known = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        given = config.get("architectures") or ()
        if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
            raise ValueError(f"config: architectures must be a list of names, got {shown(given)}")
        known |= {"architectures": tuple(given), "labels": _labels(config), "activation_fn": _activation_fn(config)}
        return cls(**known)

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                       "intermediate_size", "max_position_embeddings")
        if self.embedding_size is not None:
            check_positive(self, "embedding_size")
        if type(self.type_vocab_size) is not int or not 0 <= self.type_vocab_size < 2**31:
            raise ValueError(f"config: type_vocab_size must be a number of types, got {self.type_vocab_size!r}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"config: hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} "
                             f"and {self.num_attention_heads}")
        check_activation(self, "hidden_act")
        check_fraction(self, "layer_norm_eps")
        check_flags(self, "tie_word_embeddings")
        if self.pad_token_id is not None and type(self.pad_token_id) is not int:
            raise ValueError(f"config: pad_token_id must be a token id or null, got {self.pad_token_id!r}")
        if self.problem_type not in PROBLEMS:
            raise ValueError(f"config: problem_type must be one of {', '.join(map(str, PROBLEMS))}, "
                             f"got {self.problem_type!r}")
        if self.offset and not 0 <= self.first_place < self.max_position_embeddings:
            raise ValueError(f"config: pad_token_id must be 0 .. {self.max_position_embeddings - 2}, as positions "
                             f"begin behind it, got {self.pad_token_id!r}")

    @property
    def heads(self) -> int:
        """Of queries, keys and values."""
        return self.num_attention_heads

    @property
    def embedding(self) -> int:
        """Width of the embeddings."""
        return self.embedding_size or self.hidden_size

    @property
    def first_place(self) -> int:
        """The row of the table of positions that a text's first token has."""
        return 0 if not self.offset else -1 if self.pad_token_id is None else self.pad_token_id + 1

    @property
    def head(self) -> str | None:
        """The head that the file has by its architecture: "masked", "classes", "tags" or ""; None where it does not
        say."""
        name = self.architectures[0] if self.architectures else ""
        return next((head for end, head in HEADS.items() if name.endswith(end)), None)


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of classes in their order."""
    names, count = config.get("id2label"), config.get("num_labels")
    if names is None:
        if count is not None and (type(count) is not int or not 1 <= count < 2**20):
            raise ValueError(f"config: num_labels must be a number of classes, got {count!r}")
        return tuple(f"LABEL_{n}" for n in range(2 if count is None else count))
    try:
        found = {int(number): str(name) for number, name in names.items()}
    except (AttributeError, TypeError, ValueError):
        found = {}
    if not found or sorted(found) != list(range(len(found))):
        raise ValueError(f"config: id2label must name the classes 0, 1, ..., got {shown(names)}")
    return tuple(found[number] for number in range(len(found)))


def _activation_fn(config: Mapping[str, Any]) -> str | None:
    note = config.get("sentence_transformers")
    found = note.get("activation_fn") if isinstance(note, Mapping) else None
    found = config.get("sbert_ce_default_activation_function") if found is None else found
    if found is not None and not isinstance(found, str):
        raise ValueError(f"config: activation_fn must be the name of a class, got {shown(found)}")
    return found

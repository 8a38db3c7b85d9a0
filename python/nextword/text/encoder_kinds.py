"""Encoders' tokenizers where there is no tokenizer.json to say what they do: by tokenizer_class or model_type.

What is the same in all folders is in tokenizer_folder.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nextword.text.claims import Name
from nextword.text.normalizer import Step
from nextword.text.template import Template, bert, bert_twice, roberta

_BERT = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
_EDGED = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
_ROBERTA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>",
            "cls_token": "<s>", "mask_token": "<mask>"}  # fmt: skip


class Kind(NamedTuple):
    """name: of the class. names: the special tokens unless a file names others. around: the template of cls_token and
    sep_token.
    units: what its vocabulary holds. lowers: whether text becomes lower case unless do_lower_case says otherwise.
    wide_mask: whether mask_token takes the blank before it along, unless a file says its flags.
    """

    name: str
    names: Mapping[str, str]
    around: Callable[[int, int], Template]
    units: str
    lowers: bool = False
    wide_mask: bool = False


_KINDS = (
    Kind("BertTokenizer", _BERT, bert, "words", lowers=True),
    Kind("DistilBertTokenizer", _BERT, bert, "words", lowers=True),
    Kind("ElectraTokenizer", _BERT, bert, "words", lowers=True),
    Kind("MPNetTokenizer", _ROBERTA | {"unk_token": "[UNK]"}, lambda cls, sep: roberta(cls, sep, True, False), "words",
         lowers=True, wide_mask=True),
    Kind("RobertaTokenizer", _ROBERTA, roberta, "bytes"),
    Kind("DebertaTokenizer", _BERT | _EDGED, bert_twice, "bytes"),
    Kind("XLMRobertaTokenizer", _ROBERTA, lambda cls, sep: roberta(cls, sep, False, False), "pieces"),
    Kind("AlbertTokenizer", _BERT | _EDGED | {"unk_token": "<unk>", "pad_token": "<pad>"}, bert, "pieces", lowers=True),
    Kind("DebertaV2Tokenizer", _BERT | _EDGED, bert, "pieces"),
)  # fmt: skip
KINDS = {kind.name: kind for kind in _KINDS}
_CLASSES = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "deberta": "DebertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "albert": "AlbertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
}


def class_of(model_type: Any) -> str | None:
    """The class of an encoder's tokenizer where only its model_type is known."""
    return _CLASSES.get(model_type) if isinstance(model_type, str) else None


def kind_of(tokenizer_class: Any) -> Kind | None:
    """What an encoder's tokenizer does, None where it is no encoder's."""
    return KINDS.get(tokenizer_class.removesuffix("Fast")) if isinstance(tokenizer_class, str) else None


BERT_STEP = ("Bert", "true", "true", "true", "true")  # cleans, parts ideographs, strips accents, lowers


def words_steps(config: Mapping[str, Any], kind: Kind, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The normaliser of a vocabulary of words: BERT's with what tokenizer_config.json says, which counts more than
    tokenizer.json; another one as it is."""
    if len(steps) != 1 or steps[0][0] != "Bert":
        return steps
    _, cleans, parts, strips, lowers = steps[0]
    for key in ("do_lower_case", "tokenize_chinese_chars", "strip_accents"):
        if not isinstance(config.get(key), bool | None):
            raise ValueError(f"Tokenizer.load: tokenizer_config.json: {key} must be true, false or null, got "
                             f"{config[key]!r}")  # fmt: skip
    follows = strips == lowers if "strip_accents" not in config else config["strip_accents"] is None
    lowers = _word(config.get("do_lower_case"), lowers)
    parts = _word(config.get("tokenize_chinese_chars"), parts)
    strips = lowers if follows else _word(config.get("strip_accents"), strips)
    return (("Bert", cleans, parts, strips, lowers),)


def _word(flag: bool | None, default: str) -> str:
    return default if flag is None else "true" if flag else "false"


def with_wide_mask(name: Name) -> Name:
    """A mask token that is given as a text takes the blank before it along."""
    plain = name.key == "mask_token" and not name.token.lstrip
    return name._replace(token=name.token._replace(lstrip=True)) if plain else name

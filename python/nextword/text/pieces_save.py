"""A vocabulary of SentencePiece's kind as tokenizer.json. Reading such files is in pieces_json.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nextword import _core
from nextword.text.json_parts import spelled_step
from nextword.text.normalizer import Step
from nextword.text.pieces_json import MARK

_TO_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}


def spelled_pieces(tokenizer: _core.Bpe, contents: dict[int, str]) -> dict[int, str]:
    """The name of each token, by id. contents: of added tokens."""
    ids = [id for id in range(len(tokenizer)) if tokenizer.has(id)]
    names = dict(zip(ids, tokenizer._source().names_of(ids), strict=True))
    return {id: names[id] or contents[id] for id in ids}


def pieces_parts(tokenizer: _core.Bpe, steps: Sequence[Step], spelled: dict[int, str]) -> dict[str, Any]:
    """normalizer, pre_tokenizer, decoder and model. Raises ValueError where the file has no form for what is done."""
    splits = tokenizer.pattern == "each_blank"
    metaspace = splits or tokenizer.prefix_space
    normalizer = [step for one in steps for step in _normalizer(one, metaspace)]
    scheme = "first" if tokenizer.prefix_first else "always" if tokenizer.prefix_space else "never"
    blanks = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": splits}
    words = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, blanks]}
    pre_tokenizer = words if ("Words",) in steps else blanks if metaspace else None
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizer} if normalizer else None,
        "pre_tokenizer": pre_tokenizer,
        "decoder": _decoder(tokenizer.trimmed),
        "model": _model(tokenizer, spelled),
    }


def _model(tokenizer: _core.Bpe, spelled: dict[int, str]) -> dict[str, Any]:
    if len({*spelled.values()}) != len(spelled) or [*spelled] != list(range(len(spelled))):
        raise ValueError("save: tokens must have ids without holes and names of their own to stand in tokenizer.json")
    fallback, unknown = tokenizer.byte_fallback, tokenizer.unknown
    if tokenizer.units == "unigram":
        scores = tokenizer._scores()
        scores += [0.0] * (len(spelled) - len(scores))
        vocab = [[name, score] for name, score in zip(spelled.values(), scores, strict=True)]
        return {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": fallback}
    merges = [[spelled[left], spelled[right]] for left, right, _ in tokenizer._merges()]
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None if unknown is None else spelled[unknown]}
    model |= {"continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": tokenizer.fuses_unknown}
    model |= {"byte_fallback": fallback, "ignore_merges": False, "merges": merges}
    return model | {"vocab": {name: id for id, name in spelled.items()}}


def _decoder(trimmed: int) -> dict[str, Any]:
    blank = {"type": "Replace", "pattern": {"String": MARK}, "content": " "}
    if trimmed > 1:
        return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] * trimmed
    return {"type": "Sequence", "decoders": [blank, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip]}


def _normalizer(step: Step, metaspace: bool) -> list[dict[str, Any]]:
    """A step as tokenizer.json has it; what the pre-tokenizer does is none."""
    kind, *texts = step
    if kind == "SentencePiece":
        rules, prefix, collapses, *kept = texts
        if rules or collapses == "true" or kept:
            raise ValueError("save: what SentencePiece's normalizer_spec does has no form in tokenizer.json; copy the "
                             "file tokenizer.model instead")  # fmt: skip
        return [*([{"type": "Prepend", "prepend": MARK}] if prefix == "true" else []), _TO_MARK]
    if kind in ("Words", "Blanks"):
        return [] if kind == "Words" or metaspace else [_TO_MARK]
    return [spelled_step((kind, texts[0].replace(" ", MARK)) if kind == "Prepend" else step)]

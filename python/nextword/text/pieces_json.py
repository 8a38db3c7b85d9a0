"""A tokenizer.json of SentencePiece's kind, whose names have U+2581 for a blank: BPE over characters, or Unigram.

What such files share with byte-level ones is in tokenizer_json.py.
"""

from __future__ import annotations

import re
from typing import Any

from nextword import _core
from nextword.text.added_tokens import AddedToken
from nextword.text.json_parts import Settings, added_tokens, is_id, normalizer, unsupported
from nextword.text.sentencepiece import CONTROL
from nextword.text.template_json import template

MARK = "\u2581"
_NORMAL, _BYTE = 1, 6  # kinds of pieces


def read_pieces_json(file: str, described: dict[str, Any]) -> tuple[_core.VocabularySource, Settings, list[AddedToken]]:
    """The vocabulary, settings and added tokens. Raises ValueError that names file and field for what is refused."""
    added = added_tokens(file, described.get("added_tokens") or [])
    source = _vocabulary(file, described["model"], {token.content for token in added if token.special})
    steps = normalizer(file, described.get("normalizer"))
    marked = bool(steps) and steps[-1] == ("Replace", " ", MARK)  # U+2581 is a blank again at the end
    if marked:
        steps = [("Prepend", " ") if step == ("Prepend", MARK) else step for step in steps[:-1]]
    words, prefix, split = _pre_tokenizer(file, described.get("pre_tokenizer"), marked)
    steps += [("Words",)] * words + [("Blanks",)]
    pattern = "each_blank" if split else "blanks" if source.begins_words else "whole"
    trimmed = _decoder(file, described.get("decoder"))
    settings = Settings(pattern, prefix, tuple(steps), trimmed=trimmed)
    return source, settings.around(template(file, described.get("post_processor"))), added


def _vocabulary(file: str, model: dict[str, Any], special: set[str]) -> _core.VocabularySource:
    kind = model.get("type", "BPE" if isinstance(model.get("vocab"), dict) else "Unigram")
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges"):
        if model.get(key):
            raise unsupported(file, f"model.{key}", "empty, null or false", model[key])
    fallback = model.get("byte_fallback", False)
    unknown, vocab = model.get("unk_token"), model.get("vocab")
    scores: list[float] = []
    merges: list[str] = []
    try:
        if kind == "Unigram":
            names, scores = [name for name, _ in vocab or ()], [float(score) for _, score in vocab or ()]
            unknown = None if model.get("unk_id") is None else names[model["unk_id"]]
        elif kind == "BPE" and isinstance(vocab, dict):
            names = sorted(vocab, key=lambda name: int(vocab[name]))
            merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.get("merges") or ()]
            if [vocab[name] for name in names] != list(range(len(names))):
                raise unsupported(file, "model.vocab", f"tokens with the ids 0 .. {len(names) - 1}", "others")
        else:
            raise unsupported(file, "model.type", "BPE or Unigram", kind)
        whole = all(isinstance(name, str) for name in names)
    except (TypeError, KeyError, AttributeError, IndexError):
        whole = False
    except ValueError as error:
        if str(error).startswith("Tokenizer.load"):
            raise
        whole = False
    if not whole or not isinstance(unknown, str | None) or not isinstance(fallback, bool):
        raise unsupported(file, "model", "vocab, merges or scores, unk_token or unk_id, byte_fallback", sorted(model))
    if kind == "BPE" and not merges:
        raise unsupported(file, "model.merges", "a list of merges", merges)
    kinds = [
        CONTROL if name in special else _BYTE if fallback and re.fullmatch("<0x[0-9A-F]{2}>", name) else _NORMAL
        for name in names
    ]
    fuses = kind == "Unigram" or bool(model.get("fuse_unk"))
    units = "unigram" if kind == "Unigram" else "characters"
    return _core.blank_source(names, kinds, scores, merges, units, unknown or "", fallback, fuses, file)


def _pre_tokenizer(file: str, top: Any, marked: bool) -> tuple[bool, Any, bool]:
    """Whether white space parts words and is lost, what gets a blank before it, whether each blank begins a piece."""
    expected = f"Metaspace, alone or after WhitespaceSplit, or null with a normaliser that ends with Replace by {MARK}"
    if top is None and marked:
        return False, False, False
    inner = top.get("pretokenizers") if isinstance(top, dict) and top.get("type") == "Sequence" else [top]
    steps: list[dict[str, Any]] = inner if isinstance(inner, list) and all(map(_is_object, inner)) else []
    kinds = [step.get("type") for step in steps]
    if marked and kinds == ["Split"] and steps[0].get("pattern") == {"String": " "}:
        return False, False, False  # finds no blank
    if not kinds or kinds[-1] != "Metaspace" or kinds[:-1] not in ([], ["WhitespaceSplit"]):
        raise unsupported(file, "pre_tokenizer", expected, top)
    last = steps[-1]
    old = "always" if last.get("add_prefix_space", True) else "never"
    scheme, split = last.get("prepend_scheme", old), last.get("split", True)
    good = scheme in ("always", "first", "never") and isinstance(split, bool) and last.get("replacement", MARK) == MARK
    words = kinds[:-1] == ["WhitespaceSplit"]
    if not good or (words and scheme != "always"):
        raise unsupported(file, "pre_tokenizer", expected, top)
    return words, {"always": True, "first": "first", "never": False}[scheme], split


def _decoder(file: str, top: Any) -> int:
    """How many blanks are left out where a decoded text begins."""
    steps = top.get("decoders") if isinstance(top, dict) and top.get("type") == "Sequence" else [top]
    trimmed = 0
    for one in steps if isinstance(steps, list) else [None]:
        step: dict[str, Any] = one if isinstance(one, dict) else {}
        kind = step.get("type")
        if kind == "Metaspace" and step.get("replacement", MARK) == MARK:
            old = "always" if step.get("add_prefix_space", True) else "never"
            trimmed += 0 if step.get("prepend_scheme", old) == "never" else 1 << 20  # all of the first token
        elif kind == "Strip" and step.get("content") == " " and step.get("stop") == 0 and is_id(step.get("start")):
            trimmed += step["start"]
        elif not (kind in ("ByteFallback", "Fuse") or (kind == "Replace" and _is_blank(step))):
            expected = f"Metaspace, or a Sequence of Replace {MARK} by a blank, ByteFallback, Fuse, Strip of blanks"
            raise unsupported(file, "decoder", expected, top)
    return trimmed


def _is_blank(step: dict[str, Any]) -> bool:
    return step.get("pattern") == {"String": MARK} and step.get("content") == " "


def _is_object(step: Any) -> bool:
    return isinstance(step, dict)


def is_of_pieces(described: Any) -> bool:
    """Whether a tokenizer.json is of this kind: U+2581 is in what it does with text, and bytes are not spelled."""
    if not isinstance(described, dict) or not isinstance(described.get("model"), dict):
        return False
    parts = str([described.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")])
    return ("Metaspace" in parts or MARK in parts) and "ByteLevel" not in parts

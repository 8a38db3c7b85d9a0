"""The parts of a tokenizer.json that all its kinds share: settings, added tokens, normalisers, post-processors."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from nextword.text.added_tokens import AddedToken
from nextword.text.template import Template

FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")
BERT_FLAGS = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
SPACED = {"Regex": r"\s{2,}|[\n\r\t]"}  # as transformers has it for DeBERTa-v2
_FORMS = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")


class Settings(NamedTuple):
    """What Tokenizer is made of, beside a vocabulary."""

    pattern: str = "gpt2"
    prefix_space: bool | Literal["first"] = False
    normalizer: tuple[tuple[str, ...], ...] = ()
    beginning: tuple[int, ...] = ()
    ending: tuple[int, ...] = ()
    trimmed: int = 0
    template: Template | None = None
    cleans: bool = False
    special_ids: Mapping[str, int] = {}
    max_length: int | None = None

    def around(self, template: Template) -> Settings:
        """These with what stands around a text."""
        return self._replace(beginning=template.beginning, ending=template.ending, template=template)


def added_tokens(file: str, added: Any) -> list[AddedToken]:
    """The added tokens of a list of objects. Raises ValueError where one is not given with content, id and flags."""
    try:
        rows = [(token["content"], token["id"], {key: token[key] for key in FLAGS if key in token}) for token in added]
    except (TypeError, KeyError):
        rows = [("", -1, {})]
    for content, id, given in rows:
        good = isinstance(content, str) and is_id(id)
        if not good or not all(isinstance(flag, bool) for flag in given.values()):
            raise ValueError(f"Tokenizer.load: {file}: added_tokens must be a list of objects with content, id, flags")
    return [AddedToken(content, id, **given) for content, id, given in rows]


def is_id(id: object) -> bool:
    """Whether this is an int that an id might be; how large it may be is checked with the vocabulary."""
    return isinstance(id, int) and not isinstance(id, bool) and 0 <= id < 1 << 32


def unsupported(file: str, key: str, expected: str, got: object) -> ValueError:
    """The error of a part that is another way to ids or text than this library's."""
    return ValueError(f"Tokenizer.load: {file}: {key} must be {expected}, got {json.dumps(got)[:300]}")


def normalizer(file: str, step: Any) -> list[tuple[str, ...]]:
    """The steps of a normaliser, those of a Sequence one after the other."""
    if step is None:
        return []
    kinds = ", ".join((*_FORMS, "BertNormalizer", "Prepend", "Replace of a text", "Strip", "Precompiled"))
    expected = f"null, {kinds}, or a Sequence of them"
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "Sequence" and isinstance(step.get("normalizers"), list):
        return [one for inner in step["normalizers"] for one in normalizer(file, inner)]
    if kind in _FORMS:
        return [(str(kind),)]
    if kind == "BertNormalizer":
        return [bert_step(file, step)]
    if kind == "Prepend" and isinstance(step.get("prepend"), str):
        return [("Prepend", step["prepend"])]
    if kind == "Replace" and isinstance(step.get("pattern"), dict) and isinstance(step.get("content"), str):
        literal = step["pattern"].get("String")
        if isinstance(literal, str) and literal:
            return [("Replace", literal, step["content"])]
        if step["pattern"] == {"Regex": " {2,}"}:
            return [("Collapse", step["content"])]
        if step["pattern"] == SPACED and step["content"] == " ":
            return [("Spaced",)]
    if kind == "Strip" and all(isinstance(step.get(side), bool) for side in ("strip_left", "strip_right")):
        return [("Strip", *("true" if step[side] else "false" for side in ("strip_left", "strip_right")))]
    if kind == "Precompiled" and _is_base64(step.get("precompiled_charsmap")):
        return [("Precompiled", step["precompiled_charsmap"])]
    raise unsupported(file, "normalizer", expected, step)


def bert_step(file: str, given: dict[str, Any]) -> tuple[str, ...]:
    """BERT's normaliser as a step. Raises ValueError where a flag is none."""
    flags = {flag: given.get(flag) for flag in BERT_FLAGS}
    flags |= {flag: True for flag, value in flags.items() if value is None and flag != "strip_accents"}
    if flags["strip_accents"] is None:
        flags["strip_accents"] = flags["lowercase"]
    if not all(isinstance(value, bool) for value in flags.values()):
        raise unsupported(file, "normalizer", "BertNormalizer with flags", given)
    return ("Bert", *("true" if flag else "false" for flag in flags.values()))


def _is_base64(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def spelled_step(step: Sequence[str]) -> dict[str, Any]:
    """A step of a normaliser as tokenizer.json has it."""
    kind, *texts = step
    written: dict[str, dict[str, Any]] = {
        "Prepend": {"prepend": "".join(texts[:1])},
        "Replace": {"pattern": {"String": "".join(texts[:1])}, "content": "".join(texts[1:])},
        "Strip": {"strip_left": texts[:1] == ["true"], "strip_right": texts[1:] == ["true"]},
        "Precompiled": {"precompiled_charsmap": "".join(texts)},
    }
    if kind == "Spaced":
        return {"type": "Replace", "pattern": SPACED, "content": " "}
    if kind == "Collapse":
        return {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": texts[0]}
    return {"type": kind} | written.get(kind, {})

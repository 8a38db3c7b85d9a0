"""What a tokenizer.json asks for beside its vocabulary: each part that changes ids or text, applied or refused.

The vocabulary and the merges themselves are read in csrc/text/bpe_files.cpp.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from nextword import _core
from nextword.text.added_tokens import AddedToken
from nextword.text.tokenizer_files import REGEX

FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")

# Spellings of one splitting pattern that different files use; all match the same pieces.
_GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d"
_PATTERNS = {
    rf"{_GPT2_WORDS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+": "gpt2",
    rf"{_GPT2_WORDS}| ?[\p{{L}}]+| ?[\p{{N}}]+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+": "gpt2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": "gpt2",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s": "cl100k",
    **{regex: pattern for pattern, regex in REGEX.items()},
}

_FORMS = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase")


class Settings(NamedTuple):
    """What Tokenizer is made of, beside a vocabulary."""

    pattern: str = "gpt2"
    prefix_space: bool = False
    normalizer: tuple[tuple[str, ...], ...] = ()
    beginning: tuple[int, ...] = ()
    ending: tuple[int, ...] = ()


def read_tokenizer_json(path: str, file: str) -> tuple[_core.VocabularySource, Settings, list[AddedToken]]:
    """The vocabulary, settings and added tokens of one tokenizer.json. file: its name in messages.

    Raises ValueError that names file and field for what is malformed, or is another way to ids or text than this
    library's. Truncation and padding change nothing here: a text is always encoded whole, as in transformers.
    """
    source = _core.read_tokenizer_json(path)
    try:
        settings = json.loads(source.settings)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Tokenizer.load: {file}: not JSON: {error}") from None
    _check_model(file, settings, source)
    decoder = settings.get("decoder")
    if decoder is not None and not (isinstance(decoder, dict) and decoder.get("type") == "ByteLevel"):
        raise _unsupported(file, "decoder", "null or ByteLevel", decoder)
    pattern, prefix_space = _pre_tokenizer(file, settings.get("pre_tokenizer"))
    beginning, ending = _template(file, settings.get("post_processor"))
    found = Settings(pattern, prefix_space, tuple(_normalizer(file, settings.get("normalizer"))), beginning, ending)
    return source, found, added_tokens(file, settings.get("added_tokens") or [])


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


def _unsupported(file: str, key: str, expected: str, got: object) -> ValueError:
    return ValueError(f"Tokenizer.load: {file}: {key} must be {expected}, got {json.dumps(got)[:300]}")


def _check_model(file: str, settings: dict[str, Any], source: _core.VocabularySource) -> None:
    """The fields of "model", of which those about unknown characters go into `source`."""
    if settings.get("model.type", "BPE") != "BPE":
        raise _unsupported(file, "model.type", "BPE", settings["model.type"])
    for key in ("model.continuing_subword_prefix", "model.end_of_word_suffix"):
        if settings.get(key):
            raise _unsupported(file, key, "empty", settings[key])
    if settings.get("model.dropout"):
        raise _unsupported(file, "model.dropout", "null or 0, with which a text always has the same tokens",
                          settings["model.dropout"])  # fmt: skip
    source.whole_pieces = bool(settings.get("model.ignore_merges"))
    if source.has_all_bytes:
        return  # then nothing is unknown
    unknown = settings.get("model.unk_token")
    if unknown is not None and not isinstance(unknown, str):
        raise _unsupported(file, "model.unk_token", "null or a token", unknown)
    for key in ("model.fuse_unk", "model.byte_fallback"):
        if settings.get(key) and (unknown or key == "model.byte_fallback"):
            raise _unsupported(file, key, "false, as the vocabulary lacks bytes", settings[key])
    source.unknown = unknown or ""


def _normalizer(file: str, step: Any) -> list[tuple[str, ...]]:
    """The steps of a normaliser, those of a Sequence one after the other."""
    if step is None:
        return []
    expected = f"null, {', '.join(_FORMS)}, Prepend, Replace of a text, or a Sequence of them"
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "Sequence" and isinstance(step.get("normalizers"), list):
        return [one for inner in step["normalizers"] for one in _normalizer(file, inner)]
    if kind in _FORMS:
        return [(str(kind),)]
    if kind == "Prepend" and isinstance(step.get("prepend"), str):
        return [("Prepend", step["prepend"])]
    if kind == "Replace" and isinstance(step.get("pattern"), dict) and isinstance(step.get("content"), str):
        literal = step["pattern"].get("String")
        if isinstance(literal, str) and literal:
            return [("Replace", literal, step["content"])]
    raise _unsupported(file, "normalizer", expected, step)


def _pre_tokenizer(file: str, top: Any) -> tuple[str, bool]:
    """The splitting pattern, and whether a text begins with a blank."""
    steps = top.get("pretokenizers") if isinstance(top, dict) and top.get("type") == "Sequence" else [top]
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise _unsupported(file, "pre_tokenizer", "ByteLevel", top)
    *before, last = steps
    prefix_space, use_regex = last.get("add_prefix_space", True), last.get("use_regex", True)
    if last.get("type") != "ByteLevel" or not isinstance(prefix_space, bool) or not isinstance(use_regex, bool):
        raise _unsupported(file, "pre_tokenizer", "ByteLevel", top)
    if not before and use_regex:
        return "gpt2", prefix_space
    if len(before) == 1 and before[0].get("type") == "Digits" and use_regex and before[0].get("individual_digits"):
        if prefix_space:  # which each part between digits would get
            raise _unsupported(file, "pre_tokenizer", "ByteLevel with add_prefix_space false after Digits", top)
        return "smollm", False
    if len(before) == 1 and before[0].get("type") == "Split" and not use_regex:
        if prefix_space:
            raise _unsupported(file, "pre_tokenizer", "ByteLevel with add_prefix_space false after a Split", top)
        pattern = before[0].get("pattern")
        regex = pattern.get("Regex") if isinstance(pattern, dict) else None
        isolated = before[0].get("behavior") == "Isolated" and not before[0].get("invert")
        if isinstance(regex, str) and regex in _PATTERNS and isolated:
            return _PATTERNS[regex], False
    expected = "ByteLevel, alone, after Digits one by one, or after a Split by a pattern of tiktoken, Llama 3 or Qwen2"
    raise _unsupported(file, "pre_tokenizer", expected, top)


def _template(file: str, step: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after every text."""
    if step is None:
        return (), ()
    kind = step.get("type") if isinstance(step, dict) else None
    expected = "null, ByteLevel, RobertaProcessing, BertProcessing, a TemplateProcessing with one text, or a Sequence"
    bad = _unsupported(file, "post_processor", expected, step)
    if kind == "ByteLevel":  # trims offsets alone
        return (), ()
    if kind == "Sequence" and isinstance(step.get("processors"), list):
        beginning: tuple[int, ...] = ()
        ending: tuple[int, ...] = ()
        for inner in step["processors"]:
            before, after = _template(file, inner)
            beginning, ending = before + beginning, ending + after
        return beginning, ending
    try:
        if kind in ("RobertaProcessing", "BertProcessing"):
            (cls, first), (sep, last) = step["cls"], step["sep"]
            parts, ids = [cls, None, sep], {cls: [first], sep: [last]}
        elif kind == "TemplateProcessing":
            if any(part["Sequence"]["id"] != "A" for part in step["single"] if "Sequence" in part):
                raise bad
            parts = [None if "Sequence" in part else part["SpecialToken"]["id"] for part in step["single"]]
            ids = {name: token["ids"] for name, token in step["special_tokens"].items()}
        else:
            raise bad
        at = parts.index(None)
        around = [[id for name in some for id in ids[name]] for some in (parts[:at], parts[at + 1 :])]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise bad from None
    if not all(is_id(id) for some in around for id in some):
        raise bad
    return tuple(around[0]), tuple(around[1])

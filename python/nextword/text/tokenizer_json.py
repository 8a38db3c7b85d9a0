"""What a tokenizer.json asks for beside its vocabulary: each part that changes ids or text, applied or refused.

The vocabulary and the merges themselves are read in csrc/text/bpe_files.cpp.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nextword import _core
from nextword.text.added_tokens import AddedToken
from nextword.text.json_parts import Settings, added_tokens, normalizer, unsupported
from nextword.text.pieces_json import is_of_pieces, read_pieces_json
from nextword.text.template_json import template
from nextword.text.tokenizer_files import REGEX
from nextword.text.words_json import is_of_words, read_words_json

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

def read_tokenizer_json(path: str, file: str) -> tuple[_core.VocabularySource, Settings, list[AddedToken]]:
    """The vocabulary, settings and added tokens of one tokenizer.json. file: its name in messages.

    Raises ValueError that names file and field for what is malformed, or is another way to ids or text than this
    library's. Truncation and padding change nothing here: a text is always encoded whole, as in transformers.
    """
    text = Path(path).read_bytes()
    if b"\xe2\x96\x81" in text or b"\\u2581" in text:
        described = _described(text, file)
        if is_of_pieces(described):
            return read_pieces_json(file, described)
    if b'"WordPiece"' in text or b'"max_input_chars_per_word"' in text:
        described = _described(text, file)
        if is_of_words(described):
            return read_words_json(file, described)
    source = _core.read_tokenizer_json(path)
    try:
        settings = json.loads(source.settings)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Tokenizer.load: {file}: not JSON: {error}") from None
    _check_model(file, settings, source)
    decoder = settings.get("decoder")
    if decoder is not None and not (isinstance(decoder, dict) and decoder.get("type") == "ByteLevel"):
        raise unsupported(file, "decoder", "null or ByteLevel", decoder)
    pattern, prefix_space = _pre_tokenizer(file, settings.get("pre_tokenizer"))
    found = Settings(pattern, prefix_space, tuple(normalizer(file, settings.get("normalizer"))))
    found = found.around(template(file, settings.get("post_processor")))
    return source, found, added_tokens(file, settings.get("added_tokens") or [])


def _described(text: bytes, file: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Tokenizer.load: {file}: not JSON: {error}") from None


def _check_model(file: str, settings: dict[str, Any], source: _core.VocabularySource) -> None:
    """The fields of "model", of which those about unknown characters go into `source`."""
    if settings.get("model.type", "BPE") != "BPE":
        raise unsupported(file, "model.type", "BPE", settings["model.type"])
    for key in ("model.continuing_subword_prefix", "model.end_of_word_suffix"):
        if settings.get(key):
            raise unsupported(file, key, "empty", settings[key])
    if settings.get("model.dropout"):
        raise unsupported(file, "model.dropout", "null or 0, with which a text always has the same tokens",
                          settings["model.dropout"])  # fmt: skip
    source.whole_pieces = bool(settings.get("model.ignore_merges"))
    if source.has_all_bytes:
        return  # then nothing is unknown
    unknown = settings.get("model.unk_token")
    if unknown is not None and not isinstance(unknown, str):
        raise unsupported(file, "model.unk_token", "null or a token", unknown)
    for key in ("model.fuse_unk", "model.byte_fallback"):
        if settings.get(key) and (unknown or key == "model.byte_fallback"):
            raise unsupported(file, key, "false, as the vocabulary lacks bytes", settings[key])
    source.unknown = unknown or ""


def _pre_tokenizer(file: str, top: Any) -> tuple[str, bool]:
    """The splitting pattern, and whether a text begins with a blank."""
    steps = top.get("pretokenizers") if isinstance(top, dict) and top.get("type") == "Sequence" else [top]
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise unsupported(file, "pre_tokenizer", "ByteLevel", top)
    *before, last = steps
    prefix_space, use_regex = last.get("add_prefix_space", True), last.get("use_regex", True)
    if last.get("type") != "ByteLevel" or not isinstance(prefix_space, bool) or not isinstance(use_regex, bool):
        raise unsupported(file, "pre_tokenizer", "ByteLevel", top)
    if not before and use_regex:
        return "gpt2", prefix_space
    if len(before) == 1 and before[0].get("type") == "Digits" and use_regex and before[0].get("individual_digits"):
        if prefix_space:  # which each part between digits would get
            raise unsupported(file, "pre_tokenizer", "ByteLevel with add_prefix_space false after Digits", top)
        return "smollm", False
    if len(before) == 1 and before[0].get("type") == "Split" and not use_regex:
        if prefix_space:
            raise unsupported(file, "pre_tokenizer", "ByteLevel with add_prefix_space false after a Split", top)
        pattern = before[0].get("pattern")
        regex = pattern.get("Regex") if isinstance(pattern, dict) else None
        isolated = before[0].get("behavior") == "Isolated" and not before[0].get("invert")
        if isinstance(regex, str) and regex in _PATTERNS and isolated:
            return _PATTERNS[regex], False
    expected = "ByteLevel, alone or after a Split by one of tiktoken's patterns, Llama 3's or Qwen2's, or after Digits"
    raise unsupported(file, "pre_tokenizer", expected, top)

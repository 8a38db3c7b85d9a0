"""The tokenizer that a GGUF file's metadata describes. The file itself is read in the room `files`.

The keys are those of the GGUF specification (ggml, docs/gguf.md); what follows from `tokenizer.ggml.pre`, and what
holds where a key is absent, is llama.cpp's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nextword import _core
from nextword.machine.shown import is_integer, shown
from nextword.text.added_tokens import AddedToken
from nextword.text.sentencepiece import BYTE, CONTROL, UNKNOWN, USER_DEFINED, Pieces, sentencepiece_form, vocabulary_of
from nextword.text.tokenizer import Tokenizer

_TOKENS, _TYPES, _MERGES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"
_SCORES = "tokenizer.ggml.scores"


class _Splitting(NamedTuple):
    """What a name of `tokenizer.ggml.pre` stands for."""

    pattern: str
    whole_pieces: bool = False  # a piece that is a token becomes it, whatever the merges
    begins: bool = False  # whether a text begins with the token of bos_token_id, unless the file says


_LLAMA3 = _Splitting("llama3", whole_pieces=True, begins=True)
_SPLITTING = {
    **dict.fromkeys(("default", "gpt-2", "phi-2", "jina-es", "jina-de"), _Splitting("gpt2")),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe"), _LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _Splitting("qwen2")),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r"), _Splitting("smollm")),
}


def tokenizer_of_gguf(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a GGUF file.

    metadata: its keys and values; arrays as any sequences. Read are tokenizer.ggml.model ("gpt2": byte-level BPE;
    "llama": SentencePiece's BPE; "t5": its
    Unigram), .pre, .tokens, .token_type, .merges, .scores, .unknown_token_id, .add_space_prefix,
    .remove_extra_whitespaces, .precompiled_charsmap, .bos_token_id, .eos_token_id, .add_bos_token, .add_eos_token.

    Control tokens become special ones, user-defined ones are always found in text. Raises ValueError that names the key
    for what is missing, malformed, or a way to ids that this library does not have.

    >>> letters = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    >>> tokens = [*letters, "he", "Ġt", "Ġthe", "<|end|>"]
    >>> tokenizer = tokenizer_of_gguf({
    ...     "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
    ...     "tokenizer.ggml.token_type": [1] * 259 + [3], "tokenizer.ggml.merges": ["h e", "Ġ t", "Ġt he"]})
    >>> tokenizer.encode(" the<|end|>", allowed_special="all")
    [258, 259]
    """
    model = _text(metadata, "tokenizer.ggml.model")
    tokens = _list(metadata, _TOKENS, str)
    if tokens is None:
        raise _wrong(_TOKENS, "a list of texts", None)
    types = _list(metadata, _TYPES, int) or []
    if types and len(types) != len(tokens):
        raise _wrong(_TYPES, f"one number a token ({len(tokens)})", f"{len(types)} numbers")
    if wrong := [kind for kind in types if not 1 <= kind <= 6]:
        raise _wrong(_TYPES, "numbers from 1 to 6", wrong[0])
    if model in ("llama", "t5"):
        return _sentencepiece(metadata, tokens, types, unigram=model == "t5")
    if model != "gpt2":
        expected = '"gpt2" (byte-level BPE), "llama" (SentencePiece BPE) or "t5" (SentencePiece Unigram)'
        raise _wrong("tokenizer.ggml.model", expected, model)
    splitting = _splitting(metadata)
    source = _core.spelled_source(tokens, types, _list(metadata, _MERGES, str) or [], "GGUF vocabulary")
    source.whole_pieces = splitting.whole_pieces
    source.added_tokens = [
        AddedToken(tokens[id], id, special=kind == CONTROL, normalized=False)
        for id, kind in enumerate(types)
        if kind in (CONTROL, USER_DEFINED) and tokens[id]
    ]
    beginning = _edge(metadata, "bos", splitting.begins, len(tokens))
    ending = _edge(metadata, "eos", False, len(tokens))
    return Tokenizer(source, splitting.pattern, beginning=beginning, ending=ending)


def _sentencepiece(metadata: Mapping[str, Any], tokens: list[str], types: list[int], unigram: bool) -> Tokenizer:
    """SentencePiece's BPE: the highest score merges first; what has no token becomes those of its bytes. Or its
    Unigram: of all ways the one of the highest score."""
    scores = _list(metadata, _SCORES, float)
    if scores is None or len(scores) != len(tokens):
        raise _wrong(_SCORES, f"one number a token ({len(tokens)})", scores and len(scores))
    if not types:
        raise _wrong(_TYPES, f"one number a token ({len(tokens)})", None)
    prefix = _flag(metadata, "tokenizer.ggml.add_space_prefix", not unigram)
    unknown = metadata.get("tokenizer.ggml.unknown_token_id", types.index(UNKNOWN) if UNKNOWN in types else None)
    if unknown is not None and not is_integer(unknown):
        raise _wrong("tokenizer.ggml.unknown_token_id", f"a token id 0 .. {len(tokens) - 1}", unknown)
    fallback = types.count(BYTE) == 256
    units = "unigram" if unigram else "characters"
    source, added = vocabulary_of(Pieces(tokens, types, scores, units, unknown, fallback, "GGUF vocabulary"))
    pattern = "blanks" if source.begins_words else "whole"
    if unigram:
        source.added_tokens = added
        collapses = _flag(metadata, "tokenizer.ggml.remove_extra_whitespaces", False)
        return Tokenizer(
            source,
            pattern,
            normalizer=[sentencepiece_form(tokens, types, _rules(metadata), prefix, collapses)],
            beginning=_edge(metadata, "bos", False, len(tokens)),
            ending=_edge(metadata, "eos", True, len(tokens)),
            trimmed=int(prefix or collapses),
        )
    source.added_tokens = [token._replace(normalized=False) for token in added]
    return Tokenizer(
        source,
        pattern,
        normalizer=[("Prepend", " "), ("Blanks",)] if prefix else [("Blanks",)],
        beginning=_edge(metadata, "bos", True, len(tokens)),
        ending=_edge(metadata, "eos", False, len(tokens)),
        trimmed=int(prefix),
    )


def _splitting(metadata: Mapping[str, Any]) -> _Splitting:
    name = _text(metadata, "tokenizer.ggml.pre", "default")
    if name not in _SPLITTING:
        raise _wrong("tokenizer.ggml.pre", f"one of {', '.join(_SPLITTING)}", name)
    return _SPLITTING[name]


def _edge(metadata: Mapping[str, Any], name: str, default: bool, size: int) -> tuple[int, ...]:
    """The ids that begin (bos) or end (eos) every text."""
    flag, key = f"tokenizer.ggml.add_{name}_token", f"tokenizer.ggml.{name}_token_id"
    wanted = _flag(metadata, flag, default)
    id = metadata.get(key)
    if id is None and (not wanted or flag not in metadata):
        return ()
    if id is None or not is_integer(id) or not 0 <= id < size:
        raise _wrong(key, f"a token id 0 .. {size - 1}", id)
    return (int(id),) if wanted else ()


def _rules(metadata: Mapping[str, Any]) -> bytes:
    """SentencePiece's table of rules: an array of bytes, signed or not; without one, no rule."""
    key = "tokenizer.ggml.precompiled_charsmap"
    numbers = _list(metadata, key, int) or []
    if wrong := [number for number in numbers if not -128 <= number <= 255]:
        raise _wrong(key, "bytes", wrong[0])
    return bytes(number & 255 for number in numbers)


def _flag(metadata: Mapping[str, Any], key: str, default: bool) -> bool:
    value = metadata.get(key, default)
    if not isinstance(value, bool):
        raise _wrong(key, "true or false", value)
    return value


def _text(metadata: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = metadata.get(key, default)
    if not isinstance(value, str):
        raise _wrong(key, "a text", value)
    return value


def _list(metadata: Mapping[str, Any], key: str, kind: type) -> list[Any] | None:
    """An array's values, checked; None where there is none."""
    values = metadata.get(key)
    if values is None:
        return None
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise _wrong(key, "a list", values)
    allowed = (float, int) if kind is float else kind
    wrong = [value for value in values if not isinstance(value, allowed) or isinstance(value, bool)]
    if wrong:
        raise _wrong(key, {str: "texts", int: "whole numbers", float: "numbers"}[kind], wrong[0])
    return list(values)


def _wrong(key: str, expected: str, got: object) -> ValueError:
    return ValueError(
        f"tokenizer_of_gguf: {key} must be {expected}, got {shown(got)}; the file's vocabulary cannot be used"
    )

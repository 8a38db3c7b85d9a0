"""The vocabulary of SentencePiece's tokenizer.model. The bytes are read in csrc/text/sentencepiece_model.cpp."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple

from nextword import _core
from nextword.machine.shown import shown
from nextword.text.added_tokens import AddedToken
from nextword.text.normalizer import Step

UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 2, 3, 4, 5, 6  # kinds of pieces, in tokenizer.model as in GGUF
_UNIGRAM, _BPE = 1, 2  # kinds of models


class Pieces(NamedTuple):
    """Pieces in the order of their ids, and what is done with them."""

    names: list[str]
    kinds: list[int]
    scores: list[float]
    units: str  # "characters": byte-pair encoding; "unigram"
    unknown: int | None
    byte_fallback: bool
    file: str  # for messages


class SentencePieceFile(NamedTuple):
    """What a tokenizer.model holds: its vocabulary, and what Tokenizer is made of beside it."""

    source: _core.VocabularySource
    added: list[AddedToken]
    normalizer: tuple[Step, ...]
    trimmed: int
    begin: int | None
    end: int | None


def read_sentencepiece(path: Path) -> SentencePieceFile:
    """What a file holds. Raises ValueError where it is no SentencePiece model, or one of a kind that is not here."""
    file = path.name
    fields = _core.sentencepiece_fields(path.read_bytes(), file)
    _check(file, fields)
    names, kinds = fields["names"], fields["kinds"]
    unigram = fields["model"] == _UNIGRAM
    pieces = Pieces(names, kinds, fields["scores"], "unigram" if unigram else "characters", fields["unknown"],
                    fields["byte_fallback"], file)  # fmt: skip
    source, added = vocabulary_of(pieces)
    form = sentencepiece_form(names, kinds, fields["rules"], fields["prefix"], fields["collapses"])
    trimmed = int(fields["collapses"] or fields["prefix"])
    begin, end = (None if (id := fields[edge]) is None or id >= len(names) else id for edge in ("begin", "end"))
    return SentencePieceFile(source, added, (form,), trimmed, begin, end)


def sentencepiece_form(names: list[str], kinds: list[int], rules: bytes, prefix: bool, collapses: bool) -> Step:
    """The step of a normalizer that does all that SentencePiece does; user-defined pieces stay as they are."""
    kept = [name for name, kind in zip(names, kinds, strict=True) if kind == USER_DEFINED]
    flags = ("true" if flag else "false" for flag in (prefix, collapses))
    return ("SentencePiece", base64.b64encode(rules).decode(), *flags, *kept)


USER_SCORE = -0.1  # of user-defined pieces: SentencePiece's bonus, with which they are taken nearly always
LONGEST = 512  # characters; each cut of a piece is looked up, and those of published models have at most 64


def vocabulary_of(pieces: Pieces) -> tuple[_core.VocabularySource, list[AddedToken]]:
    """The vocabulary, and the pieces that text becomes only as they stand: control pieces, and user-defined ones where
    characters merge (in a unigram model these are pieces with a high score)."""
    names, kinds, scores, units, unknown, byte_fallback, file = pieces
    if unknown is not None and not 0 <= unknown < len(names):
        raise ValueError(f"Tokenizer: {file}: the unknown piece has id {unknown}, but there are {len(names)} pieces")
    if units == "characters" and (long := [id for id, name in enumerate(names) if len(name) > LONGEST]):
        raise ValueError(f"Tokenizer: {file}: a piece that merges must have at most {LONGEST} characters, got "
                         f"{len(names[long[0]]):,} in that of id {long[0]}")
    unk = "" if unknown is None else names[unknown]
    if units == "unigram":
        scores = [USER_SCORE if kind == USER_DEFINED else score for kind, score in zip(kinds, scores, strict=True)]
    source = _core.blank_source(names, kinds, scores, [], units, unk, byte_fallback, not byte_fallback, file)
    special = {CONTROL, UNKNOWN}
    found = special if units == "unigram" else special | {USER_DEFINED}
    added = [
        AddedToken(name, id, special=kind in special, normalized=kind not in special)
        for id, (name, kind) in enumerate(zip(names, kinds, strict=True))
        if kind in found
    ]
    return source, added


def _check(file: str, fields: dict[str, Any]) -> None:
    """Raises ValueError for what changes ids or text and is not done here."""
    expected = {
        "model": ((_UNIGRAM, _BPE), "trainer_spec.model_type", "1 (unigram) or 2 (BPE)"),
        "suffix": ((False,), "trainer_spec.treat_whitespace_as_suffix", "false"),
        "escapes": ((True,), "normalizer_spec.escape_whitespaces", "true"),
        "denormalizes": ((False,), "denormalizer_spec.precompiled_charsmap", "empty"),
    }
    for key, (good, name, words) in expected.items():
        if fields[key] not in good:
            raise ValueError(f"Tokenizer.load: {file}: {name} must be {words}, got {shown(fields[key])}")
    if fields["model"] == _BPE and UNUSED in fields["kinds"]:
        raise ValueError(f"Tokenizer.load: {file}: no piece of a BPE model must be of type 5 (unused), got piece "
                         f"{fields['kinds'].index(UNUSED)}")  # fmt: skip

"""Training a vocabulary and writing one to files. Reading is in tokenizer.py, learning in csrc/text/bpe_train.cpp."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nextword import _core
from nextword.files import whole
from nextword.text.added_tokens import AddedToken
from nextword.text.normalizer import Step
from nextword.text.pieces_save import pieces_parts, spelled_pieces
from nextword.text.template import Template
from nextword.text.template_json import post_processor
from nextword.text.words_json import words_parts

Progress = Callable[[str, int, int], None]

_BATCH = 1 << 24  # bytes of text that are counted in one call

# The pattern of each kind, as tokenizer.json spells it for Hugging Face's regular expressions.
REGEX = {
    "cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def learn(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    vocab_size: int,
    special_tokens: Sequence[str | AddedToken],
    min_frequency: int,
    pattern: str,
    progress: Progress | None,
) -> _core.VocabularySource:
    """What Tokenizer.train makes a tokenizer of."""
    for name, value, least in (("vocab_size", vocab_size, 256), ("min_frequency", min_frequency, 0)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"train: {name} must be an int of at least {least}, got {value!r}")
    added = [] if isinstance(special_tokens, str | AddedToken) else _numbered(special_tokens)
    names = [token.content for token in added]
    if isinstance(special_tokens, str | AddedToken) or len(set(names)) != len(names) or "" in names:
        raise ValueError(f"train: special_tokens must be distinct names that are not empty, got {special_tokens!r}")
    counts = _core.PieceCounts(pattern)
    batch: list[str | bytes] = []
    size = done = 0
    for text in _texts(source):
        batch.append(text)
        size += len(text)
        if size >= _BATCH:
            counts.add(batch)
            done, size, batch = done + size, 0, []
            if progress:
                progress("read", done, 0)
    counts.add(batch)
    if progress:
        progress("read", done + size, 0)
    wanted = vocab_size - 256 - len(names)
    report = None if progress is None else lambda made: progress("merge", made, wanted)
    learned = counts.learn(vocab_size, names, min_frequency, report)
    learned.added_tokens = added
    if progress:
        progress("merge", wanted, wanted)
    return learned


def _numbered(tokens: Iterable[str | AddedToken]) -> list[AddedToken]:
    """The tokens that get the first ids: a name is a special token, an AddedToken keeps its flags."""
    added = []
    for id, token in enumerate(tokens):
        if not isinstance(token, str | AddedToken):
            raise TypeError(f"train: special_tokens must hold str or AddedToken, got {type(token).__name__}")
        added.append(AddedToken(token, id) if isinstance(token, str) else token._replace(id=id))
    return added


def _texts(source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[str | bytes]:
    """Texts as they are; a path as the bytes of its file, or of the *.txt files of its folder."""
    if isinstance(source, str):
        raise TypeError(
            "train: source must be a path or several texts, got one str; write [text], or Path(name) for a file"
        )
    if isinstance(source, bytes):
        raise TypeError("train: source must be a path or several texts, got bytes")
    for item in [source] if isinstance(source, os.PathLike) else source:
        if isinstance(item, str):
            yield item
            continue
        if not isinstance(item, os.PathLike):
            raise TypeError(f"train: texts must be str, got {type(item).__name__}; a file is given as a pathlib.Path")
        path = Path(item)
        if not path.exists():
            raise FileNotFoundError(f"train: {path} does not exist; expected a text file or a folder of *.txt files")
        files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
        if not files:
            raise FileNotFoundError(f"train: no *.txt file in the folder {path}")
        for file in files:
            data = file.read_bytes()
            try:
                _core.check_utf8(data, file.name)
            except ValueError as error:
                raise ValueError(f"train: {error}; expected UTF-8") from None
            yield data


def save(
    tokenizer: _core.Bpe,
    added_tokens: Sequence[AddedToken],
    normalizer: Sequence[Step],
    template: Template,
    folder: str | os.PathLike[str],
) -> None:
    """Write the files that Tokenizer.save promises."""
    place = Path(folder)
    whole.make_folder("save", place)
    contents = {(token.id, token.content.encode()) for token in added_tokens}
    if tokenizer.units == "words":
        names = {id: tokenizer.token_bytes(id).decode() for id in filter(tokenizer.has, range(len(tokenizer)))}
        _write(place, {}, added_tokens, post_processor(template, names), words_parts(tokenizer, normalizer, names))
        return
    if tokenizer.units != "bytes":
        names = spelled_pieces(tokenizer, {token.id: token.content for token in added_tokens})
        parts = pieces_parts(tokenizer, normalizer, names)
        _write(place, {}, added_tokens, post_processor(template, names), parts)
        return
    merged = tokenizer._merges()
    made = {product for _, _, product in merged}
    spelled: dict[int, str] = {}
    for id in filter(tokenizer.has, range(len(tokenizer))):
        token = tokenizer.token_bytes(id)
        spelled[id] = token.decode() if id not in made and (id, token) in contents else spell(token)
    vocab = {spelling: id for id, spelling in spelled.items()}
    if len(vocab) != len(spelled):
        raise ValueError(
            "save: an added token is spelled like another token, so that the files could not tell them apart"
        )
    merges = [f"{spelled[left]} {spelled[right]}" for left, right, _ in merged]
    texts: dict[Path, whole.Content] = {}
    if tokenizer.pattern == "gpt2":
        texts[place / "vocab.json"] = json.dumps(vocab, ensure_ascii=False)
        texts[place / "merges.txt"] = "#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges)
    unknown = None if tokenizer.unknown is None else spelled[tokenizer.unknown]
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False}
    model |= {"ignore_merges": tokenizer.whole_pieces, "vocab": vocab, "merges": merges}
    parts = {
        "normalizer": _normalizer(normalizer),
        "pre_tokenizer": _pre_tokenizer(tokenizer),
        "decoder": _byte_level(tokenizer),
        "model": model,
    }
    _write(place, texts, added_tokens, post_processor(template, spelled), parts)


def _write(
    place: Path, texts: dict[Path, whole.Content], added: Sequence[AddedToken], around: Any, parts: dict[str, Any]
) -> None:
    """tokenizer.json beside other files. around: the post-processor."""
    described = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [token._asdict() for token in added],
        "normalizer": parts["normalizer"],
        "pre_tokenizer": parts["pre_tokenizer"],
        "post_processor": around,
        "decoder": parts["decoder"],
        "model": parts["model"],
    }
    whole.write("save", {**texts, place / "tokenizer.json": json.dumps(described, ensure_ascii=False)})


def _byte_level(tokenizer: _core.Bpe) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": tokenizer.prefix_space, "trim_offsets": True, "use_regex": True}


def _pre_tokenizer(tokenizer: _core.Bpe) -> dict[str, Any]:
    if tokenizer.pattern == "gpt2":
        return _byte_level(tokenizer)
    if tokenizer.pattern == "smollm":
        digits = {"type": "Digits", "individual_digits": True}
        return {"type": "Sequence", "pretokenizers": [digits, _byte_level(tokenizer)]}
    regex = {"Regex": REGEX[tokenizer.pattern]}
    split = {"type": "Split", "pattern": regex, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _byte_level(tokenizer) | {"use_regex": False}]}


def _normalizer(steps: Sequence[Step]) -> dict[str, Any] | None:
    written: list[dict[str, Any]] = []
    for kind, *texts in steps:
        if kind == "Prepend":
            written.append({"type": kind, "prepend": texts[0]})
        elif kind == "Replace":
            written.append({"type": kind, "pattern": {"String": texts[0]}, "content": texts[1]})
        else:
            written.append({"type": kind})
    return {"type": "Sequence", "normalizers": written} if len(written) > 1 else next(iter(written), None)


def spell(token: bytes) -> str:
    """The bytes in GPT-2's printable alphabet (csrc/text/byte_alphabet.h)."""
    return "".join(_ALPHABET[byte] for byte in token)


def _alphabet() -> list[str]:
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


_ALPHABET = _alphabet()

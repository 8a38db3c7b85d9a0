"""A vocabulary of words (WordPiece): of a tokenizer.json, or of vocab.txt and what tokenizer_config.json says with it.

What such files share with others is in json_parts.py; encoding is in csrc/text/wordpiece.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nextword import _core
from nextword.text.added_tokens import AddedToken
from nextword.text.json_parts import BERT_FLAGS, Settings, added_tokens, is_id, normalizer, spelled_step, unsupported
from nextword.text.normalizer import Step
from nextword.text.template_json import template

_NORMAL, _UNUSED = 1, 5  # kinds of tokens, by SentencePiece's numbers


def is_of_words(described: Any) -> bool:
    """Whether a tokenizer.json is of this kind."""
    model = described.get("model") if isinstance(described, dict) else None
    return isinstance(model, dict) and (model.get("type") == "WordPiece" or "max_input_chars_per_word" in model)


def read_words_json(file: str, described: dict[str, Any]) -> tuple[_core.VocabularySource, Settings, list[AddedToken]]:
    """The vocabulary, settings and added tokens. Raises ValueError that names file and field for what is refused."""
    model = described["model"]
    vocab, prefix = model.get("vocab"), model.get("continuing_subword_prefix", "##")
    unknown, longest = model.get("unk_token", "[UNK]"), model.get("max_input_chars_per_word", 100)
    good = isinstance(vocab, dict) and bool(vocab) and all(map(is_id, vocab.values()))
    if not good or not isinstance(prefix, str) or not isinstance(unknown, str) or not is_id(longest):
        expected = "vocab, unk_token, continuing_subword_prefix, max_input_chars_per_word"
        raise unsupported(file, "model", expected, sorted(model))
    if unknown not in vocab:
        raise unsupported(file, "model.unk_token", "a token of model.vocab", unknown)
    names = sorted(vocab, key=lambda name: int(vocab[name]))
    if [vocab[name] for name in names] != list(range(len(names))):
        raise unsupported(file, "model.vocab", f"tokens with the ids 0 .. {len(names) - 1}", "others")
    source = _core.word_source(names, [_NORMAL] * len(names), unknown, prefix, longest, file)
    pattern = _pre_tokenizer(file, described.get("pre_tokenizer"))
    cleans = _decoder(file, described.get("decoder"), prefix)
    found = Settings(pattern, False, tuple(normalizer(file, described.get("normalizer"))), cleans=cleans)
    found = found.around(template(file, described.get("post_processor")))
    return source, found, added_tokens(file, described.get("added_tokens") or [])


def read_words(path: Path, unknown: str) -> _core.VocabularySource:
    """The vocabulary of vocab.txt, a token a line; of lines that say the same, the last counts.

    Raises ValueError where it is not UTF-8 or a line is empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"Tokenizer.load: {path.name}: not UTF-8: {error}") from None
    names = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    last = {name: id for id, name in enumerate(names)}
    if "" in last:
        raise ValueError(f"Tokenizer.load: {path.name} line {last[''] + 1} is empty; expected one token a line")
    if unknown not in last:
        raise ValueError(f"Tokenizer.load: {path.name}: the unknown token {unknown} is not in it; name another as "
                         "unk_token in tokenizer_config.json")  # fmt: skip
    kinds = [_NORMAL if last[name] == id else _UNUSED for id, name in enumerate(names)]
    return _core.word_source(names, kinds, unknown, "##", 100, path.name)


def _pre_tokenizer(file: str, top: Any) -> str:
    """The splitting pattern."""
    kind = top.get("type") if isinstance(top, dict) else None
    if kind == "Sequence" and isinstance(top.get("pretokenizers"), list):
        kinds = [step.get("type") if isinstance(step, dict) else None for step in top["pretokenizers"]]
        if kinds in (["WhitespaceSplit", "BertPreTokenizer"], ["BertPreTokenizer"]):
            return "bert"
    elif kind in ("BertPreTokenizer", "WhitespaceSplit"):
        return "bert" if kind == "BertPreTokenizer" else "words"
    raise unsupported(file, "pre_tokenizer", "BertPreTokenizer or WhitespaceSplit with a WordPiece", top)


def _decoder(file: str, step: Any, prefix: str) -> bool:
    """Whether blanks before signs are left out of decoded text."""
    good = isinstance(step, dict) and step.get("type") == "WordPiece" and step.get("prefix", "##") == prefix
    if not good or not isinstance(step.get("cleanup", True), bool):
        raise unsupported(file, "decoder", f"WordPiece with the prefix {prefix!r}", step)
    return bool(step.get("cleanup", True))




def words_parts(tokenizer: _core.Bpe, steps: Sequence[Step], names: dict[int, str]) -> dict[str, Any]:
    """normalizer, pre_tokenizer, decoder and model of a vocabulary of words, for tokenizer.json.

    Raises ValueError where ids have holes or two tokens one name, which the file has no form for.
    """
    vocab = {name: id for id, name in names.items()}
    if len(vocab) != len(names) or [*names] != list(range(len(names))):
        raise ValueError("save: tokens must have ids without holes and names of their own to stand in tokenizer.json")
    prefix, unknown = tokenizer.word_prefix, tokenizer.unknown
    assert unknown is not None  # Vocabulary sees to it
    written = [_spelled(step) for step in steps]
    split = "BertPreTokenizer" if tokenizer.pattern == "bert" else "WhitespaceSplit"
    model = {"type": "WordPiece", "unk_token": names[unknown], "continuing_subword_prefix": prefix,
             "max_input_chars_per_word": tokenizer.longest_word, "vocab": vocab}  # fmt: skip
    return {
        "normalizer": {"type": "Sequence", "normalizers": written} if len(written) != 1 else written[0],
        "pre_tokenizer": {"type": split},
        "decoder": {"type": "WordPiece", "prefix": prefix, "cleanup": tokenizer.cleans},
        "model": model,
    }


def _spelled(step: Step) -> dict[str, Any]:
    kind, *texts = step
    if kind == "Bert":
        return {"type": "BertNormalizer", **dict(zip(BERT_FLAGS, (text == "true" for text in texts), strict=True))}
    return spelled_step(step)

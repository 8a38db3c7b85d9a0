"""What the vocabulary files of a folder say together: one verdict, whichever of them is read first.

What each says is put together as transformers does; where two disagree about an id, both are named and the folder is
refused. The form of each file is read in csrc/text/bpe_files.cpp and tokenizer_json.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nextword import _core
from nextword.files import whole
from nextword.text.added_tokens import AddedToken
from nextword.text.claims import ENDOFTEXT, Claim, Name, check, check_template, united, with_named
from nextword.text.encoder_kinds import BERT_STEP, KINDS, Kind, class_of, kind_of, with_wide_mask, words_steps
from nextword.text.encoder_pieces import FILES, read_encoder_pieces
from nextword.text.json_parts import FLAGS, Settings, is_id
from nextword.text.sentencepiece import read_sentencepiece
from nextword.text.tokenizer_json import read_tokenizer_json
from nextword.text.words_json import read_words

# Files that hold a vocabulary, the one that says most first; two belong together.
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
WORDS = "vocab.txt"  # WordPiece's, where there is none of these
MODEL = "tokenizer.model"  # SentencePiece's, where there is none of these
ACCEPTED = "vocab.json with merges.txt, encoder.json with vocab.bpe, tokenizer.json, vocab.txt or tokenizer.model"
# Files that say more about it.
CONFIG, ADDED, SPECIALS = "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"
# Vocabularies whose ids need more than the file says, or that are of other kinds.
OTHER_KINDS = (*FILES, "tekken.json")

# The names of special tokens, in the order in which transformers gives ids to those that have none.
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS = ("extra_special_tokens", "additional_special_tokens", "model_specific_special_tokens")
# The classes whose tokenizer is GPT-2's where there is no tokenizer.json to say what it is.
_GPT2 = ("GPT2Tokenizer", "GPT2TokenizerFast")
# Those whose ids are what tokenizer.model says, with a token that begins a text unless add_bos_token is false.
_LLAMA = ("LlamaTokenizer", "LlamaTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast")


class Verdict(NamedTuple):
    """What Tokenizer is made of."""

    source: _core.VocabularySource
    settings: Settings


def read_files(paths: list[Path]) -> Verdict:
    """One vocabulary: of tokenizer.json, or of vocab.json and merges.txt. Other files beside them are not looked at."""
    source, settings, added = _read(paths)
    if paths[0].name == WORDS:
        return _words_alone(source, settings)
    check(source, united([Claim(token, paths[0].name) for token in added], set()))
    check_template(source, settings, added, paths[0].name)
    source.added_tokens = added
    if paths[0].suffix == ".model":  # SentencePiece puts nothing around a text
        settings = settings._replace(beginning=(), ending=())
    return Verdict(source, settings)


def _words_alone(source: _core.VocabularySource, settings: Settings) -> Verdict:
    """vocab.txt without what stands beside it: BERT's, with those of its special tokens that it has."""
    kind = KINDS["BertTokenizer"]
    ids = dict(zip(kind.names, source.ids_of(list(kind.names.values())), strict=True))
    special = {key: id for key, id in ids.items() if id is not None}
    source.added_tokens = [AddedToken(kind.names[key], id) for key, id in special.items()]
    if {"cls_token", "sep_token"} <= special.keys():
        settings = settings.around(kind.around(special["cls_token"], special["sep_token"]))
    return Verdict(source, settings._replace(special_ids=special))


def read_folder(folder: Path) -> Verdict:
    """The vocabulary of a folder, of all the files that say something about it.

    Raises FileNotFoundError if there is none, ValueError that names file and field, or both files.
    """
    found = [[folder / name for name in names] for names in VOCABULARIES if _all_present(folder, names)]
    config = _object(folder / CONFIG)
    kind = _kind(folder, config)
    if not found:
        ones = (WORDS, *FILES) if kind and kind.units == "pieces" else (WORDS, MODEL)
        others = [folder / name for name in ones if _present(folder / name)]
        found = [[path] for path in others[:1]]
    if not found:
        raise FileNotFoundError(f"Tokenizer.load: no vocabulary in the folder {folder}; expected {ACCEPTED}"
                                f"{_what_is_there(folder)}")  # fmt: skip
    if found[0][0].name == WORDS and kind is None:
        if (given := config.get("tokenizer_class")) is not None:
            raise _refused(CONFIG, "tokenizer_class", f"BertTokenizer or its like with {WORDS}", given)
        kind = kind_of("BertTokenizer")
    source, settings, listed = _read(found[0], config, kind)
    for paths in found[1:]:
        _core.join_vocabularies(source, _core.read_vocab_and_merges(*map(os.fspath, paths)))
    file = found[0][0].name
    pieces = file == MODEL
    alone = file != "tokenizer.json" and not pieces and file not in FILES
    units = "words" if file == WORDS else "pieces" if file in FILES else "bytes"
    if kind and file != "tokenizer.json" and kind.units != units:
        kind = None  # then _is_gpt2 refuses the class
    is_gpt2 = kind is None and _is_gpt2(folder, config, alone, pieces) and not pieces
    decoder = _added_tokens_decoder(config)
    names = kind.names if kind else dict.fromkeys(("bos_token", "eos_token", "unk_token"), ENDOFTEXT) if is_gpt2 else {}
    if kind and file == "tokenizer.json":  # those that are in the vocabulary
        here = {token.content for token in listed}
        here |= {name for name in names.values() if source.ids_of([name])[0] is not None}
        names = {key: name for key, name in names.items() if name in here}
    named = _named(folder, config, names, legacy=decoder is None)
    if kind and kind.wide_mask:
        named = [with_wide_mask(name) for name in named]

    claims = [Claim(token, "tokenizer.json") for token in listed]
    configured = [Claim(token, CONFIG) for token in decoder or ()]
    claims = configured + claims  # the first that tells of a token has its flags
    claims += [Claim(token, ADDED) for token in _added_tokens_json(folder, {name.token.content for name in named})]
    claims = united(claims, {name.token.content for name in named if name.key not in _LISTS})
    check(source, claims)
    edges = [f"{name}_token" for name in ("bos", "eos") if alone and _flag(config, f"add_{name}_token")]
    added = with_named(source, claims, named, edges)

    if (is_gpt2 or (kind and kind.units == "bytes")) and config.get("add_prefix_space") is not None:
        settings = settings._replace(prefix_space=_flag(config, "add_prefix_space"))
        if settings.prefix_space and settings.pattern != "gpt2":
            raise _refused(CONFIG, "add_prefix_space", f"false with the pattern of {file}", True)
    if pieces:
        settings = _around(config, settings, named, added)
    ids = {token.content: token.id for token in added}
    special = {name.key: ids[name.token.content] for name in named if name.key in _NAMED and name.token.content in ids}
    if kind and kind.units == "words":
        settings = settings._replace(normalizer=words_steps(config, kind, settings.normalizer))
    if kind and file != "tokenizer.json":
        missing = [key for key in ("cls_token", "sep_token") if key not in special]
        if missing:
            raise _refused(CONFIG, missing[0], "a token", None)
        around = kind.around(special["cls_token"], special["sep_token"])
        settings = settings.around(around._replace(after_prefix=bool(settings.prefix_space)))
    elif alone:  # else tokenizer.json has said what begins and ends a text
        begin, end = (tuple(ids[name.token.content] for name in named if name.key == key and key in edges)
                      for key in ("bos_token", "eos_token"))  # fmt: skip
        settings = settings._replace(beginning=begin, ending=end)
    check_template(source, settings, added, file)
    source.added_tokens = added
    longest = config.get("model_max_length")
    if not isinstance(longest, int) or not 0 < longest < 1 << 30:  # transformers writes 10^30 for none
        longest = None
    return Verdict(source, settings._replace(special_ids=special, max_length=longest))


def _kind(folder: Path, config: dict[str, Any]) -> Kind | None:
    """What an encoder's tokenizer does, None where it is no encoder's: of its class, else of its model."""
    model = _object(folder / "config.json")
    name = config.get("tokenizer_class") or model.get("tokenizer_class")
    return kind_of(name or class_of(model.get("model_type")))


def _around(config: dict[str, Any], settings: Settings, named: list[Name], added: list[AddedToken]) -> Settings:
    """What begins and ends a text of a tokenizer.model: the tokens named by tokenizer_config.json, else the file's."""
    ids = {token.content: token.id for token in added}
    around = []
    for name, default, own in (("bos", True, settings.beginning), ("eos", False, settings.ending)):
        key = f"add_{name}_token"
        wanted = default if config.get(key) is None else _flag(config, key)
        told = tuple(ids[one.token.content] for one in named if one.key == f"{name}_token")
        around.append((told or own) if wanted else ())
    return settings._replace(beginning=around[0], ending=around[1])


def _is_gpt2(folder: Path, config: dict[str, Any], alone: bool, pieces: bool) -> bool:
    """Whether transformers would take its class for GPT-2. Raises ValueError for a class that this library is not.

    alone: there is no tokenizer.json to say what to do. pieces: there is tokenizer.model alone.
    """
    if "fast_tokenizer_files" in config and config["fast_tokenizer_files"] != ["tokenizer.json"]:
        raise _refused(CONFIG, "fast_tokenizer_files", '["tokenizer.json"]', config["fast_tokenizer_files"])
    kinds = {CONFIG: config.get("tokenizer_class")}
    kinds["config.json"] = kinds[CONFIG] or _object(folder / "config.json").get("tokenizer_class")
    file, kind = next(((file, kind) for file, kind in kinds.items() if kind is not None), (CONFIG, None))
    if pieces and kind is not None and kind not in _LLAMA:
        raise _refused(file, "tokenizer_class", f"one of {', '.join(_LLAMA)} where there is {MODEL} alone", kind)
    if kind is None or kind in _GPT2:
        return True
    if alone:
        raise _refused(file, "tokenizer_class", "GPT2Tokenizer where there is no tokenizer.json", kind)
    return False


def _read(
    paths: list[Path], config: dict[str, Any] | None = None, kind: Kind | None = None
) -> tuple[_core.VocabularySource, Settings, list[AddedToken]]:
    if paths[0].name == WORDS:
        unknown = (config or {}).get("unk_token", "[UNK]")
        unknown = unknown.get("content") if isinstance(unknown, dict) else unknown
        if not isinstance(unknown, str):
            raise _refused(CONFIG, "unk_token", "a token", unknown)
        return read_words(paths[0], unknown), Settings("bert", normalizer=(BERT_STEP,), cleans=True), []
    if paths[0].name in FILES and kind:
        return read_encoder_pieces(paths[0], kind.name, config or {})
    if paths[0].suffix == ".model":
        found = read_sentencepiece(paths[0])
        pattern = "blanks" if found.source.begins_words else "whole"
        beginning, ending = (() if id is None else (id,) for id in (found.begin, found.end))
        settings = Settings(pattern, False, found.normalizer, beginning, ending, found.trimmed)
        return found.source, settings, found.added
    if len(paths) == 1:
        return read_tokenizer_json(os.fspath(paths[0]), paths[0].name)
    return _core.read_vocab_and_merges(*map(os.fspath, paths)), Settings(), []


def _what_is_there(folder: Path) -> str:
    """Why files that are there are not enough, for a message."""
    for names in VOCABULARIES:
        there = [name for name in names if _present(folder / name)]
        if there:
            return f"; {there[0]} is there, but not {next(name for name in names if name not in there)}"
    others = [name for name in OTHER_KINDS if _present(folder / name)]
    return f"; {others[0]} is of another kind" if others else ""


def _present(path: Path) -> bool:
    return whole.present("Tokenizer.load", path)


def _all_present(folder: Path, names: Sequence[str]) -> bool:
    return min([_present(folder / name) for name in names])  # each is looked at, so that a broken one is named


def _refused(file: str, key: str, expected: str, got: object) -> ValueError:
    return ValueError(f"Tokenizer.load: {file}: {key} must be {expected}, got {json.dumps(got)[:300]}")


def _object(path: Path) -> dict[str, Any]:
    """The JSON object of a file, empty where there is no file."""
    if not _present(path):
        return {}
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Tokenizer.load: {path.name}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"Tokenizer.load: {path.name} must be a JSON object, got {type(found).__name__}")
    return found


def _flag(config: dict[str, Any], key: str) -> bool:
    value = config.get(key)
    if value is not None and not isinstance(value, bool):
        raise _refused(CONFIG, key, "true or false", value)
    return bool(value)


def _token(file: str, key: str, given: Any, id: int, special: bool) -> AddedToken:
    """A token as a text or an object with content and flags."""
    content, flags = (given, {}) if isinstance(given, str) else (None, {})
    if isinstance(given, dict):
        content, flags = given.get("content"), {flag: given[flag] for flag in FLAGS if flag in given}
    if not isinstance(content, str) or not content or not all(isinstance(flag, bool) for flag in flags.values()):
        raise _refused(file, key, "a token, as text or as an object with content and flags", given)
    return AddedToken(content, id, **{"special": special, **flags})


def _added_tokens_decoder(config: dict[str, Any]) -> list[AddedToken] | None:
    """The tokens of tokenizer_config.json by their ids, None where it has no such field."""
    if "added_tokens_decoder" not in config:
        return None
    given = config["added_tokens_decoder"]
    if not isinstance(given, dict) or not all(key.isdecimal() and is_id(int(key)) for key in given):
        raise _refused(CONFIG, "added_tokens_decoder", "an object of ids", given)
    tokens = [_token(CONFIG, f"added_tokens_decoder.{key}", token, int(key), False) for key, token in given.items()]
    return sorted(tokens, key=lambda token: token.id)


def _added_tokens_json(folder: Path, special: set[str]) -> list[AddedToken]:
    """The tokens of added_tokens.json, which has their ids and no flags."""
    given = _object(folder / ADDED)
    if not all(content and is_id(id) for content, id in given.items()):
        raise ValueError(f"Tokenizer.load: {ADDED} must be an object of tokens and their ids, got {str(given)[:300]}")
    return sorted((AddedToken(content, id, content in special) for content, id in given.items()), key=lambda t: t.id)


def _named(folder: Path, config: dict[str, Any], names: Mapping[str, str], legacy: bool) -> list[Name]:
    """The special tokens by name, in the order of transformers.

    names: the tokens that its class has unless it is told otherwise.
    legacy: tokenizer_config.json has no added_tokens_decoder; only then special_tokens_map.json counts, and more.
    """
    fields = {key: (value, CONFIG) for key, value in config.items() if _names_tokens(key, value)}
    if legacy:
        mapped = {key: value for key, value in _object(folder / SPECIALS).items() if _names_tokens(key, value)}
        known = {*_NAMED, *_LISTS, *(mapped.keys() - fields.keys())}  # of its own names the other file's come first
        fields |= {key: (value, SPECIALS) for key, value in mapped.items() if key in known}
    fields = {key: (name, CONFIG) for key, name in names.items()} | fields
    own = [key for key in fields if key not in _NAMED and key not in _LISTS]
    found = []
    for key in (*_NAMED, *own, *_LISTS):
        value, file = fields.get(key, (None, CONFIG))
        found += [Name(key, _token(file, key, given, 0, True)._replace(special=True)) for given in _several(value)]
    return found


def _names_tokens(key: str, value: Any) -> bool:
    """Whether a field names special tokens; add_bos_token and its like are flags."""
    return key in _NAMED or key in _LISTS or (key.endswith("_token") and isinstance(value, str | dict))


def _several(given: Any) -> Iterator[Any]:
    """The tokens of a field: none, one, a list, or an object of them by name."""
    if isinstance(given, dict) and "content" not in given:
        yield from given.values()
    elif isinstance(given, list):
        yield from given
    elif given is not None:
        yield given

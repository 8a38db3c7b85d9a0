"""What the vocabulary files of a folder say together: one verdict, whichever of them is read first.

What each says is put together as transformers does; where two disagree about an id, both are named and the folder is
refused. The form of each file is read in csrc/text/bpe_files.cpp and tokenizer_json.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nextword import _core
from nextword.files import whole
from nextword.text.added_tokens import AddedToken
from nextword.text.json_parts import FLAGS, Settings, is_id
from nextword.text.sentencepiece import read_sentencepiece
from nextword.text.tokenizer_json import read_tokenizer_json

# Files that hold a vocabulary, the one that says most first; two belong together.
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
MODEL = "tokenizer.model"  # SentencePiece's, where there is none of these
ACCEPTED = "vocab.json with merges.txt, encoder.json with vocab.bpe, tokenizer.json, or tokenizer.model"
# Files that say more about it.
CONFIG, ADDED, SPECIALS = "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"
# Vocabularies whose ids need more than the file says, or that are of other kinds.
OTHER_KINDS = ("vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tekken.json")

ENDOFTEXT = "<|endoftext|>"
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


class _Claim(NamedTuple):
    """An added token, and the file that says so."""

    token: AddedToken
    file: str


def read_files(paths: list[Path]) -> Verdict:
    """One vocabulary: of tokenizer.json, or of vocab.json and merges.txt. Other files beside them are not looked at."""
    source, settings, added = _read(paths)
    _check(source, _united([_Claim(token, paths[0].name) for token in added], set()))
    _check_template(source, settings, added, paths[0].name)
    source.added_tokens = added
    if paths[0].suffix == ".model":  # SentencePiece puts nothing around a text
        settings = settings._replace(beginning=(), ending=())
    return Verdict(source, settings)


def read_folder(folder: Path) -> Verdict:
    """The vocabulary of a folder, of all the files that say something about it.

    Raises FileNotFoundError if there is none, ValueError that names file and field, or both files.
    """
    found = [[folder / name for name in names] for names in VOCABULARIES if _all_present(folder, names)]
    if not found and _present(folder / MODEL):
        found = [[folder / MODEL]]
    if not found:
        raise FileNotFoundError(f"Tokenizer.load: no vocabulary in the folder {folder}; expected {ACCEPTED}"
                                f"{_what_is_there(folder)}")  # fmt: skip
    source, settings, listed = _read(found[0])
    for paths in found[1:]:
        _core.join_vocabularies(source, _core.read_vocab_and_merges(*map(os.fspath, paths)))
    file = found[0][0].name
    pieces = file == MODEL
    alone = file != "tokenizer.json" and not pieces
    config = _object(folder / CONFIG)
    is_gpt2 = _is_gpt2(folder, config, alone, pieces) and not pieces
    decoder = _added_tokens_decoder(config)
    named = _named(folder, config, is_gpt2, legacy=decoder is None)

    claims = [_Claim(token, "tokenizer.json") for token in listed]
    configured = [_Claim(token, CONFIG) for token in decoder or ()]
    claims = configured + claims  # the first that tells of a token has its flags
    claims += [_Claim(token, ADDED) for token in _added_tokens_json(folder, {name.token.content for name in named})]
    claims = _united(claims, {name.token.content for name in named if name.key not in _LISTS})
    _check(source, claims)
    edges = [f"{name}_token" for name in ("bos", "eos") if alone and _flag(config, f"add_{name}_token")]
    added = _with_named(source, claims, named, edges)

    if is_gpt2 and config.get("add_prefix_space") is not None:
        settings = settings._replace(prefix_space=_flag(config, "add_prefix_space"))
        if settings.prefix_space and settings.pattern != "gpt2":
            raise _refused(CONFIG, "add_prefix_space", f"false with the pattern of {file}", True)
    if pieces:
        settings = _around(config, settings, named, added)
    if alone:  # else tokenizer.json has said what begins and ends a text
        ids = {token.content: token.id for token in added}
        begin, end = (tuple(ids[name.token.content] for name in named if name.key == key and key in edges)
                      for key in ("bos_token", "eos_token"))  # fmt: skip
        settings = settings._replace(beginning=begin, ending=end)
    _check_template(source, settings, added, file)
    source.added_tokens = added
    return Verdict(source, settings)


def _around(config: dict[str, Any], settings: Settings, named: list[_Name], added: list[AddedToken]) -> Settings:
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


def _read(paths: list[Path]) -> tuple[_core.VocabularySource, Settings, list[AddedToken]]:
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


class _Name(NamedTuple):
    """A special token that a file names, without an id, and the field."""

    key: str
    token: AddedToken


def _named(folder: Path, config: dict[str, Any], is_gpt2: bool, legacy: bool) -> list[_Name]:
    """The special tokens by name, in the order of transformers.

    legacy: tokenizer_config.json has no added_tokens_decoder; only then special_tokens_map.json counts, and more.
    """
    fields = {key: (value, CONFIG) for key, value in config.items() if _names_tokens(key, value)}
    if legacy:
        mapped = {key: value for key, value in _object(folder / SPECIALS).items() if _names_tokens(key, value)}
        known = {*_NAMED, *_LISTS, *(mapped.keys() - fields.keys())}  # of its own names the other file's come first
        fields |= {key: (value, SPECIALS) for key, value in mapped.items() if key in known}
    if is_gpt2:  # the tokens that GPT2Tokenizer has unless it is told otherwise
        fields = dict.fromkeys(("bos_token", "eos_token", "unk_token"), (ENDOFTEXT, CONFIG)) | fields
    own = [key for key in fields if key not in _NAMED and key not in _LISTS]
    found = []
    for key in (*_NAMED, *own, *_LISTS):
        value, file = fields.get(key, (None, CONFIG))
        found += [_Name(key, _token(file, key, given, 0, True)._replace(special=True)) for given in _several(value)]
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


def _united(claims: list[_Claim], special: set[str]) -> list[_Claim]:
    """Each token once, with the flags of its first claim. Raises ValueError where two disagree in ids.

    special: tokens that have a part of their own, such as bos_token, and are special whatever their flags.
    """
    by_content: dict[str, _Claim] = {}
    by_id: dict[int, _Claim] = {}
    for claim in claims:
        token, file = claim
        same, other = by_content.get(token.content), by_id.get(token.id)
        if same and same.token.id != token.id:
            raise ValueError(f"Tokenizer.load: {file}: the token {token.content!r} is given a second time, with id "
                             f"{token.id} after id {same.token.id} in {same.file}; remove one of them")  # fmt: skip
        if other and other.token.content != token.content and other.file != file:  # one file may give two names
            raise ValueError(f"Tokenizer.load: {file}: id {token.id} is {token.content!r}, but "
                             f"{other.token.content!r} in {other.file}; remove one of them")  # fmt: skip
        if same is None:
            is_special = token.special or token.content in special
            by_content[token.content] = _Claim(token._replace(special=is_special), file)
            by_id.setdefault(token.id, by_content[token.content])
    return list(by_content.values())


def _check(source: _core.VocabularySource, claims: list[_Claim]) -> None:
    """Raises ValueError where a file gives a token of the vocabulary another id."""
    known = source.ids_of([claim.token.content for claim in claims])
    for (token, file), id in zip(claims, known, strict=True):
        if id is not None and id != token.id:
            raise ValueError(f"Tokenizer.load: {file}: the token {token.content!r} is given a second time, with id "
                             f"{token.id} after id {id} in {source.tokens_file}; remove one of them")  # fmt: skip
    taken = source.names_of([claim.token.id for claim in claims])
    for (token, file), name in zip(claims, taken, strict=True):
        if name and name != token.content and file != source.tokens_file:
            raise ValueError(f"Tokenizer.load: {file}: id {token.id} is {token.content!r}, but {name!r} in "
                             f"{source.tokens_file}; remove one of them")  # fmt: skip


def _with_named(
    source: _core.VocabularySource, claims: list[_Claim], named: list[_Name], edges: list[str]
) -> list[AddedToken]:
    """The added tokens, and those that have only a name: with the id that the vocabulary has for them, else with the
    next ones, as transformers gives them out. ENDOFTEXT, which no file may have named, becomes no token for itself."""
    added = {claim.token.content: claim.token for claim in claims}
    fresh: dict[str, AddedToken] = {}
    for _, token in named:
        if token.content not in added:
            fresh.setdefault(token.content, token)
    ids = dict(zip(fresh, source.ids_of(list(fresh)), strict=True))
    missing = [content for content, id in ids.items() if id is None]
    next_id = max([source.next_id, *(token.id + 1 for token in added.values())])
    if missing != [ENDOFTEXT] or any(name.token.content == ENDOFTEXT for name in named if name.key in edges):
        ids |= dict(zip(missing, range(next_id, next_id + len(missing)), strict=True))
    added |= {content: fresh[content]._replace(id=id) for content, id in ids.items() if id is not None}
    return list(added.values())


def _check_template(source: _core.VocabularySource, settings: Settings, added: list[AddedToken], file: str) -> None:
    """Raises ValueError where no token has an id that begins or ends every text."""
    known = {token.id for token in added}
    ids = [id for id in (*settings.beginning, *settings.ending) if id not in known]
    for id, name in zip(ids, source.names_of(ids), strict=True):
        if not name:
            raise ValueError(f"Tokenizer.load: {file}: post_processor names id {id}, which no token has")

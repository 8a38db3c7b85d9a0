"""Tokens that several files of a folder tell of: put together, and checked against its vocabulary."""

from __future__ import annotations

from typing import NamedTuple

from nextword import _core
from nextword.text.added_tokens import AddedToken
from nextword.text.json_parts import Settings

ENDOFTEXT = "<|endoftext|>"


class Claim(NamedTuple):
    """An added token, and the file that says so."""

    token: AddedToken
    file: str


class Name(NamedTuple):
    """A special token that a file names, without an id, and the field."""

    key: str
    token: AddedToken


def united(claims: list[Claim], special: set[str]) -> list[Claim]:
    """Each token once, with the flags of its first claim. Raises ValueError where two disagree in ids.

    special: tokens that have a part of their own, such as bos_token, and are special whatever their flags.
    """
    by_content: dict[str, Claim] = {}
    by_id: dict[int, Claim] = {}
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
            by_content[token.content] = Claim(token._replace(special=is_special), file)
            by_id.setdefault(token.id, by_content[token.content])
    return list(by_content.values())


def check(source: _core.VocabularySource, claims: list[Claim]) -> None:
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


def with_named(
    source: _core.VocabularySource, claims: list[Claim], named: list[Name], edges: list[str]
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


def check_template(source: _core.VocabularySource, settings: Settings, added: list[AddedToken], file: str) -> None:
    """Raises ValueError where no token has an id that begins or ends every text."""
    known = {token.id for token in added}
    ids = [id for id in (*settings.beginning, *settings.ending) if id not in known]
    for id, name in zip(ids, source.names_of(ids), strict=True):
        if not name:
            raise ValueError(f"Tokenizer.load: {file}: post_processor names id {id}, which no token has")

"""Tokens for the page: their texts and bytes, and which of them are whole characters only together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nextword.page.answers import Group, Merge, Piece, Texts, Token
from nextword.page.errors import Refused
from nextword.text.ids import fragment
from nextword.text.merges import Order, merge_steps

if TYPE_CHECKING:
    from nextword.text.tokenizer import Tokenizer


def shown(token: bytes) -> str:
    """Bytes as text; those that are no character stand as <F0>.

    >>> shown(b" time"), shown(b"\\xf0\\x9f")
    (' time', '<F0><9F>')
    """
    def sign(c: str) -> str:
        return f"<{ord(c) - 0xDC00:02X}>" if 0xDC80 <= ord(c) <= 0xDCFF else c

    return "".join(map(sign, token.decode("utf-8", "surrogateescape")))


def token_bytes(tokenizer: Tokenizer | None, token: int) -> bytes:
    """The bytes of a token; of one without a text, its number in brackets."""
    if tokenizer is not None and tokenizer.has(token):
        return tokenizer.token_bytes(token)
    return f"[{token}]".encode()


def texts_of(tokenizer: Tokenizer | None, tokens: Iterable[int]) -> Texts:
    """id -> text, of each token once."""
    return {str(id): shown(token_bytes(tokenizer, id)) for id in sorted(set(tokens))}


def described(tokenizer: Tokenizer | None, ids: list[int]) -> tuple[str, list[Token], list[Group]]:
    """The text of some ids, each token's place in it, and the groups of tokens that are whole characters together."""
    every = [token_bytes(tokenizer, id) for id in ids]
    tokens: list[Token] = []
    groups: list[Group] = []
    held, first, at = b"", 0, 0
    for i, (id, own) in enumerate(zip(ids, every, strict=True)):
        tokens.append({"id": id, "text": shown(own), "bytes": own.hex(), "start": at, "end": at + len(own),
                       "group": len(groups)})
        at += len(own)
        held += own
        if i + 1 == len(ids) or not _open(held):
            groups.append({"first": first, "last": i + 1, "text": shown(held)})
            held, first = b"", i + 1
    return shown(b"".join(every)), tokens, groups


def typed(tokenizer: Tokenizer | None, ids: list[int]) -> str | None:
    """The text that has these ids, behind what the tokenizer sets before each text; None if there is none.

    >>> import nextword
    >>> tokenizer = nextword.load().tokenizer
    >>> typed(tokenizer, tokenizer.encode("Once upon")), typed(tokenizer, tokenizer.encode("é")[:1])
    ('Once upon', None)
    """
    if tokenizer is None:
        return None
    beginning = list(tokenizer.beginning)
    text = tokenizer.decode(ids[len(beginning):])
    return text if [*beginning, *tokenizer.encode(text, add_special_tokens=False)] == ids else None


def _open(data: bytes) -> bool:
    """Whether the bytes end within a character that others may complete."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def pieces_of(tokenizer: Tokenizer, text: str, order: Order, longest: int) -> list[Piece]:
    """How each piece of a text is merged; one of more than `longest` bytes has its last state alone."""
    found: list[Piece] = []
    for piece in tokenizer.pieces(text):
        steps: list[Merge] = []
        if len(piece) <= longest:
            for parts, pair, made in merge_steps(tokenizer, piece, order):
                at = None
                rank = None
                if pair is not None:
                    left = next(i for i in range(len(parts) - 1) if (parts[i], parts[i + 1]) == pair)
                    at, rank = left, order[tokenizer.id_of(pair[0]), tokenizer.id_of(pair[1])][0]
                steps.append({"parts": [shown(part) for part in parts], "at": at, "made": made, "rank": rank})
        else:
            steps.append({"parts": [shown(tokenizer.token_bytes(id)) for id in tokenizer.encode(
                piece.decode("utf-8", "surrogateescape"))], "at": None, "made": None, "rank": None})
        found.append({"text": shown(piece), "steps": steps})
    return found


def one_token(op: str, argument: str, given: Any, tokenizer: Tokenizer | None, size: int) -> int:
    """The id of a word that is one token, or an id."""
    if isinstance(given, int) and not isinstance(given, bool):
        if 0 <= given < size:
            return given
        raise Refused("bad_argument", f"{op}: {argument} must be a token id 0 .. {size - 1}, got {str(given)[:40]}",
                      argument=argument)
    if not isinstance(given, str) or len(given) > 200:
        raise Refused("bad_argument", f"{op}: {argument} must be a text of one token or an id", argument=argument)
    if tokenizer is None:
        raise Refused("no_tokenizer", f"{op}: {argument} must be an id, as the model has no vocabulary",
                      argument=argument)
    ids = fragment(tokenizer, given)
    if len(ids) != 1:
        parts = [shown(token_bytes(tokenizer, id)) for id in ids]
        raise Refused("not_one_token", f"{op}: {argument} must be one token, got {len(ids)}: {given[:40]!r}",
                      argument=argument, word=given, tokens=parts)
    return ids[0]

"""How a word's bytes come together to tokens, merge by merge: what byte-pair encoding does, as steps to be shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from nextword.text.tokenizer import Tokenizer

Order = Mapping[tuple[int, int], tuple[int, int]]
Step = tuple[list[bytes], tuple[bytes, bytes] | None, int | None]


def merge_order(tokenizer: Tokenizer) -> dict[tuple[int, int], tuple[int, int]]:
    """Rank and product of each pair of ids that may merge.

    >>> import nextword
    >>> order = merge_order(nextword.load().tokenizer)
    >>> min(order.values())[0]
    0
    """
    return {(left, right): (rank, made) for rank, (left, right, made) in enumerate(tokenizer._merges())}


def merge_steps(tokenizer: Tokenizer, piece: bytes, order: Order) -> Iterator[Step]:
    """How the bytes of one piece come together: its parts, the pair of them that merges next, and the id it makes.

    order: what merge_order gives. The last step has no pair. The lowest rank merges first, then the leftmost.

    >>> import nextword
    >>> tokenizer = nextword.load().tokenizer
    >>> [parts for parts, _, _ in merge_steps(tokenizer, b" the", merge_order(tokenizer))]
    [[b' ', b't', b'h', b'e'], [b' ', b't', b'he'], [b' t', b'he'], [b' the']]
    """
    whole = tokenizer.find(piece)
    added = any(token.id == whole and not token.special for token in tokenizer.added_tokens)
    if whole is not None and (tokenizer.whole_pieces or added):
        yield [piece], None, whole
        return
    if tokenizer.units == "unigram":  # nothing merges
        yield [piece], None, whole
        return
    ids = _first_ids(tokenizer, piece)
    while True:
        parts = [tokenizer.token_bytes(id) for id in ids]
        pairs = [(order[pair][0], i) for i, pair in enumerate(itertools.pairwise(ids)) if pair in order]
        if not pairs:
            yield parts, None, None
            return
        at = min(pairs)[1]
        made = order[ids[at], ids[at + 1]][1]
        yield parts, (parts[at], parts[at + 1]), made
        ids[at : at + 2] = [made]


def _first_ids(tokenizer: Tokenizer, piece: bytes) -> list[int]:
    """What a piece is before anything merges: its bytes, or its characters, those without a token as bytes."""
    if tokenizer.units == "bytes":
        return [tokenizer.id_of(piece[i : i + 1]) for i in range(len(piece))]
    ids: list[int] = []
    for character in piece.decode():
        found = [tokenizer.find(character)] if tokenizer.find(character) is not None else []
        found = found or [tokenizer.find(bytes([byte])) for byte in character.encode()]
        ids += [tokenizer.unknown or 0] if None in found else [id for id in found if id is not None]
    return ids

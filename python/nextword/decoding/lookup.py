"""Drafts out of the text itself: what followed the same tokens earlier."""

from collections.abc import Sequence

from nextword.decoding.drafting import Asked

LONGEST = 4  # tokens that are looked up at most


class Index:
    """A text in which what followed its last tokens earlier is found at once, however long it is.

    For every 1 .. 4 tokens in a row it knows the place after the last time that they stood there.

    >>> index = Index()
    >>> index.extend([7, 8, 9, 5, 8])
    >>> index.continuation(5)
    [9, 5, 8, 9, 5]
    """

    def __init__(self) -> None:
        self.text: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}

    def extend(self, tokens: Sequence[int]) -> None:
        """Add tokens to the text."""
        for token in tokens:
            at = len(self.text)
            for length in range(1, min(LONGEST, at) + 1):
                self._after[tuple(self.text[at - length :])] = at
            self.text.append(token)

    def continuation(self, most: int) -> list[int]:
        """What followed the last time that the text's last 4 tokens stood in it, or 3, 2, 1 of them; none if they never
        did. What reaches the text's end goes on from itself, as a repetition does."""
        for length in range(min(LONGEST, len(self.text)), 0, -1):
            at = self._after.get(tuple(self.text[-length:]))
            if at is not None:
                return [self.text[at + i % (len(self.text) - at)] for i in range(most)]
        return []


class Lookup:
    """Guesses that a text goes on as it did after the same tokens before (prompt lookup decoding, Saxena 2023)."""

    def __init__(self, rows: int) -> None:
        self._indices = [Index() for _ in range(rows)]

    def begin(self, slot: int) -> None:
        """The text of the slot is another."""
        self._indices[slot] = Index()

    def guess(self, asked: Sequence[Asked]) -> list[list[int]]:
        """For each row what followed its last tokens earlier in its prompt and text."""
        for one in asked:
            index = self._indices[one.slot]
            index.extend(one.row.ids(len(index.text)).tolist())
        return [self._indices[one.slot].continuation(one.most) for one in asked]

"""Shares: how many tokens each of those who ask has been served, so that who was served the least comes next."""

from collections.abc import Iterable

KEPT = 1000  # that are away whose tokens are remembered


class Shares:
    """Tokens by name. Who comes back counts as served as the least of those who are there, so that time away earns
    nothing (Sheng et al. 2024, Fairness in Serving Large Language Models).

    >>> shares = Shares()
    >>> shares.come("a", 1, shares.least(shares.there))
    >>> shares.add("a", 5)
    >>> shares.come("b", 1, shares.least(shares.there))
    >>> shares.served["b"]
    5
    """

    def __init__(self) -> None:
        self.served: dict[str, int] = {}
        self.there: dict[str, int] = {}  # rows that wait or run

    def least(self, names: Iterable[str], default: int = 0) -> int:
        """What the one of these names was served that was served the least."""
        return min((self.served[name] for name in names), default=default)

    def come(self, name: str, rows: int, least: int) -> None:
        """So many more rows of a name are there. least: as what it counts as served at least, if it comes only now."""
        if name not in self.there:
            self.served[name] = max(self.served.get(name, 0), least)
        self.there[name] = self.there.get(name, 0) + rows

    def add(self, name: str, tokens: int) -> None:
        """A name got so many tokens."""
        self.served[name] += tokens

    def leave(self, name: str, rows: int) -> None:
        """So many rows of a name have ended."""
        self.there[name] -= rows
        if not self.there[name]:
            del self.there[name]
        if len(self.served) > 2 * len(self.there) + KEPT:
            self.served = {name: self.served[name] for name in self.there}

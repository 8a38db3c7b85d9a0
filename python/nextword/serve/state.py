"""What a server holds for all requests: its models by name, its counts, and whether it is ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nextword.serve.errors import Refused
from nextword.serve.metrics import Metrics
from nextword.serve.served import Served


class State:
    """models: by the names that requests give; the first answers those that name none. most_rows: texts that each key
    may have on their way; None for any number."""

    def __init__(self, models: Mapping[str, Served], metrics: Metrics, log_prompts: bool = False,
                 most_rows: int | None = None) -> None:
        self.models, self.metrics, self.log_prompts = dict(models), metrics, log_prompts
        self.most_rows = most_rows
        self.rows: Counter[str] = Counter()  # on their way, by the client's key
        self.draining = False
        self.busy = 0  # requests that are being answered

    def model(self, name: str | None) -> Served:
        """Raises Refused for a name that no model has."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refused(404, f"the model {name[:100]!r} does not exist; there are {', '.join(self.models)}", "model",
                          "model_not_found")
        return self.models[name]

    @contextmanager
    def texts(self, client: str, rows: int) -> Iterator[None]:
        """So many texts of a key are on their way in the block. Raises Refused for more than it may have at once."""
        there = self.rows[client]
        if self.most_rows is not None and there + rows > self.most_rows:
            raise Refused(429, f"a key may have {self.most_rows} texts on their way; {there} are, and {rows} more were "
                          "asked for", None, "too_many_texts", (("retry-after", "1"),))
        self.rows[client] += rows
        try:
            yield
        finally:
            self.rows[client] -= rows
            if not self.rows[client]:
                del self.rows[client]

"""What a server holds for all requests: its models by name, its counts, and whether it is ending."""

from __future__ import annotations

from collections.abc import Mapping

from nextword.serve.errors import Refused
from nextword.serve.metrics import Metrics
from nextword.serve.served import Served


class State:
    """models: by the names that requests give; the first answers those that name none."""

    def __init__(self, models: Mapping[str, Served], metrics: Metrics, log_prompts: bool = False) -> None:
        self.models, self.metrics, self.log_prompts = dict(models), metrics, log_prompts
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

"""What a call has of each of its prompts: the settings that go in, the texts that come out. Runs no model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nextword.decoding.results import Generation
from nextword.decoding.row import Row
from nextword.decoding.sampling import new_seed
from nextword.decoding.settings import Sampling


def settings_of(op: str, prompts: Sequence[Any], sampling: Any,
                changes: dict[str, Any]) -> tuple[list[Sampling], list[bool]]:
    """Each prompt's settings, with a seed, and whether that seed is its own.

    sampling: None, one Sampling, or one for each prompt. changes: fields of it by name; `seed` may be one for each.
    Raises ValueError or TypeError that names the argument.
    """
    given = list(sampling) if isinstance(sampling, list | tuple) else [sampling] * len(prompts)
    seeds: Any = changes.get("seed")
    each = isinstance(seeds, list | tuple | range | np.ndarray)
    seeds = list(seeds) if each else [seeds] * len(prompts)
    for name, values in (("sampling", given), ("seed", seeds)):
        if len(values) != len(prompts):
            raise ValueError(f"{op}: {name} must be one or one for each of the {len(prompts)} prompts, "
                             f"got {len(values)}")
    drawn = new_seed()
    found: list[Sampling] = []
    own: list[bool] = []
    for i, (one, seed) in enumerate(zip(given, seeds, strict=True)):
        if one is not None and not isinstance(one, Sampling):
            raise TypeError(f"{op}: sampling must be nextword.Sampling, got {type(one).__name__}")
        if i and one is given[i - 1] and not each:
            found.append(found[-1])
            own.append(own[-1])
            continue
        settings = (one or Sampling()).changed(**{**changes, **({} if seed is None else {"seed": seed})})
        own.append(settings.seed is not None and (each or isinstance(sampling, list | tuple)))
        found.append(settings.changed(seed=drawn) if settings.seed is None else settings)
    return found, own


def chosen(every: Sequence[Sampling], rows: Sequence[Row], results: Sequence[Generation]) -> list[Any]:
    """For each prompt its text, or with n > 1 the list of its n; of best_of the most probable, those first.

    rows, results: of all texts of all prompts; those of a prompt follow each other.
    """
    found: list[Any] = []
    done = 0
    for one in every:
        count = one.best_of or one.n
        texts = list(zip(rows[done : done + count], results[done : done + count], strict=True))
        done += count
        if count > one.n:
            texts.sort(key=lambda text: -text[0].mean_logprob)  # of equal ones, the first stays first
        found.append(texts[0][1] if one.n == 1 else [result for _, result in texts[: one.n]])
    return found

"""Steering: vectors added to activations at each step of a generation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nextword.inside.host import Host
from nextword.inside.rules import Add
from nextword.machine.shown import listed, shown
from nextword.models.rows import over_keys
from nextword.models.tap import shapes
from nextword.models.trace import Trace
from nextword.text.ids import Prompt


def steer(host: Host, prompt: Prompt, vectors: Mapping[str, Any], scale: float = 4.0, **settings: Any) -> Any:
    """Continue a prompt while vectors are added to activations of every token, read or written (Turner et al. 2023).

    prompt, settings: as `generate` takes them.
    vectors: name -> numbers, added to each token's row of this activation: [features] where it is [tokens, features],
        [heads, width] where it is [heads, tokens, width]. The difference of an activation between two words is a
        direction.
    scale: what the vectors are multiplied by; 0 gives what `generate` gives. Where a scale is too large, the text falls
        apart.
    Returns the Generation, or whatever `generate` returns for these settings.
    Raises ValueError or TypeError that names the argument; ValueError for a name that the model does not have.

    >>> import nextword
    >>> lm = nextword.load()
    >>> male = lm.inside(" king")["h.2.resid_post"][-1] - lm.inside(" queen")["h.2.resid_post"][-1]
    >>> prompt = "Once upon a time there was a little"
    >>> [steer(lm, prompt, {"h.2.resid_post": male}, scale, max_new_tokens=5).text for scale in (0, 0.25)]
    [' girl who had a daughter', ' boy who had a son']
    """
    if not isinstance(vectors, Mapping) or not vectors:
        raise TypeError(f"steer: vectors must map names of activations to vectors, got {shown(vectors)}")
    if isinstance(scale, bool) or not isinstance(scale, int | float | np.number) or not np.isfinite(scale):
        raise ValueError(f"steer: scale must be a finite number, got {shown(scale)}")
    known = {name: (*shape[:-2], shape[-1]) for name, shape in shapes(host.model).items() if not over_keys(name)}
    rules = [rule for name, one in vectors.items() for rule in _added(known, name, one, float(scale))]
    with Trace(host.model, [], rules):
        return host.generate(prompt, **settings)


def _added(known: dict[str, tuple[int, ...]], name: str, vector: Any, scale: float) -> list[Add]:
    """known: of each activation with a row for each token, the shape of that row."""
    if name not in known:
        raise ValueError(f"steer: vectors must name activations with a row for each token, such as "
                         f"{listed(reversed(known))}, got {shown(name)}")
    width = known[name]
    x = np.asarray(vector)
    if x.dtype.kind not in "iuf" or x.shape != width:
        raise ValueError(f"steer: the vector of {name} must be numbers {list(width)}, got {x.dtype} {list(x.shape)}")
    if len(width) == 1:
        return [Add(name, value=x, factor=scale)]
    return [Add(name, heads=[head], value=one, factor=scale) for head, one in enumerate(x)]

"""Steering: vectors added to activations at each step of a generation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nextword.inside.activations import Activations
from nextword.inside.host import Host
from nextword.inside.rules import Add
from nextword.machine.shown import listed, shown
from nextword.models.trace import Trace
from nextword.text.ids import Prompt


def steer(host: Host, prompt: Prompt, vectors: Mapping[str, Any], scale: float = 4.0, **settings: Any) -> Any:
    """Continue a prompt while vectors are added to activations of every token, read or written (Turner et al. 2023).

    prompt, settings: as `generate` takes them. Drafts of other models and stores of prompts change nothing but time.
    vectors: name -> numbers, added to each token's row of this activation: [features] where it is [tokens, features],
        [heads, width] where it is [heads, tokens, width]. A difference of two activations of the same name, such as
        `lm.inside(" love")["h.2.resid_post"][-1] - lm.inside(" hate")["h.2.resid_post"][-1]`, is a direction.
    scale: what the vectors are multiplied by; 0 gives what `generate` gives.
    Returns the Generation, or whatever `generate` returns for these settings.
    Raises ValueError or TypeError that names the argument; ValueError for a name that the model does not have.

    >>> import nextword
    >>> lm = nextword.load()
    >>> sea = lm.inside(" sea")["h.1.resid_post"][-1] - lm.inside(" garden")["h.1.resid_post"][-1]
    >>> lm.steer("Once upon a time", {"h.1.resid_post": sea}, scale=2, max_new_tokens=3).tokens != []
    True
    """
    if not isinstance(vectors, Mapping) or not vectors:
        raise TypeError(f"steer: vectors must map names of activations to vectors, got {shown(vectors)}")
    if isinstance(scale, bool) or not isinstance(scale, int | float | np.number) or not np.isfinite(scale):
        raise ValueError(f"steer: scale must be a finite number, got {shown(scale)}")
    shapes = Activations(host.model, [0])
    rules = [rule for name, one in vectors.items() for rule in _added(shapes, name, one, float(scale))]
    with Trace(host.model, [], rules):
        return host.generate(prompt, **settings)


def _added(shapes: Activations, name: str, vector: Any, scale: float) -> list[Add]:
    if name not in shapes or name.endswith((".scores", ".weights")):
        known = [one for one in shapes.names if not one.endswith((".scores", ".weights"))]
        raise ValueError(f"steer: vectors must name activations with a row for each token, such as "
                         f"{listed(reversed(known))}, got {shown(name)}")
    shape = shapes.shape(name)
    width = (*shape[:-2], shape[-1])
    x = np.asarray(vector)
    if x.dtype.kind not in "iuf" or x.shape != width:
        raise ValueError(f"steer: the vector of {name} must be numbers {list(width)}, got {x.dtype} {list(x.shape)}")
    if len(width) == 1:
        return [Add(name, value=x, factor=scale)]
    return [Add(name, heads=[head], value=one, factor=scale) for head, one in enumerate(x)]

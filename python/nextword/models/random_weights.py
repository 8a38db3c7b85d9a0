"""Random numbers in the place of GPT-2's weights, to measure with: nothing is read, and one array is held at a time."""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.models.gpt2 import GPT2Config

SPREAD = 0.02  # standard deviation of the weights that GPT-2's training begins with (Radford et al. 2019)


class RandomWeights(Mapping[str, NDArray[Any]]):
    """Named float32 arrays that a GPT2 of this configuration asks for, made when they are asked for.

    Norms and biases are those of an identity, all other numbers uniform around 0 with GPT-2's first spread. The same
    seed and name give the same array.

    >>> weights = RandomWeights(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16))
    >>> weights["h.0.mlp.c_fc.weight"].shape, len(weights)
    ((8, 32), 16)
    """

    def __init__(self, config: GPT2Config, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self._shapes = _shapes(config)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        shape = self._shapes[name]
        if len(shape) == 1:
            return np.full(shape, name.endswith(".weight"), np.float32)  # the only weights that are vectors are norms
        x = np.random.default_rng([self.seed, zlib.crc32(name.encode())]).random(shape, np.float32)
        x -= np.float32(0.5)
        x *= np.float32(SPREAD * 12**0.5)  # the standard deviation of uniform numbers is 1 / sqrt(12) of their range
        return x

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _shapes(c: GPT2Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor, as files of GPT-2 have them."""
    found: dict[str, tuple[int, ...]] = {"wte.weight": (c.vocab_size, c.n_embd)}
    found["wpe.weight"] = (c.n_positions, c.n_embd)
    for block in (f"h.{layer}" for layer in range(c.n_layer)):
        for name, depth, cols in (("attn.c_attn", c.n_embd, 3 * c.n_embd), ("attn.c_proj", c.n_embd, c.n_embd),
                                  ("mlp.c_fc", c.n_embd, c.inner), ("mlp.c_proj", c.inner, c.n_embd)):  # fmt: skip
            found |= {f"{block}.{name}.weight": (depth, cols), f"{block}.{name}.bias": (cols,)}
        for norm in ("ln_1", "ln_2"):
            found |= {f"{block}.{norm}.weight": (c.n_embd,), f"{block}.{norm}.bias": (c.n_embd,)}
    found |= {"ln_f.weight": (c.n_embd,), "ln_f.bias": (c.n_embd,)}
    if not c.tie_word_embeddings:
        found["lm_head.weight"] = (c.vocab_size, c.n_embd)
    return found

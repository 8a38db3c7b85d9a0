"""Random numbers in the place of weights, to measure with: nothing is read, and one array is held at a time."""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPREAD = 0.02  # standard deviation of the weights that GPT-2's training begins with (Radford et al. 2019)


class RandomWeights(Mapping[str, NDArray[Any]]):
    """Arrays of whatever names and shapes a model of any architecture asks for. As a mapping it is empty.

    Norms and biases are those of an identity, all other numbers uniform around 0 with GPT-2's first spread. The same
    seed, name and shape give the same array.

    >>> RandomWeights().made("norm.weight", (3,)).tolist(), RandomWeights().made("up.weight", (2, 3)).shape
    ([1.0, 1.0, 1.0], (2, 3))
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def made(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The tensor of this name as float32."""
        if len(shape) == 1:
            return np.full(shape, name.endswith(".weight"), np.float32)  # the only weights that are vectors are norms
        x = np.random.default_rng([self.seed, zlib.crc32(name.encode())]).random(shape, np.float32)
        x -= np.float32(0.5)
        x *= np.float32(SPREAD * 12**0.5)  # the standard deviation of uniform numbers is 1 / sqrt(12) of their range
        return x

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        raise KeyError(f"random weights: {name!r} has no shape of its own; call made(name, shape)")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

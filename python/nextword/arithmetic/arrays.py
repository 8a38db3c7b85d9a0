"""The arrays that operations take and give, by name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Panels = NDArray[Any]  # of a key-value cache, of the cache's element

"""A checksum of bytes in NumPy: what csrc/arithmetic/digest.h describes. `reference` gives it a name."""

import numpy as np
from numpy.typing import NDArray


def checksum(data: NDArray[np.uint8]) -> str:
    """32 hexadecimal digits: all blocks at once, line by line."""
    p, q = np.uint64(0x9E3779B97F4A7C15), np.array([0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B], np.uint64)

    def turned(x: NDArray[np.uint64], left: int) -> NDArray[np.uint64]:
        return (x << np.uint64(left)) | (x >> np.uint64(64 - left))

    count = -(-data.size // 64)
    words = np.pad(data, (0, 64 * count - data.size)).view("<u8").reshape(count, 8)
    lanes = np.tile(p + np.arange(8, dtype=np.uint64), (-(-count // 1024), 1))  # [blocks, 8]
    for line in range(min(count, 1024)):
        some = words[line::1024]  # of the first blocks: the last one may be shorter
        lanes[: len(some)] = turned((lanes[: len(some)] ^ some) * p, 32)
    sums = q ^ np.uint64(data.size)
    for lane in lanes.reshape(-1):
        sums = turned((sums ^ lane) * q, 29)
    sums = (sums ^ (sums >> np.uint64(32))) * p
    return "".join(f"{x:016x}" for x in sums ^ (sums >> np.uint64(29)))

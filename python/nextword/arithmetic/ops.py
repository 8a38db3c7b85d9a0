"""The operations, computed in C++. `nextword.reference` has the same names and signatures in NumPy.

Arrays are float32 and C-contiguous unless a docstring says otherwise; nothing is converted silently. Each result is
new. An output element is always summed in the same order, so that a row's bits depend neither on the other rows nor on
threads.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword import _core
from nextword._core import Packed, Program
from nextword.arithmetic.arrays import Floats, Ints
from nextword.arithmetic.attention import append, attention, attention_weights
from nextword.arithmetic.blocks import dequantise
from nextword.arithmetic.logits import chances, distribution, log_probabilities, log_sum_exp, philox, sample, top
from nextword.arithmetic.within import add_rows, attention_within, attention_within_weights, normalise, pool

__all__ = ["Packed", "Program", "add_rows", "append", "attention", "attention_weights", "attention_within",
           "attention_within_weights", "chances", "dequantise", "digest", "distribution", "embedding", "empty",
           "gelu_erf", "gelu_tanh", "layer_norm", "log_probabilities", "log_sum_exp", "matmul", "matmul_activated",
           "matmul_residual", "matmul_times", "normalise", "pack", "pack_transposed", "packed", "packed_bytes",
           "philox", "pool", "quick_gelu", "relu", "rms_norm", "rotate", "sample", "silu", "softmax", "tanh",
           "to_float32", "top", "unpack"]



def empty(shape: Sequence[int]) -> Floats:
    """A float32 array with undefined contents. Large ones take memory that earlier arrays have given back.

    Raises ValueError if a size is negative, MemoryError if there is not enough.

    >>> empty((2, 3)).shape
    (2, 3)
    """
    return _core.empty(list(shape))


def pack(weight: NDArray[Any], dtype: str = "float32") -> Packed:
    """Store a weight matrix in the order in which `matmul` reads it.

    weight: [depth, cols], as GPT-2 stores linear layers; float32, float16, or uint16 holding the bits of bfloat16.
    dtype: what it is rounded to: "float32", "bfloat16", "int8" (a scale for each column) or "int4" (a scale for each
        column and 32 rows); csrc/kernels/formats.h defines them. `matmul` then rounds x to bfloat16, or to int8
        with a scale for each row.
    Raises ValueError if it is empty, of another dtype, not C-contiguous, has a value that is not finite, or more than
    65,536 rows in int8.

    >>> pack(np.ones((2, 3), "f")).shape
    (2, 3)
    >>> unpack(pack(np.float32([[127], [-50.2], [33.4]]), "int8")).tolist()
    [[127.0], [-50.0], [33.0]]
    """
    return _core.pack(weight, dtype)


def pack_transposed(weight: NDArray[Any], dtype: str = "float32") -> Packed:
    """Like `pack`, from a matrix stored as [cols, depth]: an embedding or an output head.

    >>> pack_transposed(np.ones((2, 3), "f")).shape
    (3, 2)
    """
    return _core.pack_transposed(weight, dtype)


def packed(data: NDArray[np.uint8] | Iterator[NDArray[np.uint8]], dtype: str, depth: int, cols: int) -> Packed:
    """The matrix [depth, cols] whose packed bytes are those of data: they are copied to huge pages, as they are.

    data: what `packed_bytes` gave, uint8 [bytes], or an iterator of its parts in order, of which each may be gone when
    the next is asked for. Its content is not looked at: other bytes than pack's stand for other
    numbers, NaN among them, and do no other harm.
    Raises ValueError if the dtype is unknown, a size outside of its range, or data not as long as these say.

    >>> weight = pack(np.ones((2, 3), "f"), "int8")
    >>> packed(packed_bytes(weight), "int8", 2, 3)
    Packed(int8 [2, 3])
    """
    return _core.packed(data, dtype, depth, cols)


def packed_bytes(weight: Packed) -> NDArray[np.uint8]:
    """The bytes in which a matrix is packed, as csrc/kernels/formats.h lays them out: uint8 [bytes], a read-only view.

    >>> packed_bytes(pack(np.float32([[1, 2]]))).view("f").tolist()[:3]
    [1.0, 2.0, 0.0]
    """
    return _core.packed_bytes(weight)


def digest(data: NDArray[np.uint8]) -> str:
    """A checksum that tells contents apart, at the speed of memory: 32 hexadecimal digits by csrc/arithmetic/digest.h.

    data: uint8 [bytes]. Contents of one length that differ in one number never agree. Against mistakes, not against
    malice: it is no cryptographic hash. Raises ValueError if the dtype or shape differs.

    >>> digest(np.arange(9, dtype=np.uint8))
    '716345451f324b9715ae3db47c80452a'
    """
    return _core.digest(data)


def unpack(weight: Packed) -> Floats:
    """The matrix [depth, cols] that was packed, as float32: what its format has kept of it.

    >>> unpack(pack(np.float32([[1, 2], [3, 4]]))).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    return _core.unpack(weight)


def to_float32(x: NDArray[Any]) -> Floats:
    """Float32 values of a C-contiguous array of float32, float16, or uint16 holding the bits of bfloat16; exact.

    >>> to_float32(np.array([0x3F80, 0xC000], np.uint16)).tolist()
    [1.0, -2.0]
    """
    return _core.to_float32(x)


def matmul(x: Floats, weight: Packed, bias: Floats | None = None) -> Floats:
    """x @ weight + bias, each element summed in one order (csrc/kernels/formats.h), whatever the other rows.

    x: [rows, depth] (rows may lie apart); weight: packed [depth, cols]; bias: [cols] or None. Returns [rows, cols].
    Raises ValueError if a shape or dtype differs.

    >>> matmul(np.float32([[1, 2]]), pack(np.float32([[1, 2], [3, 4]])), np.float32([0, 10])).tolist()
    [[7.0, 20.0]]
    """
    return _core.matmul(x, weight, bias)


def matmul_activated(x: Floats, weight: Packed, bias: Floats | None, activation: str) -> Floats:
    """`activation(matmul(x, weight, bias))` without a second pass over memory; the same bits.

    activation: the name of one of these operations: "gelu_tanh", "gelu_erf", "quick_gelu", "relu", "silu" or "tanh".
    The rows of the result lie apart where that lets the next matmul read them faster. Raises ValueError for another
    name.

    >>> matmul_activated(np.float32([[1]]), pack(np.float32([[1, -1]])), None, "gelu_tanh").round(4)
    array([[ 0.8412, -0.1588]], dtype=float32)
    """
    return _core.matmul_activated(x, weight, bias, activation)


def matmul_residual(x: Floats, weight: Packed, bias: Floats | None, residual: Floats) -> Floats:
    """`matmul(x, weight, bias) + residual` without a second pass over memory; the same bits. residual: [rows, cols].

    >>> matmul_residual(np.float32([[2]]), pack(np.float32([[3]])), None, np.float32([[1]])).tolist()
    [[7.0]]
    """
    return _core.matmul_residual(x, weight, bias, residual)


def matmul_times(x: Floats, weight: Packed, bias: Floats | None, factor: Floats) -> Floats:
    """`matmul(x, weight, bias) * factor` without a second pass over memory; the same bits. The gate of a feed-forward
    layer (Shazeer 2020) is the factor: matmul_times(x, up, None, matmul_activated(x, gate, None, "silu")).

    factor: [rows, cols] (rows may lie apart). The rows of the result lie apart as those of `matmul_activated` do.

    >>> matmul_times(np.float32([[2]]), pack(np.float32([[3]])), None, np.float32([[0.5]])).tolist()
    [[3.0]]
    """
    return _core.matmul_times(x, weight, bias, factor)


def gelu_tanh(x: Floats) -> Floats:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), GPT-2's form (Hendrycks & Gimpel 2016). x: [rows, cols].

    >>> gelu_tanh(np.float32([[-1, 0, 1]])).round(4)
    array([[-0.1588,  0.    ,  0.8412]], dtype=float32)
    """
    return _core.gelu_tanh(x)


def gelu_erf(x: Floats) -> Floats:
    """x P(X <= x) for a standard normal X (Hendrycks & Gimpel 2016). x: [rows, cols].

    >>> gelu_erf(np.float32([[-1, 0, 1]])).round(4)
    array([[-0.1587,  0.    ,  0.8413]], dtype=float32)
    """
    return _core.gelu_erf(x)


def quick_gelu(x: Floats) -> Floats:
    """x / (1 + exp(-1.702 x)), the logistic form of GELU (Hendrycks & Gimpel 2016). x: [rows, cols].

    >>> quick_gelu(np.float32([[-1, 0, 1]])).round(4)
    array([[-0.1542,  0.    ,  0.8458]], dtype=float32)
    """
    return _core.quick_gelu(x)


def relu(x: Floats) -> Floats:
    """max(0, x), NaN for NaN. x: [rows, cols].

    >>> relu(np.float32([[-1, 0, 1]])).tolist()
    [[0.0, 0.0, 1.0]]
    """
    return _core.relu(x)


def silu(x: Floats) -> Floats:
    """x / (1 + exp(-x)), also called swish (Elfwing et al. 2017). x: [rows, cols].

    >>> silu(np.float32([[-1, 0, 1]])).round(4)
    array([[-0.2689,  0.    ,  0.7311]], dtype=float32)
    """
    return _core.silu(x)


def tanh(x: Floats) -> Floats:
    """The hyperbolic tangent. x: [rows, cols].

    >>> tanh(np.float32([[-1, 0, 1]])).round(4)
    array([[-0.7616,  0.    ,  0.7616]], dtype=float32)
    """
    return _core.tanh(x)


def layer_norm(x: Floats, weight: Floats, bias: Floats, eps: float = 1e-5) -> Floats:
    """Normalise each row of `x` to mean 0 and variance 1, then scale and shift (Ba et al. 2016).

    x: [rows, cols]; weight, bias: [cols]. Returns [rows, cols]. Raises ValueError if a shape or dtype differs.

    >>> layer_norm(np.float32([[1, 3]]), np.ones(2, "f"), np.zeros(2, "f")).round(3).tolist()
    [[-1.0, 1.0]]
    """
    return _core.layer_norm(x, weight, bias, eps)


def rms_norm(x: Floats, weight: Floats, eps: float = 1e-5) -> Floats:
    """x / sqrt(mean(x^2) + eps) * weight over each run of `width` columns (Zhang & Sennrich 2019).

    x: [rows, cols] (rows may lie apart); weight: [width], of which cols is a multiple: with a width of cols this is the
    norm of whole rows, with that of a head the norm of each head's part of a row. Returns [rows, cols].
    Raises ValueError if a shape or dtype differs.

    >>> rms_norm(np.float32([[3, 4, 0, 5]]), np.ones(2, "f"), 0).round(4)
    array([[0.8485, 1.1314, 0.    , 1.4142]], dtype=float32)
    """
    return _core.rms_norm(x, weight, eps)


def rotate(x: Floats, places: Ints, turns: Floats, interleaved: bool = False) -> Floats:
    """Turn pairs of numbers of each row by the angles of its place: rotary position embedding (Su et al. 2021).

    x: [rows, heads * 2 * pairs] (rows may lie apart); places: int64 [rows]; turns: [positions, pairs, 2], cosine and
    sine. With (cos, sin) = turns[place, i], pair i of a head, (a, b), becomes (a cos - b sin, b cos + a sin); products
    and their sum are rounded one after the other, on every instruction set alike.
    interleaved: pair i of a head is its columns 2 i and 2 i + 1, as in the paper; else i and pairs + i, as in the
    models of transformers.
    Returns [rows, heads * 2 * pairs]. Raises IndexError if a place is out of range, ValueError if a shape or dtype
    differs.

    >>> quarter = np.float32([[[1, 0]], [[0, 1]]])  # not at all, and by 90 degrees
    >>> rotate(np.float32([[1, 2], [1, 2]]), np.array([0, 1]), quarter).tolist()
    [[1.0, 2.0], [-2.0, 1.0]]
    """
    return _core.rotate(x, places, turns, interleaved)


def softmax(x: Floats) -> Floats:
    """exp(x) / sum(exp(x)) along each row, from the row's maximum so that nothing overflows. x: [rows, cols].

    >>> softmax(np.float32([[0, 0], [1, 2]])).round(3)
    array([[0.5  , 0.5  ],
           [0.269, 0.731]], dtype=float32)
    """
    return _core.softmax(x)


def embedding(ids: Ints, places: Ints | None, tokens: Packed, positions: Floats | None) -> Floats:
    """The sum of each token's embedding and its position's.

    ids, places: int64 [tokens]; tokens: packed [width, vocabulary]; positions: [context, width]. places and positions
    may be None: then it is the token's alone.
    Returns [tokens, width].
    Raises IndexError if an id or a place is out of range, ValueError if a shape or dtype differs or places are missing.

    >>> wte, wpe = pack_transposed(np.float32([[1, 2], [3, 4]])), np.float32([[10, 20]])
    >>> embedding(np.array([1]), np.array([0]), wte, wpe).tolist()
    [[13.0, 24.0]]
    """
    return _core.embedding(ids, places, tokens, positions)

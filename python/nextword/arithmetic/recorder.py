"""The operations as records: the third twin of `ops`, with the same names and parameters. A call computes nothing.

It adds itself to the program of its operands and gives a `Value`, which stands for what a run will compute. A graph
that is called once with values in the place of arrays has become a `Program`, which runs without Python:

>>> import numpy as np
>>> program, tokens = ops.Program(), ops.pack(np.float32([[1, 2, 3]]))
>>> x = embedding(Numbers(program, "ids"), None, tokens, None)
>>> y = x + x
>>> y, len(program)
(Value [tokens, 1], 2)
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple, NoReturn

from nextword._core import Packed, Program
from nextword.arithmetic import ops
from nextword.arithmetic.arrays import Floats


class Unknown:
    """What is not known while a graph is recorded. Whoever decides by it gets TypeError: a program has one way."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"recorder: the numbers of {self} are not known while a graph is recorded; a graph must not "
                        "depend on them but through operations")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __len__ = __iter__ = __contains__ = __array__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refuse
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy then leaves operators to this side

    def __init__(self, what: str) -> None:
        self._what = what

    def __repr__(self) -> str:
        return self._what


class Numbers(Unknown):
    """Integers that a pass brings: "ids", "places" and "types", one for each token, or the "wanted" rows."""

    def __init__(self, program: Program, name: str) -> None:
        self.program, self.name = program, name

    def __repr__(self) -> str:
        return f"Numbers [{self.name}]"


class Held(NamedTuple):
    """Keys, values or scales of one layer of a cache."""

    number: int
    layer: int


class Operation(NamedTuple):
    """An operation of a program, and what it costs."""

    name: str
    rows: str  # what its result has a row for each of: "tokens" or "wanted"
    cols: int  # of its result; 0: it writes to a cache
    bytes: int  # of the weights that a pass reads from front to back
    products: int  # multiply-adds with weights, for each row


class Cache:
    """What stands in the place of a `KVCache`: its number among the caches of a pass. What it holds, a pass tells."""

    def __init__(self, number: int) -> None:
        self.number = number

    def of_layer(self, layer: int) -> tuple[Held, Held, Held, None, None, None]:
        """Keys, values and scales, and what all sequences begin with, which is the pass's."""
        held = Held(self.number, layer)
        return held, held, held, None, None, None

    def held(self, slots: Any) -> Unknown:
        """How many tokens the slots hold."""
        return Unknown("the lengths of a cache")


class Value(Unknown):
    """What an operation will give, float32 [rows, cols]. rows: "tokens" or "wanted", what it has a row for each of.

    x[:, a:b] are columns of it, x[wanted] the rows of some tokens; x + y and x * y are recorded, too.
    """

    def __init__(self, program: Program, number: int, rows: str, cols: int, first: int = 0) -> None:
        self.program, self.number, self.rows, self.cols, self.first = program, number, rows, cols, first

    def __repr__(self) -> str:
        return f"Value [{self.rows}, {self.cols}]"

    @property
    def shape(self) -> tuple[Unknown, int]:
        """The number of rows, which is not known, and of columns."""
        return Unknown(f"the rows of {self}"), self.cols

    @property
    def view(self) -> tuple[int, int, int]:
        """Its number in the program, the first column and how many there are."""
        return self.number, self.first, self.cols

    def __getitem__(self, key: Any) -> "Value":
        if isinstance(key, Numbers):
            return _added("gather", [self], indices=[key])
        whole, some = key if isinstance(key, tuple) and len(key) == 2 else (None, None)
        if whole != slice(None) or not isinstance(some, slice) or some.step not in (None, 1):
            raise TypeError(f"recorder: {self} takes columns, x[:, a:b], or rows of tokens, x[wanted], got x[{key}]")
        begin, end, _ = some.indices(self.cols)
        return Value(self.program, self.number, self.rows, end - begin, self.first + begin)

    def __add__(self, other: "Value") -> "Value":
        return _added("add", [self, other])

    def __mul__(self, other: "Value") -> "Value":
        return _added("multiply", [self, other])

    def __iadd__(self, other: Any) -> NoReturn:  # type: ignore[misc]
        raise TypeError(f"recorder: a graph must not write to {self}, which a tap may have shown; write x = x + y")

    __imul__ = __iadd__


def _added(kind: str, values: Sequence[Any], weights: Sequence[Any] = (), indices: Sequence[Any] = (), *,
           scalar: float = 0.0, activation: str | None = None, cache: Held | None = None, window: int = 0,
           heads: int = 0) -> Value:
    for one in (*values, *indices):
        if not isinstance(one, Value | Numbers):
            raise TypeError(f"recorder: {kind} takes what is computed from the ids of a pass, got {type(one).__name__}")
    program = (*values, *indices)[0].program
    if any(one.program is not program for one in (*values, *indices)):
        raise ValueError(f"recorder: {kind} takes values of one program, got those of several")
    number, rows, cols = program.add(kind, [one.view for one in values], [one.name for one in indices], list(weights),
                                     scalar, activation, None if cache is None else tuple(cache), window, heads)
    return Value(program, number, rows, cols)


def _of_layer(name: str, *panels: Any) -> Held:
    first = panels[0]
    if not isinstance(first, Held) or any(one != first for one in panels):
        raise TypeError(f"recorder: {name} takes keys, values and scales of one layer of the pass's caches")
    return first


def matmul(x: Value, weight: Packed, bias: Floats | None = None) -> Value:
    """x @ weight + bias."""
    return _added("matmul", [x], [weight, bias])


def matmul_activated(x: Value, weight: Packed, bias: Floats | None, activation: str) -> Value:
    """activation(x @ weight + bias)."""
    return _added("matmul_activated", [x], [weight, bias], activation=activation)


def matmul_residual(x: Value, weight: Packed, bias: Floats | None, residual: Value) -> Value:
    """x @ weight + bias + residual."""
    return _added("matmul_residual", [x, residual], [weight, bias])


def matmul_times(x: Value, weight: Packed, bias: Floats | None, factor: Value) -> Value:
    """(x @ weight + bias) * factor."""
    return _added("matmul_times", [x, factor], [weight, bias])


def gelu_tanh(x: Value) -> Value:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    return _added("activate", [x], activation="gelu_tanh")


def gelu_erf(x: Value) -> Value:
    """x P(X <= x) for a standard normal X."""
    return _added("activate", [x], activation="gelu_erf")


def quick_gelu(x: Value) -> Value:
    """x / (1 + exp(-1.702 x))."""
    return _added("activate", [x], activation="quick_gelu")


def relu(x: Value) -> Value:
    """max(0, x)."""
    return _added("activate", [x], activation="relu")


def silu(x: Value) -> Value:
    """x / (1 + exp(-x))."""
    return _added("activate", [x], activation="silu")


def tanh(x: Value) -> Value:
    """The hyperbolic tangent."""
    return _added("activate", [x], activation="tanh")


def layer_norm(x: Value, weight: Floats, bias: Floats, eps: float = 1e-5) -> Value:
    """(x - mean) / sqrt(variance + eps) * weight + bias along each row."""
    return _added("layer_norm", [x], [weight, bias], scalar=eps)


def rms_norm(x: Value, weight: Floats, eps: float = 1e-5) -> Value:
    """x / sqrt(mean(x^2) + eps) * weight over each run of columns."""
    return _added("rms_norm", [x], [weight], scalar=eps)


def rotate(x: Value, places: Numbers, turns: Floats, interleaved: bool = False) -> Value:
    """Pairs of each head turned by the angles of the row's place. The program keeps turns and reads what it needs."""
    return _added("rotate_interleaved" if interleaved else "rotate", [x], [turns], [places])


def softmax(x: Value) -> Value:
    """exp(x) / sum(exp(x)) along each row."""
    return _added("softmax", [x])


def embedding(ids: Numbers, places: Numbers | None, tokens: Packed, positions: Floats | None) -> Value:
    """tokens[:, id] + positions[place]."""
    return _added("embedding", [], [tokens, positions], [ids, ids if places is None else places])


def append(k: Value, v: Value, keys: Held, values: Held, slots: Any, past: Any, fresh: Any,
           scales: Held | None = None) -> None:
    """Keys and values behind those that the cache's layer holds; slots, past and fresh are the pass's."""
    _added("append", [k, v], cache=_of_layer("append", keys, values, scales))


def attention(q: Value, keys: Held, values: Held, slots: Any, past: Any, fresh: Any, scale: float,
              prefix_keys: Any = None, prefix_values: Any = None, scales: Held | None = None,
              prefix_scales: Any = None, window: int = 0) -> Value:
    """Causal attention over the cache's layer; slots, past, fresh and what the cache begins with are the pass's."""
    return _added("attention", [q], scalar=scale, cache=_of_layer("attention", keys, values, scales), window=window)


def attention_within(q: Value, k: Value, v: Value, fresh: Any, heads: int, scale: float, window: int = 0,
                     bias: Floats | None = None) -> Value:
    """Attention of each text over itself; fresh is the pass's."""
    return _added("attention_within", [q, k, v], [bias], scalar=scale, window=window, heads=heads)


def add_rows(x: Value, ids: Numbers, table: Floats) -> Value:
    """x + table[ids]."""
    return _added("add_rows", [x], [table], [ids])


def _outside(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation's name for one that has no place in a graph."""

    @wraps(operation)
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"recorder: {operation.__name__} has no place in a graph; call it before or after")

    refuse.__module__, refuse.__doc__ = __name__, f"`ops.{operation.__name__}`, which has no place in a graph."
    return refuse


attention_weights = _outside(ops.attention_weights)
attention_within_weights = _outside(ops.attention_within_weights)
chances = _outside(ops.chances)
dequantise = _outside(ops.dequantise)
digest = _outside(ops.digest)
distribution = _outside(ops.distribution)
empty = _outside(ops.empty)
log_probabilities = _outside(ops.log_probabilities)
log_sum_exp = _outside(ops.log_sum_exp)
normalise = _outside(ops.normalise)
pack = _outside(ops.pack)
pack_transposed = _outside(ops.pack_transposed)
packed = _outside(ops.packed)
packed_bytes = _outside(ops.packed_bytes)
philox = _outside(ops.philox)
pool = _outside(ops.pool)
sample = _outside(ops.sample)
to_float32 = _outside(ops.to_float32)
top = _outside(ops.top)
unpack = _outside(ops.unpack)

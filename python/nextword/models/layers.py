"""Linear, norms, Embedding: they hold arrays and call ops. A layer computes in one pass what nobody asks to see, and
step by step what a tap wants; the bits are the same. Attention has a file of its own."""

from types import ModuleType
from typing import Any

from nextword.arithmetic.arrays import Floats, Ints
from nextword.models.tap import Tap


class Linear:
    """x @ weight + bias. weight: packed [depth, cols]; bias: float32 [cols] or None."""

    def __init__(self, ops: ModuleType, weight: Any, bias: Floats | None) -> None:
        self.ops, self.weight, self.bias = ops, weight, bias

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.matmul(x, self.weight, self.bias)
        return y

    def add_to(self, residual: Floats, x: Floats, tap: Tap, name: str) -> Floats:
        """residual + tap(name, self(x))."""
        if tap.wants(name):
            return residual + tap(name, self(x))
        y: Floats = self.ops.matmul_residual(x, self.weight, self.bias, residual)
        return y

    def times(self, factor: Floats, x: Floats, tap: Tap, name: str) -> Floats:
        """tap(name, self(x)) * factor."""
        if tap.wants(name):
            return tap(name, self(x)) * factor
        y: Floats = self.ops.matmul_times(x, self.weight, self.bias, factor)
        return y


class ActivatedLinear(Linear):
    """form(x @ weight + bias); form: the activation, by its name among the operations."""

    def __init__(self, ops: ModuleType, weight: Any, bias: Floats | None, form: str) -> None:
        super().__init__(ops, weight, bias)
        self.form = form

    def activated(self, x: Floats, tap: Tap, name: str) -> Floats:
        """form(tap(name, self(x)))."""
        y: Floats
        if tap.wants(name):
            y = getattr(self.ops, self.form)(tap(name, self(x)))
        else:
            y = self.ops.matmul_activated(x, self.weight, self.bias, self.form)
        return y


class LayerNorm:
    """Normalise rows, then scale and shift. weight, bias: float32 [cols]."""

    def __init__(self, ops: ModuleType, weight: Floats, bias: Floats, eps: float) -> None:
        self.ops, self.weight, self.bias, self.eps = ops, weight, bias, eps

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.layer_norm(x, self.weight, self.bias, self.eps)
        return y


class RMSNorm:
    """Divide rows by the root of their mean square, then scale (Zhang and Sennrich 2019). weight: float32 [width]; rows
    of a multiple of it are normalised part by part, as heads are."""

    def __init__(self, ops: ModuleType, weight: Floats, eps: float) -> None:
        self.ops, self.weight, self.eps = ops, weight, eps

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.rms_norm(x, self.weight, self.eps)
        return y


Norm = LayerNorm | RMSNorm


class Embedding:
    """Token plus position. tokens: packed [width, vocabulary]; positions: float32 [context, width], or None.

    names: of both as activations.
    """

    def __init__(self, ops: ModuleType, tokens: Any, positions: Floats | None, names: tuple[str, str]) -> None:
        self.ops, self.tokens, self.positions = ops, tokens, positions
        self._token, self._position = names

    def __call__(self, ids: Ints, places: Ints, tap: Tap) -> Floats:
        if self.positions is None or tap.wants(self._token) or tap.wants(self._position):
            token: Floats = tap(self._token, self.ops.embedding(ids, None, self.tokens, None))
            return token if self.positions is None else token + tap(self._position, self.positions[places])
        y: Floats = self.ops.embedding(ids, places, self.tokens, self.positions)
        return y

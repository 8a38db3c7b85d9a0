"""The tap: what a model shows its activations to; and what rules and selectors are to one that looks."""

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray

from nextword.models.rows import Rows

Array = NDArray[Any]


class Tap:
    """The tap of a model that nobody looks into."""

    looks = False  # whether it does anything with an activation, so that the model must show each
    replaces = False  # whether it may change one

    def __call__(self, name: str, x: Array) -> Array:
        """Pass an activation on."""
        return x

    def wants(self, name: str) -> bool:
        """Whether this activation is asked for; if not, the model may compute it inside a larger step."""
        return False

    def at(self, rows: Rows) -> "Tap":
        """The tap for a pass of these rows."""
        return self

    def only(self, some: Any) -> "Tap":
        """The tap for activations of some of the rows of a pass: integers or a slice."""
        return self


NOBODY = Tap()


class Shapes(Tap):
    """Asks for every activation and notes its shape."""

    looks = True

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def wants(self, name: str) -> bool:
        """Every one."""
        return True

    def __call__(self, name: str, x: Array) -> Array:
        """Note it."""
        self.shapes[name] = x.shape
        return x


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each activation for a text of one token, in the order of the graph; (0, features) for those that
    only tokens have whose logits are wanted.

    >>> import nextword
    >>> found = shapes(nextword.load().model)
    >>> list(found)[:3], found["h.0.attn.z"], found["logits"]
    (['wte', 'wpe', 'embed'], (4, 1, 64), (0, 4096))
    """
    tap = Shapes()
    model.show_one(tap)
    return tap.shapes


class Rule(ABC):
    """What a trace puts in the place of an activation, or of a part of it, knowing which tokens its rows belong to."""

    name: str | None  # of the activation, None where whoever traces says it

    @abstractmethod
    def applied(self, name: str, x: Array, rows: Rows, memory: dict[Any, Any]) -> Array:
        """A new array in the place of x, of its shape and dtype. memory: what it noted in earlier passes."""


class Selector(ABC):
    """What a trace keeps of an activation."""

    columns: Any  # which columns, None: all

    @abstractmethod
    def kept(self, name: str, x: Array, rows: Rows) -> tuple[Array, Rows]:
        """A part of x in memory of its own, and which of the rows it has."""

    @abstractmethod
    def count(self, name: str, shape: tuple[int, ...], rows: Rows) -> int:
        """How many numbers that will be, of an activation of this shape."""

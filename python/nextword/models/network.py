"""What all models share, decoders and encoders: weights taken, parts and copies, the program. Passes are elsewhere."""

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy, deepcopy
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops as fast_ops
from nextword.arithmetic import recorder
from nextword.arithmetic.arrays import Ints
from nextword.arithmetic.formats import DTYPES, PackedBytes
from nextword.arithmetic.recorder import Operation
from nextword.models.layers import Linear
from nextword.models.parts import part_at, parts_of, places_of, replaced
from nextword.models.reader import Reader
from nextword.models.steps import Step
from nextword.models.tap import Tap
from nextword.models.trace import tap_of

NONE = re.compile("(?!)")  # no name

Self = TypeVar("Self", bound="Network")


class Network(ABC):
    """Layers made of named weights, that compute something of token ids.

    weights: named arrays or PackedBytes, a folder's Weights, or RandomWeights. config: a `Config` or the content of a
    config.json, `weights.config` if None. ops, dtype: who computes, and how matrices are stored.
    """

    Config: ClassVar[Any]  # the class of its configuration
    kind: ClassVar[str]  # the model_type of its config.json
    title: ClassVar[str]  # the name in messages
    # What files have beside or around the names that `assemble` asks for.
    prefixes: ClassVar[tuple[str, ...]] = ()  # before all names, in any order and number
    constants: ClassVar[re.Pattern[str]] = NONE  # what is rebuilt by whoever needs it, and not read
    other_heads: ClassVar[re.Pattern[str]] = NONE  # of other classes; nothing that it computes depends on them

    # Set by `assemble`.
    layers: int
    width: int  # numbers of a token between layers
    vocabulary: int
    window: int | None  # tokens that a sequence may have, None: any number
    heads: int  # of queries
    head_width: int  # numbers of a query, key or value
    widest: int  # numbers of all activations of a token that exist at once, at most
    activation: str | None = None  # of the feed-forward layers, as the configuration calls it

    def __init__(self, weights: Mapping[str, NDArray[Any] | PackedBytes], config: Any = None, *,
                 ops: ModuleType = fast_ops, dtype: str | None = None) -> None:
        given: Any = config if config is not None else weights.config  # type: ignore[attr-defined]
        self.config = given if isinstance(given, self.Config) else self.Config.from_dict(given)
        if dtype not in (None, *DTYPES):
            raise ValueError(f"model: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.ops = ops
        self._program: Any = None
        named = weights.renamed(self.own_name) if hasattr(weights, "renamed") else weights
        reader = Reader(named, ops, dtype)
        self.assemble(reader)
        reader.finish(self.title, self.constants, self.other_heads)
        self.dtype: str = reader.stored_as
        self._places = places_of(self, {id(x): name for name, x in reader.taken.items()})

    @classmethod
    def own_name(cls, stored: str) -> str | None:
        """The name by which `assemble` asks for a stored tensor, None for a constant."""
        while front := next((x for x in cls.prefixes if stored.startswith(x)), ""):
            stored = stored[len(front) :]
        return None if cls.constants.fullmatch(stored) else stored

    @abstractmethod
    def assemble(self, read: Reader) -> None:
        """Set the sizes above and make the layers of what `read` gives. It may change `config` by what it finds."""

    @abstractmethod
    def recorded(self, program: Any) -> Any:
        """What the graph computes, recorded (recorder.Value); called of a twin whose `ops` is the recorder."""

    @abstractmethod
    def show_one(self, tap: Tap) -> None:
        """Run a text of one token, and show its activations."""

    def steps(self) -> dict[str, Step]:
        """What activations are made of, by name, for what follows numbers to their sources; those that an architecture
        does not declare end there."""
        return {}

    @property
    def limit(self) -> int:
        """The window as a number: one that no sequence reaches if there is none."""
        return sys.maxsize if self.window is None else self.window

    @property
    def sizes(self) -> str:
        """In words."""
        return (f"{self.layers} layers, {self.heads} heads, width {self.width}, vocabulary {self.vocabulary}, "
                f"context {self.window or 'without end'}")

    @property
    def tap(self) -> Tap:
        """What calls from this context show their activations to; `nextword.trace` opens another."""
        return tap_of(self)

    def __copy__(self: Self) -> Self:
        """Another model of the same parts."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        """A model of its own; packed matrices, which never change, are shared."""
        memo[id(self.ops)] = self.ops
        other = copy(self)
        memo[id(self)] = other
        for name, value in vars(self).items():
            vars(other)[name] = None if name == "_program" else deepcopy(value, memo)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Raises TypeError: a model is found again by where it came from, which LanguageModel knows."""
        raise TypeError(f"pickle: a {type(self).__name__} holds memory of its process; pickle what "
                        "nextword.load returns, which is loaded anew where it is read")

    def quantised(self: Self, dtype: str) -> Self:
        """The model with its matrices held as `dtype`; everything else is shared with it, and a tied head stays tied.

        dtype: one that `ops.pack` takes. Raises ValueError for another.
        """
        held = (*self.tensors().values(), *(layer.weight for layer in parts_of(self, Linear)))
        matrices = [x for x in held if not isinstance(x, np.ndarray)]
        anew: dict[int, Any] = {}
        for x in matrices:
            if id(x) not in anew:
                anew[id(x)] = self.ops.pack(self.ops.unpack(x), dtype)
        other: Self = replaced(self, anew)
        other.dtype, other._program = dtype, None
        return other

    def linears(self) -> list[Linear]:
        """The layers whose matrices a token is multiplied by."""
        return [*parts_of(self, Linear)]

    def tensors(self) -> dict[str, Any]:
        """What the model is made of by Hugging Face's names: packed matrices and float32 vectors."""
        return {name: part_at(self, path) for name, path in self._places.items()}

    def operations(self) -> list[Operation]:
        """What the model's program does, in order; the same for every pass.

        Raises ValueError if its arithmetic has no programs, as that of NumPy.

        >>> import nextword
        >>> [one.name for one in nextword.load().model.operations()][:4]
        ['embedding', 'layer_norm', 'matmul', 'append']
        """
        if not hasattr(self.ops, "Program"):
            raise ValueError("model: operations are those of a program; make the model with ops=nextword.ops")
        return [Operation(*one) for one in self.program().operations()]

    def program(self) -> Any:
        """The graph as a program, which computes what it does, with the same bits."""
        program = self._program
        if program is None:
            program = self.ops.Program()
            twin: Any = replaced(self, {id(self.ops): recorder})
            program.close(twin.recorded(program).view)
            self._program = program  # whole: other threads may take it from here on
        return program


def row_of_ids(ids: Any) -> Ints:
    """The ids of a sequence as int64. Raises ValueError if they are no integers [tokens]."""
    row = np.asarray(ids)
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
        raise ValueError(f"model: ids must be integers [tokens], got {row.dtype} {list(row.shape)}")
    return row.astype(np.int64)

"""Rules that replace a part of an activation: to zero, to the mean, by a factor, by a vector added, by other values.

They are objects, so that they can be told, stored as JSON and compared; `nextword.trace(replace=...)` and
`lm.inside(interventions=...)` take them.

>>> import nextword
>>> lm = nextword.load()
>>> with nextword.trace(lm, "h.3.attn.z", replace=[Zero("h.3.attn.z", heads=[2], positions=[-1])]) as t:
...     _ = lm.logits([281, 290, 300])
>>> t["h.3.attn.z"].any(axis=2)[2].tolist()
[True, True, False]
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nextword.inside.select import Part, Select
from nextword.machine.shown import listed, quoted, shown
from nextword.models.rows import Rows, over_keys
from nextword.models.tap import Rule

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Intervention(Select, Rule):
    """A rule for the part of an activation that the fields of `Select` choose.

    name: of the activation; None where `nextword.trace(replace={name: rule})` says it. What attention's mask hides,
    scores and weights of later tokens, no rule changes. Where a rule changes nothing, no bit changes.
    """

    how: ClassVar[str]
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.name, str | None):
            raise TypeError(f"{self._op}: name must be that of an activation, got {shown(self.name)}")

    def applied(self, name: str, x: Array, rows: Rows, memory: dict[Any, Any]) -> Array:
        """x with its part replaced; x itself where none of it is."""
        part = self.part(name, x, rows)
        reached = self.reached(part)
        part = part._replace(rows=part.rows[reached], rows_chosen=part.rows_chosen[reached])
        old = x[part.among()]
        if not old.size:
            return x
        new = self.changed(name, x, rows, part, memory)
        if over_keys(name):
            new = np.where(part.columns <= rows.positions[part.rows][:, None], new, old)
        y = x.copy()
        y[part.among()] = new
        return y

    def reached(self, part: Part) -> Any:
        """Which of the part's rows the rule has something for."""
        return slice(None)

    @abstractmethod
    def changed(self, name: str, x: Array, rows: Rows, part: Part, memory: dict[Any, Any]) -> Array:
        """What stands in the place of `x[part.among()]`."""

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON has it: name, how, and what differs from the default. Raises ValueError without a name."""
        if self.name is None:
            raise ValueError(f"{self._op}: name must be that of an activation to be told as JSON, got None")
        told: dict[str, Any] = {"name": self.name, "how": self.how}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "name" and value is not None:
                told[one.name] = list(value) if isinstance(value, tuple) else np.asarray(value).tolist()
        return told


@dataclass(frozen=True, eq=False)
class Zero(Intervention):
    """Nothing: 0. A head that is switched off in `attn.z` leaves the bias of the output projection.

    >>> Zero("h.3.attn.z", heads=2).to_json()
    {'name': 'h.3.attn.z', 'how': 'zero', 'heads': [2]}
    """

    how = "zero"

    def changed(self, name: str, x: Array, rows: Rows, part: Part, memory: dict[Any, Any]) -> Array:
        """0."""
        return np.zeros((), x.dtype)


@dataclass(frozen=True, eq=False)
class Scale(Intervention):
    """As it is, times factor."""

    how = "scale"
    factor: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", _number(self._op, "factor", self.factor))

    def changed(self, name: str, x: Array, rows: Rows, part: Part, memory: dict[Any, Any]) -> Array:
        """x * factor."""
        with np.errstate(invalid="ignore"):  # 0 * -inf of what the mask hides, which stays
            return np.asarray(x[part.among()] * np.float32(self.factor))


@dataclass(frozen=True, eq=False)
class Value(Intervention):
    """Other values, as those of another run.

    value: a number; an array [columns], for each row and head; or an array of the activation's number of axes: heads
    (where the activation has them), positions, columns, each as many as are chosen. Where all positions are chosen, the
    axis counts from the first token, and tokens after its end stay as they are.
    """

    how = "value"
    value: Array = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", _array(self._op, self.value))

    def reached(self, part: Part) -> Any:
        """Those that the array has a row for."""
        everywhere = self.positions is not None or self.value.ndim < 2
        return slice(None) if everywhere else part.rows_chosen < self.value.shape[-2]

    def changed(self, name: str, x: Array, rows: Rows, part: Part, memory: dict[Any, Any]) -> Array:
        """The array's rows."""
        return self.of(name, x, part)

    def of(self, name: str, x: Array, part: Part) -> Array:
        """What the array has for the part, of its shape or one that is spread to it. Raises ValueError."""
        value, heads, positions, columns = self.value, part.heads, self._asked("positions"), self._asked("columns")
        size = x.shape[-1] if columns is None else len(columns)
        fits = value.ndim == 0 or value.shape[-1] == size or (over_keys(name) and columns is None
                                                              and value.shape[-1] > size)
        if value.ndim > 1:
            fits &= value.shape[:-2] == (() if heads is None else heads.shape)
            fits &= positions is None or value.shape[-2] == len(positions)
        if not fits:
            axes = [*([] if heads is None else [f"{len(heads)} heads"]),
                    "positions" if positions is None else f"{len(positions)} positions", f"{size}"]
            raise ValueError(f"{self._op}: value for {name} must be a number, [{size}] or [{', '.join(axes)}], "
                             f"got {list(value.shape)}")
        if value.ndim > 1:
            value = value[..., part.rows_chosen, :]
        return value[..., part.columns_chosen] if value.ndim else value

@dataclass(frozen=True, eq=False)
class Add(Value):
    """As it is, plus factor times a value of the shapes of `Value`: a steering vector, for example."""

    how = "add"
    factor: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", _number(self._op, "factor", self.factor))

    def changed(self, name: str, x: Array, rows: Rows, part: Part, memory: dict[Any, Any]) -> Array:
        """x + factor * value."""
        return np.asarray(x[part.among()] + np.float32(self.factor) * self.of(name, x, part))


@dataclass(frozen=True, eq=False)
class Mean(Intervention):
    """The mean over the prompt's tokens, for each head and column: what is then missing is how tokens differ.

    The mean is that of the activation in this run, noted when the prompt is read, and also put in the place of what
    generated tokens have. A prompt that does not go through the model in one pass (of 512 tokens at most) needs
    `Value(value=mean)` of an earlier run in its place: RuntimeError.
    """

    how = "mean"

    def changed(self, name: str, x: Array, rows: Rows, part: Part, memory: dict[Any, Any]) -> Array:
        """The mean of each row's own text."""
        if over_keys(name):
            raise ValueError(f"Mean: {name} must be another activation, as rows of it are of different lengths")
        means = np.empty(x.shape, x.dtype)
        for text, own in rows.by_text():
            prompt = int(rows.prompts[own[0]])
            if rows.positions[own[0]] == 0 and len(own) >= prompt:
                memory[text] = x[..., own[:prompt], :].mean(axis=-2, dtype=np.float64, keepdims=True)
            if text in memory:
                means[..., own, :] = memory[text]
            elif np.isin(own, part.rows).any():
                raise RuntimeError(f"Mean: {name} must be of a prompt that is read in one pass, got a part of it; pass "
                                   "Value(value=...) with the mean of an earlier run")
        return np.asarray(means[part.among()])


HOW: dict[str, type[Intervention]] = {one.how: one for one in (Zero, Mean, Scale, Add, Value)}


def from_json(told: Mapping[str, Any]) -> Intervention:
    """The rule that `to_json` has told. Raises TypeError or ValueError that names the field that is wrong.

    >>> from_json({"name": "h.0.mlp.out", "how": "scale", "factor": 0.5, "positions": [-1]}).factor
    0.5
    """
    if not isinstance(told, Mapping):
        raise TypeError(f"intervention: expected an object with name and how, got {shown(told)}")
    how = told.get("how")
    if not isinstance(how, str) or how not in HOW:
        raise ValueError(f"intervention: how must be one of {', '.join(HOW)}, got {shown(how)}")
    kind, given = HOW[how], {key: value for key, value in told.items() if key != "how"}
    known = {one.name: one for one in fields(kind)}
    if unknown := given.keys() - known.keys():
        raise ValueError(f"intervention: {how} has the fields {', '.join(known)}, "
                         f"got {listed(sorted(map(str, unknown)))}")
    if not isinstance(given.get("name"), str):
        raise ValueError(f"intervention: name must be that of an activation, got {shown(given.get('name'))}")
    for one in ("factor", "value"):
        if one in known and one not in given and not (kind is Add and one == "factor"):
            raise ValueError(f"intervention: {one} must be there for {how}, got {listed(sorted(map(str, told)))}")
    for one in ("heads", "positions", "columns", "sequences"):
        if not isinstance(given.get(one), list | None):
            raise TypeError(f"intervention: {one} must be a list of integers, got {shown(given[one])}")
    return kind(**given)


def interventions(told: Sequence[Mapping[str, Any]]) -> list[Intervention]:
    """Several rules; an error says which of them is wrong."""
    if isinstance(told, str | bytes | Mapping) or not isinstance(told, Sequence):
        raise TypeError(f"interventions: expected a list, got {shown(told)}")
    found = []
    for number, one in enumerate(told):
        try:
            found.append(from_json(one))
        except (TypeError, ValueError) as error:
            raise type(error)(f"interventions[{number}]: {error}") from None
    return found


def _number(op: str, field: str, given: Any) -> float:
    if isinstance(given, bool | np.bool_) or not isinstance(given, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: {field} must be a number, got {shown(given)}")
    number = float(given)
    if not abs(number) <= float(np.finfo(np.float32).max):
        raise ValueError(f"{op}: {field} must be finite as float32, got {given}")
    return number


def _array(op: str, given: Any) -> Array:
    try:
        found = np.asarray(given)
    except ValueError:  # lists of different lengths
        found = np.empty(0, object)
    if found.dtype.kind not in "iuf" or found.ndim > 3:
        raise TypeError(f"{op}: value must be numbers of at most 3 axes, got {shown(given)}")
    with np.errstate(over="ignore"):
        values = found.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{op}: value must be finite as float32, got {quoted(shown(given))}")
    values.flags.writeable = False
    return values

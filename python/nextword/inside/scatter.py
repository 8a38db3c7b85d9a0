"""A picture of points in two dimensions, with names, and with lines that lead through some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Doubles
from nextword.inside.pictures import NEGATIVE, POSITIVE, Picture, new_axes, plain
from nextword.inside.tables import Table, escaped, number, visible

WIDE, HIGH = 420, 320  # of the field
LEFT, BELOW, MARGIN = 56, 20, 24
DASHES = ("none", "7 4", "2 3", "9 3 2 3")  # lines are told apart by these, not by colour


@dataclass(frozen=True)
class Scatter(Picture):
    """Points and paths, both axes to one scale, so that distances and angles are those of the plane.

    points: float64 [points, 2]. labels: of each. axes: names of both. paths: name and float64 [steps, 2] of each line,
    which begins at a ring and ends at a dot. note: what else must be said.

    >>> Scatter(np.array([[0.0, 1.0], [2.0, 0.0]]), [" a", " b"], ("x", "y")).html().count("<circle")
    2
    """

    points: Doubles
    labels: Sequence[str]
    axes: tuple[str, str]
    paths: Sequence[tuple[str, Doubles]] = ()
    title: str = ""
    note: str = ""

    def html(self) -> str:
        """A `<figure>`: an SVG with the ends of its scales, and the coordinates as a table."""
        low, step = self._frame()
        parts: list[str] = []
        names: list[tuple[str, float, float]] = []
        for i, (name, path) in enumerate(self.paths):
            at = self._placed(path, low, step)
            parts.append(self._line(name, at, DASHES[i % len(DASHES)]))
            names.append((name, *at[-1]))
        for (x, y), name, (a, b) in zip(self._placed(self.points, low, step), self.labels, self.points, strict=True):
            said = escaped(f"{visible(name)}: {number(a)}, {number(b)}")
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_rgb(POSITIVE)}"><title>{said}</title>'
                         "</circle>")
            names.append((visible(name), x, y))
        title = f'<figcaption style="font-weight:600">{escaped(self.title)}</figcaption>' if self.title else ""
        size = LEFT + WIDE + 2, HIGH + BELOW
        said = escaped(f"{self.title or 'points'}: {len(self.points)} points, {len(self.paths)} paths; "
                       f"across {self.axes[0]}, up {self.axes[1]}")
        note = f"; {self.note}" if self.note else ""
        return (f'<figure style="margin:.5em 0;color:inherit">{title}<svg xmlns="http://www.w3.org/2000/svg" '
                f'width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}" role="img" '
                f'aria-label="{said}" style="max-width:100%;height:auto;font:12px monospace" fill="currentColor">'
                f'{self._scales(low, step)}{"".join(parts)}{_apart(names)}</svg><div style="font-size:.85em">'
                f"{escaped(f'across: {self.axes[0]}; up: {self.axes[1]}; both to one scale{note}')}</div>"
                f"{self._table()}</figure>")

    def plot(self, ax: Any = None) -> Any:
        """Drawn into matplotlib's axes; see `Picture.plot`."""
        ax = ax or new_axes()
        for i, (name, path) in enumerate(self.paths):
            style = (0, tuple(map(int, DASHES[i % len(DASHES)].split()))) if i % len(DASHES) else "-"
            ax.plot(path[:, 0], path[:, 1], marker=".", linestyle=style, label=plain(name))
        ax.scatter(self.points[:, 0], self.points[:, 1], color=[tuple(c / 255 for c in POSITIVE)])
        for (x, y), name in zip(self.points, self.labels, strict=True):
            ax.annotate(plain(name), (x, y), textcoords="offset points", xytext=(5, 4))
        if self.paths:
            ax.legend()
        ax.set(title=plain(self.title), xlabel=plain(self.axes[0]), ylabel=plain(self.axes[1]), aspect="equal")
        return ax

    def _frame(self) -> tuple[Doubles, float]:
        """The coordinates of the lower left corner, and those of a pixel."""
        every = np.concatenate([np.reshape(self.points, (-1, 2)), *(path for _, path in self.paths)])
        every = every[np.isfinite(every).all(1)] if len(every) else every
        low, high = (every.min(0), every.max(0)) if len(every) else (np.zeros(2), np.ones(2))
        room = np.array([WIDE - 5 * MARGIN, HIGH - 2 * MARGIN])  # names stand to the right of points
        step = float(((high - low) / room).max()) or 1 / HIGH
        return (low + high) / 2 - step * np.array([WIDE - 3 * MARGIN, HIGH]) / 2, step

    def _placed(self, points: Doubles, low: Doubles, step: float) -> list[tuple[float, float]]:
        return [(LEFT + (x - low[0]) / step, HIGH - (y - low[1]) / step) for x, y in np.reshape(points, (-1, 2))]

    def _line(self, name: str, at: list[tuple[float, float]], dash: str) -> str:
        way = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        dots = ""
        for i, (x, y) in enumerate(at):
            said = escaped(f"{name}, step {i}")
            dots += (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 if i else 4}" fill="{_rgb(NEGATIVE) if i else "none"}" '
                     f'stroke="{_rgb(NEGATIVE)}"><title>{said}</title></circle>')
        return (f'<path d="{way}" fill="none" stroke="{_rgb(NEGATIVE)}" stroke-width="1.5" stroke-dasharray="{dash}"/>'
                f"{dots}")

    def _scales(self, low: Doubles, step: float) -> str:
        """A frame, the numbers at its ends, and lines where a coordinate is 0."""
        high = low + step * np.array([WIDE, HIGH])
        frame = (f'<rect x="{LEFT}" y="0" width="{WIDE}" height="{HIGH}" fill="none" stroke="currentColor" '
                 f'stroke-opacity=".35"/>')
        (x, y), = self._placed(np.zeros((1, 2)), low, step)
        zero = f"M{x:.1f} 0v{HIGH}" if low[0] < 0 < high[0] else ""
        zero += f"M{LEFT} {y:.1f}h{WIDE}" if low[1] < 0 < high[1] else ""
        text = [(LEFT, HIGH + 14, "start", low[0]), (LEFT + WIDE, HIGH + 14, "end", high[0]),
                (LEFT - 4, HIGH - 2, "end", low[1]), (LEFT - 4, 12, "end", high[1])]
        ends = "".join(f'<text x="{a}" y="{b}" text-anchor="{c}">{escaped(number(float(f"{d:.3g}")))}</text>'
                       for a, b, c, d in text)
        return f'{frame}<path d="{zero}" stroke="currentColor" stroke-opacity=".25"/>{ends}'

    def _table(self) -> str:
        rows = [[visible(name), *at] for name, at in zip(self.labels, self.points.tolist(), strict=True)]
        rows += [[f"{name}, step {i}", *at] for name, path in self.paths for i, at in enumerate(path.tolist())]
        table = Table(["", *self.axes], rows)
        return f'<details><summary style="cursor:pointer">table</summary>{table.html()}</details>'


def _rgb(colour: tuple[int, int, int]) -> str:
    return f"rgb({','.join(map(str, colour))})"


def _apart(names: list[tuple[str, float, float]]) -> str:
    """Names to the right of their points, one that would lie on another below it."""
    taken: list[tuple[float, float, float]] = []
    parts = []
    for name, x, y in sorted(names, key=lambda one: one[2]):
        left, right = x + 7, x + 7 + 7.3 * len(name)  # 12 px monospace
        for begin, end, low in sorted(taken, key=lambda one: one[2]):
            if begin < right and left < end and abs(low - y) < 12:
                y = low + 12
        taken.append((left, right, y))
        parts.append(f'<text x="{left:.1f}" y="{y + 4:.1f}">{escaped(name)}</text>')
    return "".join(parts)

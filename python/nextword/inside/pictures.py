"""Pictures of numbers as HTML and by matplotlib: heat maps and bars. Each carries its scale, unit and ramp.

Colours are two hues that colour-blind readers tell apart, the more opaque the larger the number, so that 0 is the
page's own background in a dark theme and in a light one. A negative number has a mark of its own beside its colour.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextword.inside.png import png, pooled
from nextword.inside.tables import MINUS, Table, escaped, number, visible

Scale = Literal["signed", "amount", "share"]
"""How numbers become colours: about 0; from 0 or the least up; from 0 to 1 by the square root, for weights."""

POSITIVE, NEGATIVE = (217, 102, 10), (47, 120, 205)  # each at least 3 : 1 against white and against #111
MOST_CELLS = 60  # a side of an SVG
MOST_PIXELS = 340  # cells a side of a PNG, three pixels each; more are pooled
MOST_IN_TABLE = 400  # cells that are also given as a table


class Picture(ABC):
    """What can be shown in a notebook and drawn by matplotlib."""

    @abstractmethod
    def html(self) -> str:
        """Without script, its text escaped."""

    @abstractmethod
    def plot(self, ax: Any = None) -> Any:
        """Drawn into matplotlib's axes, new ones if None, which it returns. Needs the extra `plot`."""

    def _repr_html_(self) -> str:
        return self.html()


class Pictured(ABC):
    """A result that has a picture: `_repr_html_` for notebooks, `.plot(ax=None)` for matplotlib."""

    @abstractmethod
    def picture(self) -> Picture:
        """Of the result."""

    def _repr_html_(self) -> str:
        return self.picture().html()

    def plot(self, ax: Any = None) -> Any:
        """The picture drawn into matplotlib's axes, new ones if None, which it returns. Needs the extra `plot`."""
        return self.picture().plot(ax)


@dataclass(frozen=True)
class HeatMap(Picture):
    """A matrix as coloured cells.

    values: [rows, cols]; NaN and infinite ones stay empty. rows, cols: labels of either side, tokens or texts, or None.
    side, top: what rows and columns are. unit: of the numbers, as "probability" or "change of the logit".

    >>> HeatMap(np.float32([[1, -2]]), title="two", unit="logit").html().count("<rect") >= 2
    True
    """

    values: NDArray[Any]
    rows: Sequence[str] | None = None
    cols: Sequence[str] | None = None
    title: str = ""
    unit: str = ""
    scale: Scale = "signed"
    side: str = ""
    top: str = ""

    @property
    def domain(self) -> tuple[float, float]:
        """The numbers at either end of the ramp."""
        seen = self.values[np.isfinite(self.values)]
        if self.scale == "share":
            return 0.0, 1.0
        if self.scale == "signed":
            most = float(np.abs(seen).max(initial=0))
            return -most, most
        return min(0.0, float(seen.min(initial=0))), max(0.0, float(seen.max(initial=0)))

    def colours(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Red, green, blue and opacity of each number: uint8 [..., 4]."""
        low, high = self.domain
        x = np.where(np.isfinite(values), values, 0).astype(np.float64)
        share = np.clip((x - low) / (high - low), 0, 1) if high > low else np.zeros_like(x)
        if self.scale == "signed":
            share = np.abs(2 * share - 1) if high > low else share
        elif self.scale == "share":
            share = np.sqrt(share)
        hue = np.where((x < 0)[..., None], NEGATIVE, POSITIVE)
        opacity = np.where(np.isfinite(values), np.rint(255 * share), 0)
        return np.concatenate([hue, opacity[..., None]], -1).astype(np.uint8)

    def html(self) -> str:
        """A `<figure>`: an SVG of at most 60 cells a side, else a PNG; its ramp; a table where that is short."""
        large = max(self.values.shape, default=0) > MOST_CELLS
        drawn, note = self._png() if large else (self._svg(), "")
        title = f'<figcaption style="font-weight:600">{escaped(self.title)}</figcaption>' if self.title else ""
        return (f'<figure style="margin:.5em 0;color:inherit">{title}{drawn}{self._legend(note)}'
                f"{self._as_table()}</figure>")

    def plot(self, ax: Any = None) -> Any:
        """Drawn into matplotlib's axes with its ramp; see `Picture.plot`."""
        ax = ax or new_axes()
        low, high = self.domain
        from matplotlib.colors import LinearSegmentedColormap, Normalize, PowerNorm

        ends = [np.array(c) / 255 for c in (NEGATIVE, POSITIVE)]
        hues = [ends[0], np.ones(3), ends[1]] if self.scale == "signed" else [np.ones(3), ends[1]]
        norm = PowerNorm(0.5, low, high) if self.scale == "share" else Normalize(low, high)
        image = ax.imshow(self.values, cmap=LinearSegmentedColormap.from_list("nextword", hues), norm=norm)
        for labels, axis in ((self.rows, "y"), (self.cols, "x")):
            if labels is not None and len(labels) <= MOST_CELLS:
                getattr(ax, f"set_{axis}ticks")(range(len(labels)), [plain(x) for x in labels],
                                                **({"rotation": 90} if axis == "x" else {}))
        ax.set(title=plain(self.title), xlabel=self.top, ylabel=self.side)
        if max(self.values.shape, default=0) <= MOST_CELLS:
            for i, j in np.argwhere((self.values < 0) & np.isfinite(self.values)).tolist():
                ax.text(j, i, MINUS, ha="center", va="center", fontsize=7)
        ax.figure.colorbar(image, ax=ax, label=self.unit)
        return ax

    def _svg(self) -> str:
        high, wide = self.values.shape
        cell = 22 if wide <= 24 else 14 if wide <= 40 else 10
        left = 8 * max((len(visible(x)) for x in self.rows or ()), default=0) + 6
        above = 8 * max((len(visible(x)) for x in self.cols or ()), default=0) + 6
        parts, minus = [], []
        colours = self.colours(self.values)
        for i in range(high):
            for j in range(wide):
                r, g, b, a = colours[i, j].tolist()
                x, y = left + j * cell, above + i * cell
                said = escaped(f"{self._where(i, j)}: {number(self.values[i, j])}")
                parts.append(f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" fill="rgb({r},{g},{b})" '
                             f'fill-opacity="{a / 255:.3g}"><title>{said}</title></rect>')
                if self.values[i, j] < 0 and a:
                    minus.append(f"M{x + cell * 0.3:.4g} {y + cell / 2:.4g}h{cell * 0.4:.4g}")
        for i, row in enumerate(self.rows or ()):
            parts.append(f'<text x="{left - 4}" y="{above + (i + 0.5) * cell:.4g}" text-anchor="end" '
                         f'dominant-baseline="central">{escaped(visible(row))}</text>')
        for j, col in enumerate(self.cols or ()):
            parts.append(f'<text transform="translate({left + (j + 0.5) * cell:.4g} {above - 4}) rotate(-90)" '
                         f'dominant-baseline="central">{escaped(visible(col))}</text>')
        frame = (f'<rect x="{left}" y="{above}" width="{wide * cell}" height="{high * cell}" fill="none" '
                 f'stroke="currentColor" stroke-opacity=".35"/>')
        size = left + wide * cell + 2, above + high * cell + 2
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
                f'viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{self._said()}" '
                f'style="max-width:100%;height:auto;font:12px monospace" fill="currentColor">{"".join(parts)}'
                f'<path d="{"".join(minus)}" stroke="currentColor" fill="none"/>{frame}</svg>')

    def _png(self) -> tuple[str, str]:
        """An image of 3 x 3 pixels a cell, a hole in each negative one, and what was pooled."""
        values, step = self.values, -(-max(self.values.shape) // MOST_PIXELS)
        note = f"; each cell the largest of {step} x {step}" if step > 1 else ""
        values = pooled(values, step)
        pixels = self.colours(values).repeat(3, 0).repeat(3, 1)
        pixels[1::3, 1::3][values < 0] = 0
        data = base64.b64encode(png(pixels)).decode("ascii")
        return (f'<img alt="{self._said()}" src="data:image/png;base64,{data}" style="width:{pixels.shape[1]}px;'
                f'max-width:100%;image-rendering:pixelated;border:1px solid">'), note

    def _legend(self, note: str) -> str:
        low, high = self.domain
        steps = np.linspace(low, high, 33)
        cells = "".join(f'<rect x="{6 * i}" width="6" height="12" fill="rgb({r},{g},{b})" '
                        f'fill-opacity="{a / 255:.3g}"/>'
                        for i, (r, g, b, a) in enumerate(self.colours(steps).tolist()))
        minus = '<path d="M10 6h8" stroke="currentColor"/>' if low < 0 else ""
        how = {"signed": f"0 = no colour, negative: {MINUS}", "share": "colour by the square root", "amount": "linear"}
        shape = " x ".join(str(n) for n in self.values.shape)
        axes = ", ".join(f"{a}: {b}" for a, b in (("down", self.side), ("across", self.top)) if b)
        words = "; ".join(x for x in (self.unit, how[self.scale], axes, f"{shape} cells{note}") if x)
        ramp = (f'<svg xmlns="http://www.w3.org/2000/svg" width="198" height="12" role="img" '
                f'aria-label="colour ramp">{cells}{minus}<rect width="198" height="12" fill="none" '
                f'stroke="currentColor" stroke-opacity=".35"/></svg>')
        return (f'<div style="font-size:.85em">{escaped(number(low))} {ramp} {escaped(number(high))} '
                f"<span>{escaped(words)}</span></div>")

    def _as_table(self) -> str:
        if not 0 < self.values.size <= MOST_IN_TABLE:
            return ""
        cols = self.cols or [str(j) for j in range(self.values.shape[1])]
        rows = self.rows or [str(i) for i in range(self.values.shape[0])]
        body = [[visible(name), *row] for name, row in zip(rows, self.values.tolist(), strict=True)]
        table = Table([self.side or "", *map(visible, cols)], body)
        return f'<details><summary style="cursor:pointer">table</summary>{table.html()}</details>'

    def _where(self, i: int, j: int) -> str:
        row = visible(self.rows[i]) if self.rows else str(i)
        col = visible(self.cols[j]) if self.cols else str(j)
        return f"{row}, {col}"

    def _said(self) -> str:
        """In a sentence, with the largest number and where it stands."""
        seen = np.where(np.isfinite(self.values), np.abs(self.values), -1)
        if not seen.size or seen.max() < 0:
            return escaped(f"{self.title or 'heat map'}: no numbers")
        i, j = np.unravel_index(int(seen.argmax()), seen.shape)
        return escaped(f"{self.title or 'heat map'}: largest at {self._where(int(i), int(j))}, "
                       f"{number(self.values[i, j])} {self.unit}")


@dataclass(frozen=True)
class Bars(Picture):
    """Named numbers as bars from 0 on, to the right if positive and to the left if negative.

    >>> f"{MINUS}2" in Bars(["a", "b"], [1.0, -2.0], unit="logit").html()
    True
    """

    labels: Sequence[str]
    values: Sequence[float]
    title: str = ""
    unit: str = ""
    note: str = ""

    def html(self) -> str:
        """A `<figure>` with an SVG, each bar with its number."""
        most = max((abs(x) for x in self.values if np.isfinite(x)), default=0) or 1
        middle = 120 if any(x < 0 for x in self.values) else 0
        left, parts = 8 * max((len(visible(x)) for x in self.labels), default=0) + 8, []
        for i, (label, value) in enumerate(zip(self.labels, self.values, strict=True)):
            y, size = 18 * i, 120 * abs(value) / most if np.isfinite(value) else 0
            r, g, b = NEGATIVE if value < 0 else POSITIVE
            x = left + middle - (size if value < 0 else 0)
            parts.append(f'<text x="{left - 6}" y="{y + 13}" text-anchor="end">{escaped(visible(label))}</text>'
                         f'<rect x="{x:.5g}" y="{y + 3}" width="{size:.4g}" height="12" fill="rgb({r},{g},{b})"/>'
                         f'<text x="{left + middle + 126}" y="{y + 13}">{escaped(number(value))}</text>')
        wide, high = left + middle + 220, 18 * len(self.labels) + 4
        said = escaped(f"{self.title or 'bars'}: {len(self.labels)} numbers")
        axis = f'<path d="M{left + middle} 0v{high}" stroke="currentColor" stroke-opacity=".5"/>'
        words = "; ".join(x for x in (self.unit, f"full bar: {number(most)}", self.note) if x)
        title = f'<figcaption style="font-weight:600">{escaped(self.title)}</figcaption>' if self.title else ""
        return (f'<figure style="margin:.5em 0;color:inherit">{title}<svg xmlns="http://www.w3.org/2000/svg" '
                f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img" aria-label="{said}" '
                f'style="max-width:100%;height:auto;font:12px monospace" fill="currentColor">{"".join(parts)}{axis}'
                f'</svg><div style="font-size:.85em">{escaped(words)}</div></figure>')

    def plot(self, ax: Any = None) -> Any:
        """Drawn into matplotlib's axes; see `Picture.plot`."""
        ax = ax or new_axes()
        hues = [tuple(c / 255 for c in (NEGATIVE if x < 0 else POSITIVE)) for x in self.values]
        ax.barh([plain(x) for x in self.labels] if len(set(self.labels)) == len(self.labels)
                else range(len(self.labels)), list(self.values), color=hues)
        ax.invert_yaxis()
        ax.set(title=plain(self.title), xlabel=self.unit)
        return ax


def plain(text: str) -> str:
    """For matplotlib, which reads what stands between dollar signs as formulas."""
    return visible(text).replace("·", " ").replace("$", r"\$")


def new_axes() -> Any:
    """Matplotlib's axes in a figure of their own. Raises ImportError with the extra that has it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("plot: matplotlib is not installed; pip install 'nextword[plot]'") from None
    return plt.subplots()[1]

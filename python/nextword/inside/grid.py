"""Grid: a number for each row and column with its picture: what scans over layers, heads or positions give."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextword.inside.pictures import HeatMap, Pictured, Scale


@dataclass(frozen=True, eq=False)
class Grid(Pictured):
    """Numbers by row and column.

    values: float64 [rows, columns]. rows, cols: what each is called; side, top: what they are. title: what was done;
    unit: what the numbers are. scale: how they are coloured, see HeatMap.
    """

    values: NDArray[np.float64]
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    side: str
    top: str
    title: str
    unit: str
    scale: Scale = "signed"

    def top_entries(self, count: int = 10) -> list[tuple[str, str, float]]:
        """The entries farthest from 0: (row, column, value), the farthest first; of equal ones the upper left first.

        >>> Grid(np.array([[0, -2], [1, 0]]), ("a", "b"), ("c", "d"), "", "", "", "").top_entries(2)
        [('a', 'd', -2.0), ('b', 'c', 1.0)]
        """
        order = np.argsort(-np.abs(self.values), axis=None, kind="stable")[:count]
        places = [divmod(int(i), self.values.shape[1]) for i in order]
        return [(self.rows[row], self.cols[col], float(self.values[row, col])) for row, col in places]

    def picture(self) -> HeatMap:
        """As a heat map."""
        return HeatMap(self.values, self.rows, self.cols, self.title, self.unit, self.scale, self.side, self.top)

    def __repr__(self) -> str:
        high, wide = self.values.shape
        return f"{type(self).__name__}({self.title}: {high} {self.side}s x {wide} {self.top}s, {self.unit})"

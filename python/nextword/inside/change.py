"""Change: what becomes of the next word when parts of a model are switched off for a prompt."""

from typing import Any, Literal
import numpy as np
How = Literal["zero", "mean"]

def off(name, how, heads=None, columns=None, positions=None):
    def edit(x):
        old = x
        x = x.copy()
        n = x.shape[-2]
        pos = np.arange(n) if positions is None else np.array(positions)
        if x.ndim == 3:
            h = np.arange(len(x)) if heads is None else np.array(heads)
            x[np.ix_(h, pos)] = 0 if how == "zero" else old[h].mean(1)[:, None]
        else:
            c = np.arange(x.shape[1]) if columns is None else np.array(columns)
            x[np.ix_(pos, c)] = 0 if how == "zero" else old[:, c].mean(0)
        return x
    return {name: edit}

"""Labels of tokens joined to pieces of a text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.tasks.encoded import Span

OUTSIDE = "O"


def spans(text: str, tokens: Any, chances: NDArray[np.float64], labels: Sequence[str]) -> list[Span]:
    """The pieces that have a label.

    tokens: WithSpecials of the text; chances: [tokens, labels]. As transformers' "simple" aggregation does it: B-X
    begins a piece, I-X and a label without such a prefix go on with one of the same kind, or begin one.
    """
    found: list[Span] = []
    kind, scores, start, end = "", [0.0], 0, 0
    for row, (place, part) in enumerate(zip(tokens.offsets, tokens.parts, strict=True)):
        if part is None:
            continue
        best = int(chances[row].argmax())
        prefix, _, rest = labels[best].partition("-")
        begins, name = (prefix == "B", rest) if prefix in ("B", "I") and rest else (False, labels[best])
        if name == kind and not begins:
            scores.append(float(chances[row, best]))
            end = place[1]
            continue
        if kind and kind != OUTSIDE:
            found.append(Span(kind, float(np.mean(scores)), start, end, text[start:end]))
        kind, scores, (start, end) = name, [float(chances[row, best])], place
    if kind and kind != OUTSIDE:
        found.append(Span(kind, float(np.mean(scores)), start, end, text[start:end]))
    return found

"""The tree of a beam search as data, and as text. The search that grows it is in beams.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Decode = Callable[[list[int]], str]
Fate = Literal["kept", "finished", "dropped"]


@dataclass(frozen=True)
class BeamCandidate:
    """One way in which a beam could go on.

    parent: the beam's number; beam i of a step is the i-th kept candidate of the step before, 0 the prompt at first.
    token: what follows. logprob: the sum of log-probabilities so far. score: logprob over length ** length_penalty.
    fate: "kept" goes on as a beam, "finished" ended as a hypothesis, "dropped" is neither.
    """

    parent: int
    token: int
    logprob: float
    score: float
    fate: Fate


@dataclass(frozen=True)
class BeamStep:
    """What was considered for one position: the candidates group by group, the most probable first."""

    candidates: list[BeamCandidate]


def render_tree(tree: Sequence[BeamStep], decode: Decode) -> str:
    """The paths of a search as lines of text: tokens up to the next branch, and the sum of log-probabilities there.

    A path that ended shows its score; "left" is one that the others displaced. Dropped candidates are not drawn.

    >>> kept, ended = BeamCandidate(0, 0, -0.5, -0.5, "kept"), BeamCandidate(0, 1, -1.0, -1.0, "finished")
    >>> print(render_tree([BeamStep([kept, ended])], lambda ids: "".join("ab"[i] for i in ids)))
    ├─ 'a'  -0.50  left
    └─ 'b'  -1.00  score -1.00
    """
    children: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (step, candidate) -> those that go on from it
    beams = [(-1, 0)]
    for number, step in enumerate(tree):
        nodes = [(number, i) for i, candidate in enumerate(step.candidates) if candidate.fate != "dropped"]
        for node in nodes:
            children.setdefault(beams[step.candidates[node[1]].parent], []).append(node)
        beams = [node for node in nodes if step.candidates[node[1]].fate == "kept"]
    lines = []
    waiting = [(node, "", i == 0) for i, node in enumerate(reversed(children.get((-1, 0), [])))]
    while waiting:
        node, indent, last = waiting.pop()
        tokens = []
        while True:
            candidate, below = tree[node[0]].candidates[node[1]], children.get(node, [])
            tokens.append(candidate.token)
            if len(below) != 1:
                break
            node = below[0]
        mark = f"  score {candidate.score:.2f}" if candidate.fate == "finished" else "" if below else "  left"
        lines.append(f"{indent}{'└' if last else '├'}─ {decode(tokens)!r}  {candidate.logprob:.2f}{mark}")
        indent += "   " if last else "│  "
        waiting += [(node, indent, i == 0) for i, node in enumerate(reversed(below))]
    return "\n".join(lines)

"""The shape of answers about one run, its numbers and its changes, and about words; see `answers.py`."""

from __future__ import annotations

from typing import Any, TypedDict

from nextword.page.answers import Texts, Word


class Term(TypedDict):
    """A term of a sum; of a product its factors, which a scale may follow, else null."""

    index: int
    left: float | None
    right: float | None
    product: float


class Source(TypedDict):
    """An activation that a number is made of, or that is made of it; index has null where an axis is taken whole."""

    name: str
    index: list[int | None]


class CellAnswer(TypedDict):
    """POST /api/run/R/cell {"name": str, "index": [int]}

    name: of an activation, or of a weight by its name in the model's files. value: the model's float32 number. formula:
    how it was made, in words of the names. operands: numbers of the formula, such as mean and std. terms: the largest
    of `terms_total`; rest: the sum of all others. computed: the number made of its sources in float64; it differs from
    value by `bound` at most. python: a line that gives the number.
    """

    name: str
    index: list[int]
    shape: list[int]
    value: float | None
    formula: str
    operands: list[dict[str, Any]]
    terms: list[Term]
    terms_total: int
    rest: float
    computed: float | None
    bound: float
    sources: list[Source]
    python: str


class Mover(TypedDict):
    """A token whose probability changed; logit: the change of its logit."""

    id: int
    before: float
    after: float
    logit: float


class Watched(TypedDict):
    """What became of one token: the change of its logit, and of its log-probability in nats."""

    id: int
    logit: float | None
    logprob: float | None


class AblateAnswer(TypedDict):
    """POST /api/run/R/ablate {"interventions": [rule], "top": int, "target": int|str|null}

    run: of the changed run, for all other calls. before, after: next words of both. kl: Kullback-Leibler divergence of
    after from before, in nats. movers: whose probability changed most. target: what became of this token, by default
    the most probable one before. changes: whether any logit did. Rules: see `rules.rules_of`.
    """

    run: str
    before: list[Word]
    after: list[Word]
    kl: float
    movers: list[Mover]
    target: Watched
    changes: bool
    texts: Texts


class ScanEvent(TypedDict):
    """POST /api/run/R/scan {"over": "heads"|"layers"|"neurons", "target": int|str|null, "measure": "logit"|"logprob"|
    "kl", "how": "zero"|"mean", "layers": [int]|null}; POST /api/run/R/patch {"other": run, "at": str, "over":
    "position"|"head"|"layer", "measure": [id|str, id|str]|null, "layers": [int]|null}: server-sent events `row`, then
    `end`.

    values: of some columns of a layer, the first of them `first`. Of a scan the change of the measure where a head, a
    part (attention, mlp) or a neuron is off; `end` has {"target", "before", "texts"}. Of a patch how much of R, the
    clean run, it brings back in `other`, the corrupted one: 1 all, 0 nothing; `end` has {"measure", "clean",
    "corrupted", "texts"}: the measure of either run.
    """

    layer: int
    first: int
    values: list[float]


class AttributeAnswer(TypedDict):
    """POST /api/run/R/attribute {"target": int|str, "against": int|str|null, "position": int,
    "by": "part"|"head"|"source"|"neuron"}

    What each part adds to the logit of the target (less that of `against`); parts and others, the sum of those that are
    too many to tell, sum to `logit` within `bound`. Names: see `nextword.inside.attribution.Attribution`.
    """

    target: int
    against: int | None
    position: int
    parts: list[dict[str, Any]]  # {"name", "value"}
    others: float
    logit: float
    bound: float
    texts: Texts


class NeuronsAnswer(TypedDict):
    """POST /api/run/R/neurons {"layer": int, "position": int, "top": int}

    The neurons with the largest activation times length of their output; promoted, suppressed: the tokens whose logits
    they raise and lower most, directly.
    """

    layer: int
    position: int
    neurons: list[dict[str, Any]]  # {"neuron", "before", "activation", "promoted": [id], "suppressed": [id]}
    texts: Texts


class Near(TypedDict):
    """A token, and how near it is."""

    id: int
    cosine: float


class NearAnswer(TypedDict):
    """POST /api/neighbours {"word": str|int, "count": int};
    POST /api/analogy {"a", "b", "c": str|int, "exclude": bool, "count": int}: nearest to a - b + c
    """

    words: list[int]
    near: list[Near]
    texts: Texts


class PlaneAnswer(TypedDict):
    """A plane that vectors are drawn on: its axes' names, each one's share of the variance, the cosine between them."""

    names: list[str]
    shares: list[float]
    cosine: float


class SimilarityAnswer(TypedDict):
    """POST /api/similarity {"words": [str|int], "axes": null|[[a, b]]}: all pairs, [words][words]; norms: [words].

    axes: one or two pairs of words, each an axis from b to a; null: the directions in which the words differ most.
    """

    words: list[int]
    dot: list[list[float]]
    scaled_dot: list[list[float]]
    cosine: list[list[float]]
    norms: list[float]
    points: list[list[float]]  # [words, 2]: on the plane
    plane: PlaneAnswer
    texts: Texts


class PullAnswer(TypedDict):
    """POST /api/pull {"word": str, "contexts": [str], "towards": [str|int], "axes": null|[[a, b]]}

    A word's vector before the first layer and after each, compared with reference words, in several contexts. rows: the
    names of these activations. cosines: [contexts][rows][towards]; between: [rows][contexts][contexts]; path:
    [contexts][rows][2] and points: [towards][2], on the plane. same: pairs of contexts, the same up to the word.
    """

    word: str
    contexts: list[str]
    towards: list[int]
    rows: list[str]
    cosines: list[list[list[float]]]
    between: list[list[list[float]]]
    path: list[list[list[float]]]
    points: list[list[float]]
    plane: PlaneAnswer
    same: list[list[int]]
    texts: Texts


class CompareAnswer(TypedDict):
    """POST /api/compare {"prompts": [str], "continuations": [str]}

    p: [prompts][continuations], the probability of exactly these tokens; share: among the continuations; whole: whether
    prompt and continuation written in one are the same tokens. ratio: ln of the probability over that of the first
    continuation. A prompt may be a template, "The {doctor|nurse} said"; `prompts` are those that it stands for.
    """

    prompts: list[str]
    continuations: list[str]
    p: list[list[float]]
    share: list[list[float]]
    ratio: list[list[float | None]]
    whole: list[list[bool | None]]

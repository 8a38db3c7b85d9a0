"""The shape of what the page asks for and gets: one class for each answer, with the call that gives it.

Layers, heads, positions are counted from 0; a negative one counts from the end. Token ids are numbers, their texts
stand in `texts`, once for an answer. Numbers are the library's float32 or float64, written so that reading them back
gives the same bits; what is no number (infinite, NaN) is null. Errors are `Failure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing import NotRequired  # of Python 3.11

Texts = dict[str, str]  # id -> text; bytes that are no characters stand as <F0><9F>


class Failure(TypedDict):
    """Any error: `{"error": {...}}` with the status of `errors.py`; the page words each code in its language."""

    code: str
    message: str  # in English, for a log
    argument: NotRequired[str]
    tokens: NotRequired[int]
    window: NotRequired[int]
    name: NotRequired[str]
    waiting: NotRequired[int]


class Part(TypedDict):
    """A tensor of the model."""

    name: str
    shape: list[int]
    count: int
    layer: int | None  # null: of no single layer


class Parameters(TypedDict):
    """The ledger: parts sum to total."""

    total: int
    parts: list[Part]


class Limits(TypedDict):
    """What one request may ask for."""

    body: int  # bytes
    top: int  # tokens of a list
    lens_positions: int  # of the lens that comes with a run
    new_tokens: int
    words: int  # characters of a word or a continuation
    prompts: int  # of a comparison
    waiting: int  # runs


class Start(TypedDict):
    """What the command was called with."""

    prompt: str
    compare: str | None
    lang: str | None  # "de", "en", null: the browser's
    against: NotRequired[str]  # the name of a second model, which has the same calls below /api/against/


class Made(TypedDict):
    """How an activation is made of others: "token" or "place" (a row of a table), "sum", "layer_norm", "rms_norm",
    "linear", "rotated", "scores", "softmax", "mixed", "activated", "gated" (`form` of the first times the second)."""

    name: str  # of all layers at once: "h.N.attn.q"
    how: str
    of: list[str]


class ModelAnswer(TypedDict):
    """GET /api/model

    kv_heads: heads of keys and values; head h of the queries reads the one at h // (heads / kv_heads). form: the
    operation that a neuron passes, as `nextword.ops` calls it. steps: what the model computes, in order.
    """

    name: str
    kind: str
    dtype: str
    kv_dtype: str
    layers: int
    heads: int
    kv_heads: int
    width: int
    head_width: int
    inner: int  # neurons of a layer
    vocabulary: int
    window: int | None
    activation: str | None
    form: str
    steps: list[Made]
    tokenizer: bool
    beginning: int  # tokens that the tokenizer sets before a text
    parameters: Parameters
    limits: Limits
    start: Start
    version: str


class Token(TypedDict):
    """A token of a prompt. start, end: in bytes of the text's UTF-8. group: which of `groups` it is part of."""

    id: int
    text: str
    bytes: str  # hexadecimal
    start: int
    end: int
    group: int


class Group(TypedDict):
    """Tokens [first, last) that only together are whole characters; of most there is one alone."""

    first: int
    last: int
    text: str


class Merge(TypedDict):
    """A state of a piece while it is merged: parts; and at, made: the pair that merges next, and the id it makes."""

    parts: list[str]
    at: int | None
    made: int | None
    rank: int | None


class Piece(TypedDict):
    """A piece of the text that is merged by itself."""

    text: str
    steps: list[Merge]


class TokenizeAnswer(TypedDict):
    """POST /api/tokenize {"prompt": str, "merges": bool} (runs no model)"""

    prompt: str
    tokens: list[Token]
    groups: list[Group]
    window: int | None
    pieces: NotRequired[list[Piece]]


class Word(TypedDict):
    """A token that may come next. p: its probability at temperature 1."""

    id: int
    logit: float
    p: float


class LensAnswer(TypedDict):
    """POST /api/run/R/lens {"at": "resid_post"|"resid_mid", "positions": [int]|null, "top": int, "watch": int|str|null}

    names: of each row of layers. ids, p: [layers][positions][top]; p is the probability.
    watch: of one token, [layers][positions]: p, and rank, 1 for the most probable one.
    """

    names: list[str]
    positions: list[int]
    ids: list[list[list[int]]]
    p: list[list[list[float]]]
    watch: NotRequired[dict[str, Any]]
    texts: Texts


class RunAnswer(TypedDict):
    """POST /api/run {"prompt": str | "ids": [int], "interventions": [rule], "lens": {"at", "positions", "top"} | null,
    "next": int}

    prompt: the text that was sent, or one that has these ids, without what the tokenizer sets before it; of ids that no
    text has, the texts of all tokens. run: the name of the run in other calls; the same ids and interventions have the
    same name, in every tab. positions: of the lens, by default the last `limits.lens_positions`. names: activation ->
    shape. next: the most probable next tokens, most probable first. changes: whether the interventions changed any
    logit of the last position.
    """

    run: str
    prompt: str
    tokens: list[Token]
    groups: list[Group]
    window: int | None
    names: dict[str, list[int]]
    interventions: list[dict[str, Any]]
    changes: bool
    lens: LensAnswer | None
    next: list[Word]
    texts: Texts


class TensorHeader(TypedDict):
    """The header `X-Tensor` of GET /api/run/R/tensor?name=&head=&rows=a:b&cols=a:b&as=f32|u8&max=N, as JSON.

    The body is the array, little-endian, rows after each other. name: of the activation. head: of those with heads;
    without, all heads follow each other. rows, cols: ranges of the last two axes; negative ones count from the end.
    of: the shape before `max`. shape: of the body; larger ones than `max` are max-pooled by `pool` (rows, cols), signed
    ones to the number that is largest without its sign. min, max: of the numbers before rounding to u8.
    u8: scale "sqrt" (all >= 0): value = (byte / 255) ** 2 * max; "linear": value = (byte - 128) / 127 * bound.
    """

    name: str
    shape: list[int]
    of: list[int]
    pool: list[int]
    min: float
    max: float
    bound: float
    scale: str
    step: float  # the largest rounding error of u8, 0 for f32
    dtype: str  # "f32", "u8"


class HeadsHeader(TypedDict):
    """The header `X-Tensor` of GET /api/run/R/heads?size=N, as JSON.

    The body: thumbnails u8 [layers, heads, size, size], then zeros up to a multiple of 4, then the last query's
    attention weights f32 [layers, heads, tokens] from byte `last` on. u8: value = (byte / 255) ** 2.
    """

    layers: int
    heads: int
    size: int
    tokens: int
    last: int


class Candidate(TypedDict):
    """One token that might have come next; see `nextword.decoding.explain.Candidate`."""

    id: int
    logit: float | None
    biased: float | None
    penalised: float | None
    scaled: float | None
    softmax: float
    p: float
    cut_by: str | None


class Span(TypedDict):
    """The part [low, high) of [0, 1) that is a candidate's; those of candidates that are not told of lie between."""

    id: int
    low: float
    high: float


class StepAnswer(TypedDict):
    """POST /api/run/R/choose {"settings": {...}, "seed": int, "step": int, "candidates": int}

    settings: fields of `nextword.Sampling`. Why one token is chosen: candidates, the most probable first; drawn: the
    number in [0, 1) that decides (null: greedy); spans: of the candidates that stayed, in ascending order of id.
    """

    token: int
    p: float
    kept: int
    drawn: float | None
    seed: int
    step: int
    candidates: list[Candidate]
    spans: list[Span] | None  # null within GenerateEvent
    texts: Texts


class GenerateEvent(TypedDict):
    """POST /api/generate {"prompt" | "ids", "settings", "seed", "explain": int, "interventions"}: server-sent events.

    `event: step` with this for each token, then `event: end` with {"finish_reason", "seed", "text", "tokens"}, or
    `event: error` with a Failure. piece: the text that the token completes, maybe none.
    """

    step: int
    token: int
    piece: str
    why: StepAnswer | None
    texts: Texts

"""TextEncoder: texts in; vectors, similarities, ranks, classes, tags and words for gaps out."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import vectors
from nextword.arithmetic.arrays import Doubles, Floats
from nextword.files.sentence_files import Dense, SentenceFiles
from nextword.machine import memory
from nextword.machine.shown import quoted, shown
from nextword.models.config import checked_context
from nextword.models.encoder import Encoder
from nextword.models.layers import Linear
from nextword.models.sentence import Layer, Sentences
from nextword.tasks.encoded import Filled, Ranked, Span
from nextword.tasks.encoding import (
    PASS,
    Progress,
    checked_batch,
    checked_length,
    checked_texts,
    logistic,
    passes,
    softmax,
)
from nextword.tasks.gaps import filled
from nextword.tasks.tagging import spans
from nextword.text.no_vocabulary import NoVocabularyError

__all__ = ["EncoderSource", "TextEncoder"]

# What is done to the logit of a cross-encoder, by the last word of the class that its files name.
SCORES: dict[str, Any] = {"Identity": lambda x: x, "Sigmoid": logistic, "Tanh": np.tanh}
DECODING = frozenset(("chat", "choose", "engine", "generate", "logits", "resume", "score", "session", "stream"))


class EncoderSource(NamedTuple):
    """What `nextword.load` was called with: `load(source.path, source.dtype, revision=..., context=...)` gives the
    same encoder again."""

    path: str | None
    dtype: str | None
    revision: str | None
    context: int | None = None


class TextEncoder:
    """An encoder and its tokenizer: what `nextword.load` returns for a model such as BERT.

    model: the Encoder. files: what sentence-transformers has written beside it. source: where `load` took it from.
    max_length: the tokens that a text may have, special ones included; what is longer is cut, and a warning says so.
    Threads may call at once. A text's vector has the same bits alone, in any batch and with any number of threads.
    """

    def __init__(self, model: Encoder, tokenizer: Any = None, files: SentenceFiles | None = None,
                 source: EncoderSource | None = None, no_tokenizer: str = "") -> None:
        self.model, self.tokenizer, self.source, self.no_tokenizer = model, tokenizer, source, no_tokenizer
        self.files = SentenceFiles() if files is None else files
        known = getattr(tokenizer, "max_length", None)
        longest = self.files.max_length if self.files.max_length is not None else known
        self.max_length = model.limit if longest is None else min(model.limit, longest)
        if source is not None and source.context is not None:
            self.max_length = checked_context(source.context, model.limit)
        self.sentences = Sentences(model.ops, self.files.pooling.ways, [self._layer(one) for one in self.files.steps])
        self.width = _width(model.width * len(self.files.pooling.ways), self.files)

    def _layer(self, step: Any) -> Layer | None:
        if not isinstance(step, Dense):
            return None
        ops, residual = self.model.ops, step.residual
        other = residual if isinstance(residual, bool) else Linear(ops, _packed(ops, residual), None)
        bias = None if step.bias is None else ops.to_float32(np.ascontiguousarray(step.bias))
        return Layer(Linear(ops, _packed(ops, step.weight), bias), step.activation, other)

    def __deepcopy__(self, memo: dict[int, Any]) -> "TextEncoder":
        """An encoder of its own; the packed matrices, which never change, are shared."""
        return TextEncoder(deepcopy(self.model, memo), self.tokenizer, self.files, self.source, self.no_tokenizer)

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes that `classify` or `tag` give."""
        return tuple(self.model.config.labels)

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts of the model's files, by name."""
        return dict(self.files.prompts)

    def __repr__(self) -> str:
        return f"TextEncoder({self.model.kind}: {self.model.sizes}; heads: {self.model.outputs.named()})"

    def __getattr__(self, name: str) -> Any:
        if name in DECODING:
            raise AttributeError(f"{name}: {self.model.title} is an encoder, which reads whole texts and has no next "
                                 "word; use embed, similarity, rerank, classify, tag or fill_mask, or load a decoder")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        """By where it came from: who reads the pickle loads it anew. Raises TypeError if it came from nowhere."""
        if self.source is None:
            raise TypeError("pickle: this TextEncoder was put together by hand, so that there is nothing to load it "
                            "from; write it to a folder and load that with nextword.load")
        return _load_again, tuple(self.source)

    def embed(self, texts: str | Sequence[str], prompt: str | None = None, normalize: bool | None = None, *,
              batch: int = PASS, max_length: int | None = None, progress: Progress | None = None) -> Floats:
        """The vector of a text, or of each of several.

        prompt: what is put before each text: the name of one of `prompts`, or a text; None: the default of the model's
            files, if it has one.
        normalize: whether vectors have length 1; None: as the model's files say.
        batch: tokens of a pass; vectors do not depend on it. max_length: a smaller one than the encoder's.
        progress: called with (texts done, all).
        Returns float32 [width] for a text, [texts, width] for several. Pooling, further layers and norms are those of
        the files of sentence-transformers (Reimers & Gurevych 2019); without any it is the mean over all tokens.
        Raises TypeError for what is no text, ValueError for arguments out of range.

        >>> from nextword.tasks.example_encoder import example
        >>> example().embed(["a cat", "the dog"]).shape
        (2, 16)
        """
        if not isinstance(texts, str):
            texts = checked_texts("embed", "texts", texts)
        many = [texts] if isinstance(texts, str) else texts
        before = self._prompt(prompt)
        given = [before + text for text in many] if before else list(many)
        if self.files.lower:
            given = [text.lower() for text in given]
        memory.require("embed", f"the vectors of {len(given)} texts", 4 * len(given) * self.width,
                       "embed fewer texts at once")
        out = np.empty((len(given), self.width), np.float32)
        skipped = 0 if self.files.pooling.include_prompt or not before else self._prompt_tokens(before)
        for one in passes(self.model, self._tokens("embed"), given, max_length=self._most("embed", max_length),
                          batch=checked_batch("embed", batch), progress=progress, op="embed"):
            out[one.first : one.first + len(one.texts)] = self.sentences(one.hidden, one.fresh, normalize, skipped)
        return out[0] if isinstance(texts, str) else out

    def similarity(self, a: Any, b: Any) -> Doubles | np.float64:
        """The cosine of the angle between vectors: from -1 to 1, 1 for the same direction.

        a, b: a text, a list of texts, or vectors of `embed`. Returns float64 [a, b]; without the dimension of what is
        one text or one vector.

        >>> from nextword.tasks.example_encoder import example
        >>> round(float(example().similarity("a cat", "a cat")), 6)
        1.0
        """
        x, y = self._vectors(a), self._vectors(b)
        found: Any = vectors.similarity(x, y)
        return np.float64(found) if np.ndim(found) == 0 else found

    def hidden(self, text: str) -> Floats:
        """What the encoder makes of each token of a text: its last hidden states, float32 [tokens, width], special
        tokens included. `encoder.tokenizer.with_specials(text)` says which tokens these are.

        >>> from nextword.tasks.example_encoder import example
        >>> example().hidden("a cat").shape
        (4, 16)
        """
        found: Floats = self._one("hidden", text).hidden
        return found

    def rerank(self, query: str, texts: Sequence[str], top_k: int | None = None, *, batch: int = PASS,
               max_length: int | None = None, progress: Progress | None = None) -> list[Ranked]:
        """How well each text answers a query, the best first: query and text are read together (a cross-encoder).

        top_k: how many are returned, None: all. Of equal scores the earlier text comes first.
        Raises ValueError if the file has no head of classes, or one of several classes.

        >>> from nextword.tasks.example_encoder import example
        >>> found = example("classes", labels=1).rerank("a cat", ["the dog", "a cat"], top_k=1)
        >>> len(found), sorted(vars(found[0]))
        (1, ['index', 'probability', 'score', 'text'])
        """
        head, given = self._head("rerank", "classes"), checked_texts("rerank", "texts", texts)
        if not isinstance(query, str):
            raise TypeError(f"rerank: query must be a text, got {type(query).__name__}")
        if len(self.labels) != 1:
            raise ValueError(f"rerank: the head must give one number, and this one has {len(self.labels)} classes: "
                             f"{', '.join(self.labels[:8])}; use classify with pairs of texts")
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise ValueError(f"rerank: top_k must be a number of texts or None, got {shown(top_k)}")
        logits = np.empty(len(given), np.float32)
        for one in passes(self.model, self._tokens("rerank"), [query] * len(given), given,
                          max_length=self._most("rerank", max_length), batch=checked_batch("rerank", batch),
                          progress=progress, op="rerank"):
            logits[one.first : one.first + len(one.texts)] = head(one.hidden, one.fresh, self.model.tap)[:, 0]
        name = (self.files.activation_fn or self.model.config.activation_fn or "Identity").rpartition(".")[2]
        if name not in SCORES:
            raise ValueError(f"rerank: the files' activation_fn must be one of {', '.join(SCORES)}, got {quoted(name)}")
        scores, chances = SCORES[name](logits), logistic(logits)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [Ranked(int(n), float(scores[n]), float(chances[n]), given[n]) for n in order]

    def classify(self, texts: Any, *, batch: int = PASS, max_length: int | None = None,
                 progress: Progress | None = None) -> Any:
        """The probability of each class of a text, or of each of several: dicts of label -> probability, the most
        probable first.

        texts: a text, a pair of texts as a tuple (such as premise and hypothesis), or a list of either.
        Probabilities sum to 1; where the model was made for several labels at once, or has but one, each is its own.
        Raises ValueError if the file has no head of classes, or one whose numbers are no probabilities.

        >>> from nextword.tasks.example_encoder import example
        >>> list(example("classes").classify("a cat")), round(sum(example("classes").classify("a cat").values()), 6)
        (['LABEL_1', 'LABEL_0'], 1.0)
        """
        head = self._head("classify", "classes")
        alone = isinstance(texts, str | tuple)
        given = [texts] if alone else list(texts)
        paired = bool(given) and isinstance(given[0], tuple)
        if any(isinstance(one, tuple) != paired or (paired and len(one) != 2) for one in given):
            raise TypeError("classify: texts must be texts, or pairs of two texts, not both")
        first = checked_texts("classify", "texts", [one[0] for one in given] if paired else given)
        second = checked_texts("classify", "texts", [one[1] for one in given]) if paired else None
        problem = self.model.config.problem_type
        if problem == "regression":
            raise ValueError("classify: this head gives numbers, not probabilities (problem_type is regression); use "
                             "rerank, whose score is the number")
        each = problem == "multi_label_classification" or len(self.labels) == 1
        found: list[dict[str, float]] = []
        for one in passes(self.model, self._tokens("classify"), first, second,
                          max_length=self._most("classify", max_length), batch=checked_batch("classify", batch),
                          progress=progress, op="classify"):
            logits = head(one.hidden, one.fresh, self.model.tap)
            for row in logistic(logits) if each else softmax(logits):
                found.append({self.labels[n]: float(row[n]) for n in np.argsort(-row, kind="stable")})
        return found[0] if alone else found

    def tag(self, text: str) -> list[Span]:
        """The pieces of a text that have a label, such as names of persons and places, in their order.

        Tokens that follow each other with the same label are one piece (B- begins another, I- goes on); those labelled
        O are left out.
        Raises ValueError if the file has no head of tags.

        >>> from nextword.tasks.example_encoder import example
        >>> [(one.start, one.end, one.text) for one in example("tags").tag("a cat")]
        [(0, 5, 'a cat')]
        """
        head, one = self._head("tag", "tags"), self._one("tag", text)
        return spans(text, one.texts[0], softmax(head(one.hidden, self.model.tap)), self.labels)

    def fill_mask(self, text: str, k: int = 5) -> list[list[Filled]]:
        """Words for the gaps of a text, the `k` most probable of each gap, the best first.

        text: with the tokenizer's mask token, such as [MASK], in the place of each gap; all gaps are open while each is
        filled.
        Raises ValueError if the file has no head of masked words, or the text no gap.

        >>> from nextword.tasks.example_encoder import example
        >>> gap, = example("masked").fill_mask("a [MASK] ran", k=3)
        >>> len(gap), gap[0].text == f"a {gap[0].token} ran"
        (3, True)
        """
        head = self._head("fill_mask", "masked")
        if type(k) is not int or not 1 <= k <= self.model.vocabulary:
            raise ValueError(f"fill_mask: k must be 1 .. {self.model.vocabulary}, got {shown(k)}")
        one, tap = self._one("fill_mask", text), self.model.tap
        return filled(text, k, one.texts[0], self.tokenizer, lambda rows: softmax(head(one.hidden[rows], tap)))

    def _one(self, op: str, text: str) -> Any:
        """One text through the encoder."""
        if not isinstance(text, str):
            raise TypeError(f"{op}: text must be a text, got {type(text).__name__}")
        (found,) = passes(self.model, self._tokens(op), [text], max_length=self._most(op, None), batch=PASS, op=op,
                          offsets=True, above=4)
        return found

    def _most(self, op: str, max_length: int | None) -> int:
        return checked_length(op, max_length, self.max_length)

    def _vectors(self, x: Any) -> NDArray[Any]:
        if isinstance(x, str):
            return self.embed(x)
        if not isinstance(x, np.ndarray) and len(x) and isinstance(x[0], str):
            return self.embed(list(x))
        return np.asarray(x)

    def _prompt(self, prompt: str | None) -> str:
        if prompt is None:
            return "" if self.files.default is None else self.files.prompts[self.files.default]
        if not isinstance(prompt, str):
            raise TypeError(f"embed: prompt must be a text, the name of one, or None, got {type(prompt).__name__}")
        return self.files.prompts.get(prompt, prompt)

    def _prompt_tokens(self, prompt: str) -> int:
        """The tokens that a prompt takes at the beginning of a text, without the special ones at its end."""
        found = self._tokens("embed").with_specials(prompt)
        ends = sum(part is None for part in found.parts[1:])
        return len(found.ids) - ends

    def _head(self, op: str, name: str) -> Any:
        head = getattr(self.model.outputs, name)
        if head is None:
            raise ValueError(f"{op}: this {self.model.title} lacks the head for it; it has: "
                             f"{self.model.outputs.named()}")
        return head

    def _tokens(self, op: str) -> Any:
        if self.tokenizer is None:
            raise NoVocabularyError(f"{op}: texts need", "put its files beside the weights, or run ids through "
                                    "encoder.model", self.no_tokenizer)
        return self.tokenizer


def _packed(ops: Any, weight: NDArray[Any]) -> Any:
    """A matrix [out, in] for a product."""
    return ops.pack_transposed(np.ascontiguousarray(weight), "float32")


def _width(width: int, files: SentenceFiles) -> int:
    """Of the vectors."""
    for step in files.steps:
        if isinstance(step, Dense):
            if step.weight.shape[1] != width:
                raise ValueError(f"load: 2_Dense must take the {width} numbers that pooling gives, got a matrix for "
                                 f"{step.weight.shape[1]}")
            width = step.weight.shape[0]
    return width


def _load_again(path: str | None, dtype: str | None, revision: str | None, context: int | None) -> Any:
    """The encoder of a pickle."""
    from nextword import load

    return load(path, dtype, revision=revision, context=context)

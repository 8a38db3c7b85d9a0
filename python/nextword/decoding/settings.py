"""Sampling: every setting of how text is continued, its range, default, formula and source. Checked here once."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nextword.machine.shown import is_integer, shown
from nextword.text.surrogates import joined

Floats = NDArray[np.float32]
Processor = Callable[[Floats], Floats]
Bias = Mapping[int | str | tuple[int, ...], float]
Words = Sequence[str | int | Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How text is continued. Names and meanings are those of `transformers` and of OpenAI's API.

    By default every rule is off: the most probable of all tokens is taken, 40 times at most. A step's logits go
    through these rules in this order, each on what the one before it left:

    1. logit_bias: {token: number} is added. A token is an id, or a string or tuple of ids; of one with several tokens,
       the last gets the bias where the text ends with the others. -inf forbids. Default: none.
    2. repetition_penalty: logits of tokens in prompt or text are divided by it where positive, else multiplied (CTRL,
       Keskar et al. 2019). Above 0; 1 changes nothing.
    3. frequency_penalty, presence_penalty: logit - count * frequency_penalty - (count > 0) * presence_penalty, by how
       often the token stands in the new text (OpenAI API reference). Finite, usual -2 .. 2; 0 changes nothing.
    4. no_repeat_ngram_size: no sequence of so many tokens occurs twice in prompt and text; 0 is off.
    5. bad_words: strings, ids or lists of ids that never occur as these tokens; " cat" and "cat" are different ones.
    6. min_new_tokens: the end token and stop ids are forbidden before so many tokens; 0 is off.
    7. processors: functions from float32 logits [vocabulary] to such logits, in their order.
    8. regex, json_schema: the text as a whole matches (needs the extra "grammar"); at most one of them.
    9. temperature: logits are divided by it. >= 0; 0, the default, takes the most probable token (greedy), and the
       rules below do nothing.
    10. top_k: the k most probable stay, and those as probable as the last of them (Fan et al. 2018); 0 keeps all.
    11. top_p: the smallest set of most probable tokens stays whose probabilities reach it (nucleus, Holtzman et al.
        2020). 0 .. 1; 0 keeps the most probable one, 1 all. A sum that is top_p but for the rounding of float32
        log-probabilities reaches it (`ops.distribution` has the formula); so for min_p and typical_p.
    12. min_p: tokens stay that have at least this share of the most probable one's probability (Nguyen et al. 2024).
        0 .. 1; 0 keeps all.
    13. typical_p: the tokens whose -log p is nearest to the entropy stay, until their probabilities reach it (locally
        typical sampling, Meister et al. 2022). Above 0, at most 1; 1 keeps all.
    14. uniform: all that stayed are equally probable: uniformly from the best three is top_k=3, uniform=True.

    The text ends by max_new_tokens (default 40) or stop: strings, also across token borders, or token ids; the text
    ends before it.
    seed: 0 .. 2**64 - 1; a number drawn depends on seed, row and step alone. None takes a new one, told in the result.
    row: 0 .. 2**64 - 1, which row draws: of several texts with one seed, text i draws as row + i. A text of a batch or
        of n is repeated alone by the seed and the row that its result tells.
    n: texts for each prompt. best_of: so many are sampled, the n with the highest mean log-probability returned.
    logprobs: log-probabilities by the model (before all rules) of each token and of so many most probable ones.
    prompt_logprobs: the same of the prompt's tokens, each given those before it. The prompt is then read in pieces of
        64 tokens, all of it, whatever was encoded before, for each of n or best_of texts; max_new_tokens may be 0.

    Beam search: num_beams > 1 keeps that many texts and takes the most probable as a whole, as `transformers` does;
    n <= num_beams are returned. length_penalty: the score is log-probability / length ** length_penalty.
    early_stopping: True ends with num_beams finished texts, False also when no better one is likely, "never" when none
    is possible. num_beam_groups, diversity_penalty: groups that avoid each other's tokens (Vijayakumar et al. 2018).

    Contrastive search: penalty_alpha > 0, at most 1, takes of the top_k (0: 4) most probable tokens the one that is
    probable and whose hidden state is unlike all before it (Su et al. 2022).

    None means the default, for every field. Raises ValueError for a value outside of its range, TypeError for one of
    another type.

    >>> Sampling(temperature=0.8, top_k=40, stop=None).top_p
    1.0
    """

    if not TYPE_CHECKING:
        def __new__(cls, **settings):  # before the dataclass's own, whose error knows no other name
            check_names(settings)
            return super().__new__(cls)

    logit_bias: Bias | None = None
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    bad_words: Words = ()
    min_new_tokens: int = 0
    processors: Sequence[Processor] = ()
    regex: str | None = None
    json_schema: str | Mapping[str, Any] | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    uniform: bool = False
    max_new_tokens: int = 40
    stop: str | int | Sequence[str | int] = ()
    seed: int | None = None
    row: int = 0
    n: int = 1
    best_of: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    num_beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    penalty_alpha: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) is None:
                self._set(field.name, field.default)
        for name, (low, high, wanted) in NUMBERS.items():
            self._set(name, _number(name, getattr(self, name), low, high, wanted))
        for name, least in INTEGERS.items():
            self._set(name, _integer(name, getattr(self, name), least))
        for name, least in OPTIONAL_INTEGERS.items():
            if getattr(self, name) is not None:
                self._set(name, _integer(name, getattr(self, name), least))
        self._set("logit_bias", _bias(self.logit_bias))
        self._set("bad_words", _words(self.bad_words))
        self._set("stop", _stops(self.stop))
        self._set("processors", _functions(self.processors))
        if not isinstance(self.uniform, bool | np.bool_):
            raise TypeError(f"sampling: uniform must be True or False, got {self.uniform!r}")
        if self.early_stopping not in (True, False, "never") or (isinstance(self.early_stopping, int | float) and not (
            isinstance(self.early_stopping, bool)
        )):
            raise ValueError(f'sampling: early_stopping must be True, False or "never", got {self.early_stopping!r}')
        self._check_grammar()
        self._check_together()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_grammar(self) -> None:
        if self.regex is not None and not isinstance(self.regex, str):
            raise TypeError(f"sampling: regex must be a string, got {type(self.regex).__name__}")
        if self.json_schema is not None and not isinstance(self.json_schema, str | Mapping):
            raise TypeError(f"sampling: json_schema must be a dict or a string of JSON, "
                            f"got {type(self.json_schema).__name__}")
        if self.regex is not None and self.json_schema is not None:
            raise ValueError("sampling: regex and json_schema cannot be given together; choose one")

    def _check_together(self) -> None:
        for name, value in (("seed", self.seed or 0), ("row", self.row + max(self.n, self.best_of or 1) - 1)):
            if value >= 2**64:
                raise ValueError(f"sampling: {name} must be below 2**64, got {value}")
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"sampling: min_new_tokens must be at most max_new_tokens, got {self.min_new_tokens} "
                             f"and {self.max_new_tokens}")
        if self.best_of is not None and self.best_of < self.n:
            raise ValueError(f"sampling: best_of must be at least n, got {self.best_of} and {self.n}")
        if self.num_beams > 1 or self.penalty_alpha:
            self._check_search()
            return
        if self.num_beam_groups > 1 or self.diversity_penalty:
            raise ValueError("sampling: num_beam_groups and diversity_penalty are for beam search; pass num_beams too")
        if self.temperature == 0:
            if self.uniform:
                raise ValueError("sampling: uniform needs a temperature above 0, which samples; pass temperature=1")
            if max(self.n, self.best_of or 1) > 1:
                raise ValueError(f"sampling: n={self.n} and best_of={self.best_of} texts need a temperature above 0, "
                                 "or num_beams: greedy search gives one")

    def _check_search(self) -> None:
        if self.temperature != 0 or self.best_of is not None or self.uniform:
            raise ValueError("sampling: beam search (num_beams > 1) and contrastive search (penalty_alpha > 0) draw "
                             "nothing; temperature must be 0, uniform False and best_of None")
        if self.prompt_logprobs is not None:
            raise ValueError("sampling: prompt_logprobs do not go with beam search or contrastive search; ask for them "
                             "in a call with max_new_tokens=0")
        if self.regex is not None or self.json_schema is not None:
            raise ValueError("sampling: regex and json_schema do not go with beam search or contrastive search; "
                             "leave num_beams at 1 and penalty_alpha at 0")
        if self.num_beams > 1 and self.penalty_alpha:
            raise ValueError("sampling: num_beams and penalty_alpha cannot be given together; choose one search")
        if self.n > self.num_beams:
            raise ValueError(f"sampling: n must be at most num_beams, got {self.n} and {self.num_beams}")
        if self.num_beams % self.num_beam_groups:
            raise ValueError(f"sampling: num_beam_groups must divide num_beams, got {self.num_beam_groups} "
                             f"and {self.num_beams}")
        if self.diversity_penalty and self.num_beam_groups == 1:
            raise ValueError("sampling: diversity_penalty needs num_beam_groups of at least 2")

    def changed(self, **settings: Any) -> "Sampling":
        """These settings with some replaced. Raises TypeError for a name that is none, with the nearest that is one.

        >>> Sampling(top_k=5).changed(temperature=1).top_k
        5
        """
        check_names(settings)
        return replace(self, **settings)


def check_names(settings: Iterable[str]) -> None:
    """Raises TypeError for a name that is no setting, with what it is called here."""
    for name in settings:
        if name not in NAMES:
            import difflib

            near = difflib.get_close_matches(name, NAMES, 1)
            hint = ELSEWHERE.get(name) or (f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}")
            raise TypeError(f"sampling: no setting is called {name!r}; {hint}")


INFINITY = math.inf
TINY = math.ulp(0.0)  # the least number above 0
LARGEST = float(np.finfo(np.float64).max)
# Penalties and biases change float32 logits and are float32 numbers themselves.
TINY_32, LARGEST_32 = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# name: least and largest value, and how a message calls the range
NUMBERS = {
    "repetition_penalty": (TINY_32, LARGEST_32, "finite and above 0 (as float32)"),
    "frequency_penalty": (-LARGEST_32, LARGEST_32, "finite (as float32)"),
    "presence_penalty": (-LARGEST_32, LARGEST_32, "finite (as float32)"),
    "temperature": (0.0, LARGEST, "finite and >= 0"),
    "top_p": (0.0, 1.0, "0 .. 1"),
    "min_p": (0.0, 1.0, "0 .. 1"),
    "typical_p": (TINY, 1.0, "above 0 and at most 1"),
    "diversity_penalty": (0.0, LARGEST_32, "finite and >= 0"),
    "length_penalty": (-LARGEST_32, LARGEST_32, "finite"),
    "penalty_alpha": (0.0, 1.0, "0 .. 1"),
}
INTEGERS = {"row": 0, "no_repeat_ngram_size": 0, "min_new_tokens": 0, "top_k": 0, "max_new_tokens": 0, "n": 1,
            "num_beams": 1, "num_beam_groups": 1}
OPTIONAL_INTEGERS = {"seed": 0, "best_of": 1, "logprobs": 0, "prompt_logprobs": 0}
NAMES = tuple(field.name for field in fields(Sampling))

# What transformers, OpenAI's API and llama.cpp call it, and what it is here.
_NEW = "max_new_tokens counts the new tokens alone"
_STOP = "stop= takes strings and token ids"
ELSEWHERE = {
    **dict.fromkeys(("max_length", "max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict",
                     "num_predict"), _NEW),
    **dict.fromkeys(("min_length", "min_tokens"), "min_new_tokens counts the new tokens alone"),
    **dict.fromkeys(("stop_strings", "stop_sequences", "stop_token_ids", "stop_words", "stopping_criteria"), _STOP),
    **dict.fromkeys(("num_return_sequences", "num_samples"), "n= is how many texts are returned"),
    **dict.fromkeys(("num_beam", "beam_size", "beam_width"), "num_beams= is how many beams are kept"),
    **dict.fromkeys(("bad_words_ids", "suppress_tokens"), "bad_words= takes strings, ids and lists of ids"),
    **dict.fromkeys(("repeat_penalty", "encoder_repetition_penalty"), "repetition_penalty= is the divisor"),
    **dict.fromkeys(("random_state", "random_seed", "manual_seed", "generator"), "seed= is the number to draw by"),
    **dict.fromkeys(("logits_processor", "logits_processors"), "processors= takes functions from logits to logits"),
    **dict.fromkeys(("assistant_model", "prompt_lookup_num_tokens", "draft_model"),
                    'draft= takes "lookup", a model or a dtype'),
    **dict.fromkeys(("grammar", "response_format", "guided_regex", "guided_json"), "regex= or json_schema= says what "
                    "the text must be"),
    **dict.fromkeys(("pad_token_id", "attention_mask", "padding", "use_cache"), "it is not needed: a batch takes texts "
                    "of any length, each with its own keys and values"),
    "do_sample": "temperature=0, the default, takes the most probable token, above 0 it samples",
    "eos_token_id": "eos= takes the end tokens",
    "bos_token_id": "an empty prompt starts from the model's own; else give it as the prompt's first id",
    "sequence_bias": "logit_bias= takes a dict of text or ids to a number",
    "top_logprobs": "logprobs= is how many are told",
    "output_scores": "logprobs= and explain= tell of them",
    "return_dict_in_generate": "a Generation holds tokens, text and more",
    "streamer": "lm.stream(prompt) yields the text as it comes",
    "stream": "lm.stream(prompt) yields the text as it comes",
    "generation_config": "sampling= takes a nextword.Sampling",
}


def _number(name: str, value: Any, low: float, high: float, wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"sampling: {name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not low <= number <= high:  # true of NaN
        raise ValueError(f"sampling: {name} must be {wanted}, got {value}")
    return number


def _integer(name: str, value: Any, least: int) -> int:
    if not is_integer(value):
        raise TypeError(f"sampling: {name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"sampling: {name} must be >= {least}, got {value}")
    return int(value)


def _bias(bias: Any) -> dict[str | tuple[int, ...], float]:
    """{text or ids: bias}"""
    if bias is None:
        return {}
    if not isinstance(bias, Mapping):
        raise TypeError(f"sampling: logit_bias must be a dict of token: bias, got {type(bias).__name__}")
    found = {}
    for key, value in bias.items():
        number = -INFINITY if value == -INFINITY else _number(
            "logit_bias", value, -LARGEST_32, LARGEST_32, "finite (as float32) or -inf")
        found[_word("logit_bias", key)] = number
    return found


def _words(words: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(words, str) or not isinstance(words, Sequence | set | frozenset | np.ndarray):
        raise TypeError(f"sampling: bad_words must be a list of strings, ids or lists of ids, got {shown(words)}")
    return tuple(_word("bad_words", word) for word in words)


def _word(name: str, word: Any) -> str | tuple[int, ...]:
    if isinstance(word, str) and word:
        return word
    ids = (word,) if is_integer(word) else word
    if isinstance(ids, list | tuple | np.ndarray) and len(ids) and all(map(is_integer, ids)):
        return tuple(int(i) for i in ids)
    raise ValueError(f"sampling: {name} must hold strings, token ids or lists of ids, none empty, got {shown(word)}")


def _stops(stop: Any) -> tuple[str | int, ...]:
    every = list(stop) if isinstance(stop, list | tuple | set | frozenset | np.ndarray) else [stop]
    if not all((isinstance(s, str) and s) or (is_integer(s) and s >= 0) for s in every):
        raise ValueError(f"sampling: stop must hold non-empty strings or token ids from 0 on, got {shown(stop)}")
    stops = tuple(joined(s) if isinstance(s, str) else int(s) for s in every)
    if any(isinstance(s, str) and any("\ud800" <= c <= "\udfff" for c in s) for s in stops):
        raise ValueError(f"sampling: stop must hold text, got a lone surrogate in {shown(stop)}")
    return stops


def _functions(processors: Any) -> tuple[Processor, ...]:
    every = tuple(processors) if isinstance(processors, list | tuple) else (processors,)
    for one in every:
        if not callable(one):
            raise TypeError(f"sampling: processors must be functions from logits to logits, got {one!r}")
    return every



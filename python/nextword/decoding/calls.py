"""What a call of generate or stream asks for, checked, and the rows made of it. Runs no model."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from nextword.arithmetic.arrays import Ints
from nextword.decoding.defaults import Defaults, first_tokens
from nextword.decoding.row import Row
from nextword.decoding.rules import Rules
from nextword.decoding.seats import Overflow
from nextword.decoding.settings import Sampling
from nextword.machine import memory
from nextword.machine.shown import is_integer, shown
from nextword.models.model import Model
from nextword.text.ids import Special, added_token, end_tokens, fragment, token_ids, token_text
from nextword.text.no_vocabulary import NoVocabularyError
from nextword.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from nextword.decoding.grammar import Grammar

Eos = int | str | Collection[int | str] | None

EXPLAINED = 20  # candidates of a step that explain=True tells of
ROW = 4096  # bytes that a row's objects take, about
TOLD = 200  # bytes that a candidate or a log-probability takes, about


class Call:
    """The arguments that generate and stream have in common, and what they make of prompts and settings.

    op: how errors call the operation. tokenizer, defaults: the model's.
    Raises ValueError or TypeError that names the argument.
    """

    def __init__(self, op: str, model: Model, tokenizer: Tokenizer | None, defaults: Defaults,
                 on_overflow: Overflow | None, eos: Eos, explain: bool | int | None, allowed_special: Special) -> None:
        self.op, self.model, self.tokenizer, self.defaults = op, model, tokenizer, defaults
        if on_overflow not in ("error", "stop", "slide", None):
            raise ValueError(f'{op}: on_overflow must be "error", "stop" or "slide", got {on_overflow!r}')
        if defaults.refused:
            raise ValueError(f"{op}: {defaults.refused}, which is not supported; remove it there, or make "
                             "LanguageModel(lm.model, lm.tokenizer), which goes by config.json alone")
        self.on_overflow: Overflow = on_overflow or "error"
        self.ends = end_tokens(op, eos, defaults.ends, tokenizer, model.vocabulary)
        self.explain, self.allowed_special = _explained(op, explain), allowed_special

    def rows(self, prompts: list[Any], every: list[Sampling], own: list[bool]) -> list[Row]:
        """Rows for all texts of all prompts; those of a prompt follow each other. own: which has its own seed."""
        count = sum(one.best_of or one.n for one in every)
        told = max((1 + self.explain + (one.logprobs or 0) for one in every), default=0)
        steps = max((min(one.max_new_tokens, self.model.limit) for one in every), default=0)
        told = 0 if told == 1 else min(told, 1 + self.model.vocabulary) * TOLD * steps
        memory.require(self.op, f"{count} texts, for n, best_of and each prompt, with explain and logprobs",
                       count * (ROW + 4 * self.model.vocabulary + told), "ask for less")
        tokenizer, rows = self.tokenizer, list[Row]()
        shown_as = None if tokenizer is None else lambda token: token_text(tokenizer, token)
        for prompt, one, own_seed in zip(prompts, every, own, strict=True):
            rules, grammar, stops = self.rules(one), self._grammar(one), self.stops(one)
            tokens = self.prompt(prompt, one.max_new_tokens)
            self._check_told(len(tokens), one)
            first = one.row + (0 if own_seed else len(rows))  # rows with a common seed draw by their number
            if first + (one.best_of or one.n) > 2**64:
                raise ValueError(f"{self.op}: row must leave room below 2**64 for {count} texts, got {one.row}")
            for i in range(one.best_of or one.n):
                own_grammar = grammar if grammar is None or i == 0 else grammar.copy()
                decoder = None if tokenizer is None else tokenizer.decoder()
                rows.append(Row(tokens, one, rules, first + i, self.ends, stops, decoder, own_grammar, self.explain,
                                shown_as))
        return rows

    def _check_told(self, tokens: int, one: Sampling) -> None:
        """Whether the prompt's log-probabilities can be told, and there is memory for them."""
        if one.prompt_logprobs is None:
            return
        if tokens > self.model.limit:
            raise ValueError(f"{self.op}: prompt must fit into the context window of {self.model.limit} tokens for "
                             f"prompt_logprobs, got {tokens}; shorten it, or see `score`, which takes longer texts")
        count, each = one.best_of or one.n, 1 + min(one.prompt_logprobs, self.model.vocabulary)
        memory.require(self.op, f"prompt_logprobs={one.prompt_logprobs} of {tokens} tokens",
                       count * tokens * each * TOLD, "ask for fewer")

    def prompt(self, prompt: Any, fresh: int) -> Ints:
        """The prompt's ids, checked against vocabulary and window. fresh: new tokens at most."""
        op, window = self.op, self.model.limit
        tokens = token_ids(op, "prompt", prompt, self.tokenizer, self.model.vocabulary, self.allowed_special, True)
        tokens = tokens or first_tokens(op, self.defaults, self.tokenizer, self.model.vocabulary)
        if self.on_overflow == "error" and len(tokens) + max(0, fresh - 1) > window:
            raise ValueError(f"{op}: prompt of {len(tokens)} tokens and max_new_tokens={fresh} must fit into the "
                             f'context window of {window}; shorten one, or pass on_overflow="stop" or "slide"')
        if self.on_overflow == "stop" and len(tokens) > window:
            raise ValueError(f"{op}: prompt must fit into the context window of {window} tokens, got {len(tokens)}; "
                             'shorten it, or pass on_overflow="slide"')
        return np.array(tokens, np.int64)

    def stops(self, settings: Sampling) -> frozenset[int]:
        """The token ids that stop, those of strings that are an added token's text among them."""
        found, size = set(), self.model.vocabulary
        for stop in settings.stop:  # type: ignore[union-attr]
            token = added_token(self.tokenizer, stop) if isinstance(stop, str) else int(stop)
            if token is not None and not token < size:
                raise ValueError(f"{self.op}: stop must hold strings and token ids 0 .. {size - 1}, got {shown(stop)}")
            found |= set() if token is None else {token}
        return frozenset(found)

    def rules(self, settings: Sampling) -> Rules:
        """The rules of one text, with what the model's files forbid."""
        tokenizer = self.tokenizer
        needs = [("stop strings", any(isinstance(s, str) for s in settings.stop)),  # type: ignore[union-attr]
                 ("regex", settings.regex is not None), ("json_schema", settings.json_schema is not None)]
        for name, given in needs:
            if given and tokenizer is None:
                raise NoVocabularyError(f"{self.op}: {name} need", "stop takes token ids, too" if name == "stop strings"
                                        else "leave it out")
        if self.defaults.banned:
            settings = settings.changed(bad_words=(*settings.bad_words, *self.defaults.banned))
        encode = None if tokenizer is None else lambda text: fragment(tokenizer, text)
        return Rules(settings, self.model.vocabulary, encode, self.ends | self.stops(settings))

    def _grammar(self, settings: Sampling) -> Grammar | None:
        if self.tokenizer is None or (settings.regex is None and settings.json_schema is None):
            return None
        from nextword.decoding.grammar import Grammar

        return Grammar(self.tokenizer, regex=settings.regex, json_schema=settings.json_schema, end=self.ends or None,
                       size=self.model.vocabulary)


def _explained(op: str, explain: bool | int | None) -> int:
    if explain is None or isinstance(explain, bool):
        return EXPLAINED if explain else 0
    if not is_integer(explain) or explain < 0:
        raise ValueError(f"{op}: explain must be True, False or how many candidates to tell of, got {explain!r}")
    return min(int(explain), 2**31)  # no vocabulary is larger

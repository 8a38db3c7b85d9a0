"""What may come next if a text is to match a regular expression, a JSON schema or one of several texts.

The parsing is llguidance's (the extra `grammar`); here stands the bridge from a Tokenizer. Chooses no tokens.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.decoding.schemas import read_schema
from nextword.machine.shown import is_integer, shown
from nextword.text.surrogates import joined
from nextword.text.tokenizer import Tokenizer

# Without it, bytes that the grammar forces are allowed in one tokenisation only: the mask would hide tokens that match.
_OPTIONS = '%llguidance {"no_forcing": true}\n'
STATES = 100_000  # of the parser's automaton, 1 to 2 kB each
# JSON as json.dumps writes it: with free white space a model may write white space for ever.
_JSON = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Grammar:
    """The tokens that keep a text within a regular expression, a JSON schema or a set of texts, step by step.

    tokenizer: whose tokens. Exactly one of these says what the whole text must be:
    regex: a regular expression in the syntax of Rust's `regex` crate, without look-around and back-references; it must
        match the text from its first to its last character.
    json_schema: a JSON schema as a dict, or as JSON text. The text is a value of it, written as `json.dumps` separates
        items (", ", ": "), without other white space; properties come in the order of the schema, and others may
        follow unless it says `"additionalProperties": false`.
    choices: texts, none empty, of which the text must be one.
    end: the id of the end token, or several, which `mask` allows where the text may stop; None takes the vocabulary's
        <|endoftext|>, if it has one. size: entries of the mask, for models whose vocabulary is larger or smaller (None:
        as many as the vocabulary has). Other special tokens are never allowed.

    A step of decoding is: `allowed = grammar.mask()`, choose a token among them (-inf on the other logits), then
    `grammar.accept(token)` unless it was the end token, until `finished`. A token is allowed exactly if some
    continuation of it matches, whatever the tokenisation: it may cross borders of the grammar and cut a character.
    The probability that a constraint takes away at a step is that of the tokens outside of the mask. `copy` gives an
    independent grammar in the same state, such as for beams.

    Work and memory are bounded: a schema may be nested 120 levels deep, allOf may ask 16 patterns of one value at most,
    and what is too complex for the parser is an error where it becomes so.

    Raises ImportError without the extra, ValueError for an expression or schema that is wrong, not supported or too
    complex.

    >>> from nextword import load
    >>> tokenizer = load().tokenizer
    >>> grammar = Grammar(tokenizer, regex="(yes|no)!")
    >>> sorted(tokenizer.decode([int(i)]) for i in grammar.mask().nonzero()[0])[0]
    'n'
    >>> for token in tokenizer.encode("no!"):
    ...     grammar.accept(token)
    >>> grammar.finished, grammar.may_stop
    (True, True)
    """

    def __init__(self, tokenizer: Tokenizer, *, regex: str | None = None,
                 json_schema: Mapping[str, Any] | str | bool | None = None, choices: Sequence[str] | None = None,
                 end: int | Collection[int] | None = None, size: int | None = None) -> None:
        given = {"regex": regex, "json_schema": json_schema, "choices": choices}
        kinds = [name for name, value in given.items() if value is not None]
        if len(kinds) != 1:
            raise ValueError(f"Grammar: give exactly one of regex, json_schema and choices, got {kinds or 'none'}")
        library = _library()
        own = () if tokenizer.eos_id is None else (tokenizer.eos_id,)
        # The library knows the first of them.
        given_ends = own if end is None else end if isinstance(end, Collection) else (end,)
        self.ends: tuple[int, ...] = tuple(sorted(given_ends))
        self.size = len(tokenizer) if size is None else size
        if end is None and own and own[0] >= self.size:
            self.ends = ()
        if not all(is_integer(one) and 0 <= one < self.size for one in self.ends):
            raise ValueError(f"Grammar: end must be a token id 0 .. {self.size - 1}, or several, got {end!r}")
        if regex is not None:
            source = _of_regex(library, regex)
        elif choices is not None:
            source = _of_choices(library, choices)
        else:
            source = _of_schema(json_schema)
        bridge = _bridge(tokenizer, self.ends, self.size)
        self._ended = False
        limits = library.LLParserLimits(max_lexer_states=STATES)
        self._matcher = library.LLMatcher(bridge, source, log_level=0, limits=limits)
        if not self._matcher.is_error():
            self._matcher.compute_logit_bias()  # only now it sees that nothing can match
        if self._matcher.is_error():
            told = "" if json_schema is not None else f" {shown(given[kinds[0]])}"
            raise ValueError(f"Grammar: {kinds[0]}{told}: {_reason(self._matcher.get_error())}")

    def mask(self) -> NDArray[np.bool_]:
        """Which tokens may come next: bool [size]. All false after the end token, and at the end of the text where the
        vocabulary has no such token. Raises ValueError if the grammar becomes too complex."""
        if self._ended:
            return np.zeros(self.size, np.bool_)
        allowed: NDArray[np.bool_] = np.frombuffer(self._matcher.compute_logit_bias(), np.uint8)[: self.size] != 0
        if self._matcher.is_error():
            raise ValueError(f"Grammar: {_reason(self._matcher.get_error())}")
        if len(self.ends) > 1:
            allowed = allowed.copy()
            allowed[list(self.ends)] = allowed[self.ends[0]]
        return allowed

    def accept(self, token: int) -> None:
        """Go on by one token. Raises ValueError if the mask does not allow it; the state is then as before."""
        ends = token in self.ends and self.may_stop
        known = 0 <= token < self.size and token not in self.ends
        taken = ends or (known and not self._ended and self._matcher.try_consume_tokens([int(token)]))
        if self._matcher.is_error():
            raise ValueError(f"Grammar: {_reason(self._matcher.get_error())}")
        if self._ended or not taken:
            raise ValueError(f"Grammar: token {token} is not allowed here; mask() says which are")
        self._ended = ends

    @property
    def may_stop(self) -> bool:
        """Whether the text so far is a whole match."""
        return self._ended or bool(self._matcher.is_accepting())

    @property
    def finished(self) -> bool:
        """Whether the text is a whole match that nothing can follow, or the end token was accepted."""
        if self._ended or not self._matcher.is_accepting():
            return self._ended
        return bool(self._matcher.is_stopped()) or int(self.mask().sum()) <= len(self.ends)

    def copy(self) -> Grammar:
        """An independent grammar in the same state."""
        other = object.__new__(Grammar)
        other.__dict__.update(self.__dict__)
        other._matcher = self._matcher.deep_copy()
        return other


def _library() -> Any:
    try:
        import llguidance  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError('grammar: needs llguidance: run `pip install "nextword[grammar]"`') from error
    return llguidance


@functools.lru_cache(maxsize=4)  # a large vocabulary takes a good part of a second
def _bridge(tokenizer: Tokenizer, ends: tuple[int, ...], size: int) -> Any:
    """llguidance's view of a vocabulary. Without an end token it gets one behind the last id."""
    library = _library()

    class Vocabulary:
        bos_token_id = None

        def __init__(self) -> None:
            self.eos_token_id = ends[0] if ends else size
            self.tokens = [tokenizer.token_bytes(i) if tokenizer.has(i) else b"" for i in range(size)]
            if not ends:
                self.tokens.append(b"<|end|>")
            special = {*tokenizer.special_tokens.values(), *ends, self.eos_token_id}
            self.special_token_ids = sorted(i for i in special if i < len(self.tokens))

        def __call__(self, text: bytes) -> list[int]:
            return tokenizer.encode(text.decode("utf-8", "replace"), add_special_tokens=False)

    return library.LLTokenizer(library.TokenizerWrapper(Vocabulary()))


def _of_regex(library: Any, regex: str) -> str:
    if not isinstance(regex, str):
        raise TypeError(f"Grammar: regex must be a string, got {type(regex).__name__}")
    try:
        found = json.loads(library.LLMatcher.grammar_from_regex(joined(regex)))
    except UnicodeEncodeError as error:
        raise ValueError(f"Grammar: regex {shown(regex)} holds a lone surrogate at index {error.start}") from None
    for one in found["grammars"]:
        one["lark_grammar"] = _OPTIONS + one["lark_grammar"]
    return json.dumps(found)


def _of_choices(library: Any, choices: Sequence[str]) -> str:
    if isinstance(choices, str) or not all(isinstance(one, str) for one in choices):
        raise TypeError(f"Grammar: choices must be a list of texts, got {shown(choices)}")
    if not choices or "" in choices:
        raise ValueError(f"Grammar: choices must hold at least one text, and none that is empty, got {shown(choices)}")
    return _of_regex(library, "|".join("".join(f"\\x{{{ord(c):X}}}" for c in joined(one)) for one in choices))


def _of_schema(schema: Any) -> str:
    found = json.dumps({"x-guidance": _JSON, **read_schema(schema)}, ensure_ascii=False)
    return joined(f"{_OPTIONS}start: %json {found}")


def _reason(error: str) -> str:
    """What is wrong in one line: the parser's errors bring the place and the whole grammar with them."""
    if error.startswith("NoExtension"):
        return "nothing can match it"
    lines = [line.strip() for line in error.splitlines()]
    named = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return named[0] if named else lines[0].partition("): ")[2] or lines[0]

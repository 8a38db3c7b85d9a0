"""LanguageModel: prompts and settings in, generations out. Decoding itself is in run, beam search in beams."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from nextword.beams import beam_search
from nextword.contrastive import contrastive_search
from nextword.layers import Floats, Ints
from nextword.models.gpt2 import CHUNK, GPT2, GPT2Config
from nextword.prefix import PrefixCache
from nextword.results import Generation, Timings, TokenLogprob
from nextword.row import Row, end_ids, token_logprob
from nextword.rules import Rules
from nextword.run import Overflow, Run, Stream
from nextword.sampling import new_seed
from nextword.settings import Sampling, is_integer
from nextword.speculation import DTYPES, Draft, quantised_copy, same_tokens
from nextword.tokenizer import Tokenizer

if TYPE_CHECKING:
    from nextword.choose import Choice
    from nextword.session import Session

Prompt = str | Sequence[int] | NDArray[np.integer[Any]]
Eos = int | str | None

EXPLAINED = 20  # candidates of a step that explain=True tells of


class LanguageModel:
    """A model, its tokenizer and its configuration: what `nextword.load` returns."""

    def __init__(self, model: GPT2, tokenizer: Tokenizer | None = None) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._copies: dict[str, GPT2] = {}  # those that draft, by their dtype

    @property
    def config(self) -> GPT2Config:
        """The model's configuration."""
        return self.model.config

    def __repr__(self) -> str:
        c = self.config
        return (f"LanguageModel(gpt2: {c.n_layer} layers, {c.n_head} heads, width {c.n_embd}, "
                f"vocabulary {c.vocab_size}, context {c.n_positions})")

    def logits(self, ids: Prompt, last_only: bool = False) -> Floats:
        """Logits of every position, or of the last one.

        ids: token ids [tokens], at least one, or a text. Returns float32 [tokens, vocabulary], or [vocabulary] with
        `last_only`. Raises ValueError if there are none or more than the context window, IndexError for an unknown id.

        >>> import nextword
        >>> nextword.load().logits([281, 290, 300]).shape
        (3, 4096)
        """
        prompt = self._ids(ids, "logits")
        if not 1 <= len(prompt) <= self.config.n_positions:
            raise ValueError(f"logits: expected 1 .. {self.config.n_positions} tokens (the context window), "
                             f"got {len(prompt)}")
        cache = self.model.cache(1, len(prompt))
        parts = []
        for start in range(0, len(prompt), CHUNK):
            part = np.array(prompt[start : start + CHUNK], np.int64)
            last = start + CHUNK >= len(prompt)
            rows = ([len(part) - 1] if last else []) if last_only else None
            parts.append(self.model([part], cache, rows=rows))
        if last_only:
            return np.asarray(parts[-1][0])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def score(self, text: Any, **settings: Any) -> Any:
        """How well the model foresees a text, or each of a list: log-probabilities, perplexity, bits per byte.

        Settings and result: see `nextword.score.score`.
        """
        from nextword.score import score

        return score(self.model, self.tokenizer, text, **settings)

    def choose(self, prompt: Prompt, choices: Sequence[Prompt]) -> "list[Choice]":
        """The probability of each of several continuations of a prompt; see `nextword.choose.choose`."""
        from nextword.choose import choose

        return choose(self.model, self.tokenizer, prompt, choices)

    @overload
    def generate(self, prompt: str, **settings: Any) -> Generation: ...
    @overload
    def generate(self, prompt: NDArray[np.integer[Any]], **settings: Any) -> Generation: ...
    @overload
    def generate(self, prompt: Sequence[Prompt], **settings: Any) -> list[Generation]: ...
    @overload
    def generate(self, prompt: Sequence[int], **settings: Any) -> Generation: ...

    def generate(
        self, prompt: Any, *, sampling: Sampling | Sequence[Sampling] | None = None, on_overflow: Overflow = "error",
        eos: Eos = "config", explain: bool | int = False, prefix: PrefixCache | None = None,
        draft: "LanguageModel | GPT2 | str | None" = None, **settings: Any,
    ) -> Any:
        """Continue a prompt, or each of a list of prompts in one batch.

        prompt: a text or token ids (at least one); a list of those gives a list of results. A row of a batch has the
            same bits as that prompt alone; a beginning that prompts share is encoded once.
        settings: the fields of `Sampling`, by name, such as temperature=0.8, top_p=0.9, stop="\\n". sampling: the same
            as an object, which `settings` change; in a batch a list gives each prompt its own. seed may be a list, too.
            With one seed, row r of a batch draws from (seed, r); with a seed of its own, what it would draw alone.
        on_overflow: what to do when prompt and new tokens exceed the context window. "error" raises ValueError at once,
            "stop" ends with finish_reason "context", "slide" goes on from the last tokens, encoded again.
        eos: the end token; "config" takes the configuration's `eos_token_id`, None never ends by one.
        explain: True tells for each step why its token was chosen (`Generation.steps`), with 20 candidates, or so many.
        prefix: a store of encoded prompts, `PrefixCache(lm.model)`, that is used and added to; the bits are the
            same without it.
        draft: what guesses several tokens ahead, for the model to check in one pass: "lookup" (what followed the last
            tokens earlier in prompt and text), another model of the same vocabulary, or "bfloat16", "int8", "int4" for
            a quantised copy of this one. Every result is the same, bit for bit; only the time differs.
        With n > 1 the result of a prompt is a list of n generations, the most probable first if best_of or num_beams
        chose them. Raises ValueError, TypeError or IndexError that names the argument.

        >>> import nextword
        >>> nextword.load().generate([281, 290, 300, 17, 42], max_new_tokens=3).tokens
        [574, 12, 278]
        """
        many = _is_batch(prompt)
        prompts = list(prompt) if many else [prompt]
        every, own = self._settings("generate", prompts, sampling, settings)
        drafter = self._drafter("generate", draft, every)
        if any(one.num_beams > 1 or one.penalty_alpha for one in every):
            results = [self._searched(p, one, on_overflow, eos) if one.num_beams > 1 or one.penalty_alpha else
                       self._sampled([p], [one], [False], on_overflow, eos, explain, prefix, None)[0]
                       for p, one in zip(prompts, every, strict=True)]
        else:
            results = self._sampled(prompts, every, own, on_overflow, eos, explain, prefix, drafter)
        return results if many else results[0]

    def stream(self, prompt: Prompt, *, sampling: Sampling | None = None, on_overflow: Overflow = "error",
               eos: Eos = "config", explain: bool | int = False, draft: "LanguageModel | GPT2 | str | None" = None,
               **settings: Any) -> Stream:
        """Like `generate` for one prompt, but yields the text piece by piece as it comes, never half a character.

        Without a vocabulary it yields token ids. The stream's `result` is the Generation once it has ended. Searches
        and n > 1 know their text only at the end: ValueError.

        >>> import nextword
        >>> "".join(nextword.load().stream("Once upon a time", max_new_tokens=1)) != ""
        True
        """
        every, own = self._settings("stream", [prompt], sampling, settings)
        if every[0].num_beams > 1 or every[0].penalty_alpha or every[0].best_of or every[0].n > 1:
            raise ValueError("stream: one text is told as it comes; num_beams and n must be 1, best_of None and "
                             "penalty_alpha 0; use generate for more")
        rows = self._rows("stream", [prompt], every, own, on_overflow, eos, explain)
        return Stream(Run(self.model, rows, on_overflow, draft=self._drafter("stream", draft, every)), rows[0])

    def session(self, prompt: Prompt = "", capacity: int | None = None, **more: Any) -> "Session":
        """A text to continue, branch, take back and save, none of it encoded twice: see `nextword.session.Session`."""
        from nextword.session import Session

        return Session(self, prompt, capacity, **more)

    def resume(self, path: Any, **more: Any) -> "Session":
        """The session that `Session.save` wrote to a file."""
        from nextword.session import Session

        return Session.resume(self, path, **more)

    def _settings(self, op: str, prompts: list[Any], sampling: Any,
                  changes: dict[str, Any]) -> tuple[list[Sampling], list[bool]]:
        """Each prompt's settings, with a seed, and whether that seed is its own."""
        given = list(sampling) if isinstance(sampling, list | tuple) else [sampling] * len(prompts)
        seeds: Any = changes.get("seed")
        each = isinstance(seeds, list | tuple | range | np.ndarray)
        seeds = list(seeds) if each else [seeds] * len(prompts)
        for name, values in (("sampling", given), ("seed", seeds)):
            if len(values) != len(prompts):
                raise ValueError(f"{op}: {name} must be one or one for each of the {len(prompts)} prompts, "
                                 f"got {len(values)}")
        drawn = new_seed()
        found, own = [], []
        for one, seed in zip(given, seeds, strict=True):
            if one is not None and not isinstance(one, Sampling):
                raise TypeError(f"{op}: sampling must be nextword.Sampling, got {type(one).__name__}")
            settings = (one or Sampling()).changed(**{**changes, **({} if seed is None else {"seed": seed})})
            own.append(settings.seed is not None and (each or isinstance(sampling, list | tuple)))
            found.append(settings.changed(seed=drawn) if settings.seed is None else settings)
        return found, own

    def _sampled(self, prompts: list[Any], every: list[Sampling], own: list[bool], on_overflow: Overflow, eos: Eos,
                 explain: bool | int, prefix: PrefixCache | None, draft: Draft | None) -> list[Any]:
        if prefix is not None and prefix.model is not self.model:
            raise ValueError("generate: prefix must be a PrefixCache of this model; make it with PrefixCache(lm.model)")
        rows = self._rows("generate", prompts, every, own, on_overflow, eos, explain)
        run = Run(self.model, rows, on_overflow, prefix, draft)
        for _ in run.steps():
            pass
        results = run.results()
        found: list[Any] = []
        for one in every:
            count = one.best_of or one.n
            texts, rows, results = list(zip(rows, results, strict=True))[:count], rows[count:], results[count:]
            if count > one.n:
                texts.sort(key=lambda text: -text[0].mean_logprob)  # of equal ones, the first stays first
            found.append(texts[0][1] if one.n == 1 else [result for _, result in texts[: one.n]])
        return found

    def _drafter(self, op: str, draft: Any, every: list[Sampling]) -> Draft | None:
        """What drafts: "lookup" or a model; copies of this one are made once."""
        if draft is None:
            return None
        if any(one.num_beams > 1 or one.penalty_alpha for one in every):
            raise ValueError(f"{op}: draft goes with greedy decoding and sampling, not with a search; pass draft=None, "
                             "or num_beams=1 and penalty_alpha=0")
        if isinstance(draft, str) and draft == "lookup":
            return "lookup"
        if isinstance(draft, str) and draft in DTYPES:
            if draft not in self._copies:  # of two threads that make one, both take the first's
                self._copies.setdefault(draft, quantised_copy(self.model, draft))
            return self._copies[draft]
        model, tokenizer = (draft.model, draft.tokenizer) if isinstance(draft, LanguageModel) else (draft, None)
        if not isinstance(model, GPT2):
            raise ValueError(f'{op}: draft must be "lookup", {", ".join(map(repr, DTYPES))}, a LanguageModel, a GPT2 '
                             f"or None, got {draft!r}")
        sizes = model.config.vocab_size, self.config.vocab_size
        if sizes[0] != sizes[1] or (tokenizer and self.tokenizer and not same_tokens(tokenizer, self.tokenizer)):
            raise ValueError(f"{op}: draft must have the model's vocabulary of {sizes[1]} tokens, got another of "
                             f'{sizes[0]}; take a model with the same one, or draft="lookup"')
        return model

    def _rows(self, op: str, prompts: list[Any], every: list[Sampling], own: list[bool], on_overflow: Overflow,
              eos: Eos, explain: bool | int) -> list[Row]:
        """Rows for all texts of all prompts; those of a prompt follow each other."""
        end, top = self._end(op, eos), _explained(op, explain)
        rows: list[Row] = []
        for prompt, one, own_seed in zip(prompts, every, own, strict=True):
            self._check_vocabulary(op, one)
            tokens = self._prompt(op, prompt, one.max_new_tokens, on_overflow)
            first = 0 if own_seed else len(rows)  # rows with a common seed draw by their number
            rows += [self._row(tokens, one, first + i, end, top) for i in range(one.best_of or one.n)]
        return rows

    def _row(self, tokens: Ints, settings: Sampling, number: int, end: int | None, top: int) -> Row:
        tokenizer = self.tokenizer
        rules = self._rules(settings, end)
        if tokenizer is None:
            return Row(tokens, settings, rules, number, end, explain=top)
        grammar = None
        if settings.regex is not None or settings.json_schema is not None:
            from nextword.grammar import Grammar

            grammar = Grammar(tokenizer, regex=settings.regex, json_schema=settings.json_schema, end=end,
                              size=self.config.vocab_size)
        return Row(tokens, settings, rules, number, end, tokenizer.decoder(), grammar, top, self._token_text)

    def _rules(self, settings: Sampling, end: int | None) -> Rules:
        encode = self.tokenizer.encode if self.tokenizer else None
        return Rules(settings, self.config.vocab_size, encode, end_ids(end, settings))

    def _check_vocabulary(self, op: str, settings: Sampling) -> None:
        needs = [("stop strings", any(isinstance(s, str) for s in settings.stop)),  # type: ignore[union-attr]
                 ("regex", settings.regex is not None), ("json_schema", settings.json_schema is not None)]
        for name, given in needs:
            if given and self.tokenizer is None:
                raise ValueError(f"{op}: {name} need a vocabulary, which this model's folder does not have; "
                                 "stop takes token ids, too")

    def _searched(self, prompt: Any, one: Sampling, on_overflow: Overflow, eos: Eos) -> Generation | list[Generation]:
        """The n best texts of a beam search, or the one of a contrastive search, for one prompt."""
        self._check_vocabulary("generate", one)
        if on_overflow == "slide":
            raise ValueError('generate: on_overflow must be "error" or "stop" for a search, got "slide"')
        tokens, end = self._prompt("generate", prompt, one.max_new_tokens, on_overflow), self._end("generate", eos)
        rules = self._rules(one, end)
        common: dict[str, Any] = {
            "max_new_tokens": one.max_new_tokens, "decode": self._text if self.tokenizer else None,
            "eos": () if end is None else end, "stop": one.stop,
            "process": lambda text, x: rules(x, tokens, np.array(text[len(tokens) :], np.int64))[0],
        }  # fmt: skip
        started = time.perf_counter()

        def told(text: str | None, new: list[int], reason: str, steps: int, prefill: float, **more: Any) -> Generation:
            spent = time.perf_counter() - started - prefill
            timings = Timings(len(tokens), prefill, max(0, steps - 1), spent)
            return Generation(text, new, tokens.tolist(), reason, one.seed or 0, timings,
                              self._logprobs(tokens, new, one.logprobs), **more)

        if one.penalty_alpha:
            best = contrastive_search(self.model, tokens, penalty_alpha=one.penalty_alpha, top_k=one.top_k or 4,
                                      **common)
            return told(best.text, best.tokens, best.finish_reason, len(best.steps), best.prefill_seconds)
        early: Any = one.early_stopping
        found = beam_search(
            self.model, tokens, num_beams=one.num_beams, num_return_sequences=one.n, length_penalty=one.length_penalty,
            early_stopping=early, num_beam_groups=one.num_beam_groups, diversity_penalty=one.diversity_penalty,
            **common)
        every = [told(beam.text, beam.tokens, beam.finish_reason, len(found.tree), found.prefill_seconds,
                      score=beam.score, beams=found) for beam in found.beams]
        return every if one.n > 1 else every[0]

    def _logprobs(self, prompt: Ints, tokens: list[int], top: int | None) -> list[TokenLogprob] | None:
        """Log-probabilities by the model of tokens that were chosen otherwise."""
        if top is None:
            return None
        logits = self.logits(np.concatenate([prompt, np.array(tokens, np.int64)])[:-1] if tokens else prompt)
        return [token_logprob(row, token, top) for row, token in zip(logits[len(prompt) - 1 :], tokens, strict=False)]

    def _text(self, tokens: Sequence[int]) -> str:
        """Text of any ids, those without a text as replacement characters."""
        assert self.tokenizer is not None
        try:
            return self.tokenizer.decode(tokens)
        except IndexError:
            return "".join(map(self._token_text, tokens))

    def _token_text(self, token: int) -> str:
        """A token's text; bytes that are no text of their own as replacement characters."""
        assert self.tokenizer is not None
        try:
            return self.tokenizer.decode_bytes([token]).decode("utf-8", "replace")
        except IndexError:  # models pad their vocabulary
            return "\ufffd"

    def _end(self, op: str, eos: Eos) -> int | None:
        end = self.config.eos_token_id if isinstance(eos, str) and eos == "config" else eos
        if end is None:
            return None
        if not is_integer(end) or not int(end) >= 0 or (eos != "config" and int(end) >= self.config.vocab_size):
            raise ValueError(f"{op}: eos must be a token id 0 .. {self.config.vocab_size - 1}, "
                             f'None or "config", got {eos!r}')
        return int(end) if int(end) < self.config.vocab_size else None

    def _prompt(self, op: str, prompt: Any, fresh: int, on_overflow: Overflow) -> Ints:
        """The prompt's ids, checked against vocabulary and window."""
        if on_overflow not in ("error", "stop", "slide"):
            raise ValueError(f'{op}: on_overflow must be "error", "stop" or "slide", got {on_overflow!r}')
        tokens, window, size = self._ids(prompt, op), self.config.n_positions, self.config.vocab_size
        if not tokens:
            raise ValueError(f"{op}: prompt must have at least one token, got none; start from the end token or a word")
        for token in tokens:
            if not 0 <= token < size:
                raise IndexError(f"{op}: prompt must hold token ids 0 .. {size - 1}, got {token}")
        if on_overflow == "error" and len(tokens) + max(0, fresh - 1) > window:
            raise ValueError(f"{op}: prompt of {len(tokens)} tokens and max_new_tokens={fresh} must fit into the "
                             f'context window of {window}; shorten one, or pass on_overflow="stop" or "slide"')
        if on_overflow == "stop" and len(tokens) > window:
            raise ValueError(f"{op}: prompt must fit into the context window of {window} tokens, got {len(tokens)}; "
                             'shorten it, or pass on_overflow="slide"')
        return np.array(tokens, np.int64)

    def _ids(self, prompt: Any, op: str) -> list[int]:
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise ValueError(f"{op}: a text needs a vocabulary, which this model's folder does not have; "
                                 "pass token ids")
            return self.tokenizer.encode(prompt)
        if isinstance(prompt, np.ndarray) and prompt.ndim == 1 and np.issubdtype(prompt.dtype, np.integer):
            return [int(i) for i in prompt]
        if isinstance(prompt, list | tuple | range) and all(map(is_integer, prompt)):
            return [int(i) for i in prompt]
        raise TypeError(f"{op}: prompt must be a text or a list of integer token ids, got {type(prompt).__name__}")


def _explained(op: str, explain: bool | int) -> int:
    if isinstance(explain, bool):
        return EXPLAINED if explain else 0
    if not is_integer(explain) or explain < 0:
        raise ValueError(f"{op}: explain must be True, False or how many candidates to tell of, got {explain!r}")
    return int(explain)


def _is_batch(prompt: Any) -> bool:
    return isinstance(prompt, list | tuple) and (not prompt or not isinstance(prompt[0], int | np.integer))

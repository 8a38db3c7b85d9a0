"""LanguageModel: prompts and settings in, generations out. Decoding itself is in decoding/scheduler."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.decoding.batch import Batch
from nextword.decoding.calls import Call, Eos
from nextword.decoding.defaults import Defaults
from nextword.decoding.per_prompt import chosen, settings_of
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.results import Generation
from nextword.decoding.seats import Overflow
from nextword.decoding.settings import Sampling
from nextword.decoding.speculation import DTYPES, Draft, same_tokens
from nextword.decoding.stream import Stream
from nextword.machine import memory
from nextword.models.model import Model
from nextword.models.passes import read
from nextword.tasks.awaited import Awaited
from nextword.tasks.chatting import Chatting
from nextword.tasks.looking import Looking
from nextword.text.chat_files import Told
from nextword.text.ids import Prompt, Special, is_batch, token_ids
from nextword.text.no_vocabulary import tells_why
from nextword.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from nextword.tasks.choose import Choice
    from nextword.tasks.session import Session

class Source(NamedTuple):
    """What `nextword.load` was called with: `load(source.path, source.dtype, kv_dtype=..., revision=..., context=...)`
    gives the same model again.

    path: the folder, absolute; a hub id; or None, the model of the package.
    """

    path: str | None
    dtype: str | None
    kv_dtype: str
    revision: str | None
    context: int | None = None


class LanguageModel(Looking, Awaited, Chatting):
    """A model, its tokenizer and its configuration: what `nextword.load` returns.

    source: where `load` took it from; None for one that was put together otherwise. no_tokenizer: why there is none.
    note: in what its matrices are held where that is not what the file has, such as "int8 of Q4_K"; else "".
    generation_config: the content of generation_config.json, or else what config.json has of it. Its end tokens,
        beginning token and forbidden tokens hold (`suppress_tokens`, `bad_words_ids`); a generation is refused for what
        else of it forces tokens. All other fields, such as temperature and max_new_tokens, change nothing: `generate`
        has its own defaults, and takes what is given to it.
    ends: the model's end tokens, by generation_config.json or else config.json. Empty without one.
    template: gives what the model's files say of its template of messages, when it is first asked for.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer | None = None, source: Source | None = None,
                 generation_config: Mapping[str, Any] | None = None,
                 template: Callable[[], Told] | None = None) -> None:
        self.model, self.tokenizer, self.source = model, tokenizer, source
        self.generation_config = generation_config
        self._defaults = Defaults.read(model, generation_config)
        self.ends = self._defaults.ends
        self.no_tokenizer, self.note = "", ""
        self._template, self._chat_template = template, None
        self._engine = None
        self._copies: dict[str, Model] = {}  # those that draft, by their dtype

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    def __repr__(self) -> str:
        return f"LanguageModel({self.model.kind}: {self.model.sizes}{self.note and f'; {self.note}'})"

    def __reduce__(self) -> tuple[Any, ...]:
        """By where it came from: who reads the pickle loads it anew. Raises TypeError if it came from nowhere."""
        if self.source is None:
            raise TypeError("pickle: this LanguageModel was put together by hand, so that there is nothing to load it "
                            "from; write its weights to a folder and load that with nextword.load")
        return _load_again, tuple(self.source)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LanguageModel":
        """A model of its own; the packed matrices, which never change, are shared."""
        other = LanguageModel(deepcopy(self.model, memo), self.tokenizer, self.source, self.generation_config,
                              self._template)
        other.no_tokenizer, other.note = self.no_tokenizer, self.note
        return other

    @tells_why
    def logits(self, ids: Prompt, last_only: bool = False, *, allowed_special: Special = ()) -> Floats:
        """Logits of every position, or of the last one.

        ids: token ids [tokens], at least one, or a text, before which stands what the tokenizer begins texts with.
        allowed_special: the special tokens whose names in a text stand for them, "all" or some of them.
        Returns float32 [tokens, vocabulary], or [vocabulary] with `last_only`.
        Raises ValueError if there are none or more than the context window, IndexError for an unknown id, MemoryError
        for more logits than there is memory.

        >>> import nextword
        >>> nextword.load().logits([281, 290, 300]).shape
        (3, 4096)
        """
        prompt = token_ids("logits", "prompt", ids, self.tokenizer, self.model.vocabulary, allowed_special, begins=True)
        if not 1 <= len(prompt) <= self.model.limit:
            raise ValueError(f"logits: expected 1 .. {self.model.limit} tokens (the context window), "
                             f"got {len(prompt)}")
        if not last_only:  # the parts, and all of them together
            memory.require("logits", f"the logits of {len(prompt)} tokens", 8 * len(prompt) * self.model.vocabulary,
                           "shorten the text, or pass last_only=True")
        cache = self.model.cache(1, len(prompt))
        found = read(self.model, np.array(prompt, np.int64), cache, last=1 if last_only else len(prompt))
        return np.asarray(found[0]) if last_only else found

    @tells_why
    def score(self, text: Any, **settings: Any) -> Any:
        """How well the model foresees a text, or each of a list: log-probabilities, perplexity, bits per byte.

        Settings and result: see `nextword.tasks.score.score`.
        """
        from nextword.tasks.score import score

        return score(self.model, self.tokenizer, text, defaults=self._defaults, **settings)

    @tells_why
    def choose(self, prompt: Prompt, choices: Sequence[Prompt], *, allowed_special: Special = ()) -> "list[Choice]":
        """The probability of each of several continuations of a prompt; see `nextword.tasks.choose.choose`."""
        from nextword.tasks.choose import choose

        return choose(self.model, self.tokenizer, prompt, choices, allowed_special=allowed_special,
                      defaults=self._defaults)

    @overload
    def generate(self, prompt: str, **settings: Any) -> Generation: ...
    @overload
    def generate(self, prompt: NDArray[np.integer[Any]], **settings: Any) -> Generation: ...
    @overload
    def generate(self, prompt: Sequence[Prompt], **settings: Any) -> list[Generation]: ...
    @overload
    def generate(self, prompt: Sequence[int], **settings: Any) -> Generation: ...

    @tells_why
    def generate(
        self, prompt: Any, *, sampling: Sampling | Sequence[Sampling] | None = None, on_overflow: Overflow = "error",
        eos: Eos = "config", explain: bool | int = False, prefix: PrefixCache | None = None,
        draft: "LanguageModel | Model | str | None" = None, allowed_special: Special = (), **settings: Any,
    ) -> Any:
        """Continue a prompt, or each of a list of prompts in one batch.

        prompt: a text or token ids; a list of those gives a list of results. A row of a batch has the same bits as that
            prompt alone; a beginning that prompts share is encoded once. Rows for which there is no memory start when
            others end. Before a text stands what the tokenizer begins texts with; what it ends them with is left out.
            An empty prompt starts from the beginning token of the tokenizer or the model, or else from the end token.
        allowed_special: special tokens whose names in a text stand for them, "all" or some; by default text is text.
        settings: the fields of `Sampling`, by name, such as temperature=0.8, top_p=0.9, stop="\\n". sampling: the same
            as an object, which `settings` change; in a batch a list gives each prompt its own. seed may be a list, too.
            With one seed, text r of a batch draws as row `row` + r; with a seed of its own, what it would draw alone.
        on_overflow: what to do when prompt and new tokens exceed the context window. "error" raises ValueError at once,
            "stop" ends with finish_reason "context", "slide" goes on from the last tokens, encoded again.
        eos: what ends a text: a token id, the text of one token, a list of those; "config" takes the model's end tokens
            (`LanguageModel.ends`), None ends by none. The end token is not among the result's tokens.
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
        many = is_batch(prompt)
        prompts = list(prompt) if many else [prompt]
        every, own = settings_of("generate", prompts, sampling, settings)
        drafter = self._drafter("generate", draft, every)
        call = self._call("generate", on_overflow, eos, explain, allowed_special)
        if any(one.num_beams > 1 or one.penalty_alpha for one in every):
            from nextword.decoding.searches import searched

            results = [searched(self.model, self.logits, p, one, call) if one.num_beams > 1 or one.penalty_alpha else
                       self._sampled([p], [one], [False], call, prefix, None)[0]
                       for p, one in zip(prompts, every, strict=True)]
        else:
            results = self._sampled(prompts, every, own, call, prefix, drafter)
        return results if many else results[0]

    @tells_why
    def stream(self, prompt: Prompt, *, sampling: Sampling | None = None, on_overflow: Overflow = "error",
               eos: Eos = "config", explain: bool | int = False, draft: "LanguageModel | Model | str | None" = None,
               allowed_special: Special = (), **settings: Any) -> Stream:
        """Like `generate` for one prompt, but yields the text piece by piece as it comes, never half a character.

        Without a vocabulary it yields token ids. The stream's `result` is the Generation once it has ended. Searches
        and n > 1 know their text only at the end: ValueError.

        >>> import nextword
        >>> "".join(nextword.load().stream("Once upon a time", max_new_tokens=1)) != ""
        True
        """
        every, own = settings_of("stream", [prompt], sampling, settings)
        if every[0].num_beams > 1 or every[0].penalty_alpha or every[0].best_of or every[0].n > 1:
            raise ValueError("stream: one text is told as it comes; num_beams and n must be 1, best_of None and "
                             "penalty_alpha 0; use generate for more")
        call = self._call("stream", on_overflow, eos, explain, allowed_special)
        return Stream(Batch(self.model, call.rows([prompt], every, own), call.on_overflow,
                            draft=self._drafter("stream", draft, every), op="stream"))

    def session(self, prompt: Prompt = "", capacity: int | None = None, **more: Any) -> "Session":
        """A text to continue, branch, take back and save, none of it encoded twice: see `session.Session`."""
        from nextword.tasks.session import Session

        return Session(self, prompt, capacity, **more)

    def resume(self, path: Any, **more: Any) -> "Session":
        """The session that `Session.save` wrote to a file."""
        from nextword.tasks.session import Session

        return Session.resume(self, path, **more)

    def _call(self, op: str, on_overflow: Overflow, eos: Eos, explain: bool | int, allowed_special: Special) -> Call:
        return Call(op, self.model, self.tokenizer, self._defaults, on_overflow, eos, explain, allowed_special)

    def _sampled(self, prompts: list[Any], every: list[Sampling], own: list[bool], call: Call,
                 prefix: PrefixCache | None, draft: Draft | None) -> list[Any]:
        if prefix is not None and prefix.model is not self.model:
            raise ValueError("generate: prefix must be a PrefixCache of this model; make it with PrefixCache(lm.model)")
        rows = call.rows(prompts, every, own)
        batch = Batch(self.model, rows, call.on_overflow, prefix, draft)
        for _ in batch.steps():
            pass
        return chosen(every, rows, batch.results())

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
                self._copies.setdefault(draft, self.model.quantised(draft))
            return self._copies[draft]
        model, tokenizer = (draft.model, draft.tokenizer) if isinstance(draft, LanguageModel) else (draft, None)
        if not isinstance(model, Model):
            raise ValueError(f'{op}: draft must be "lookup", {", ".join(map(repr, DTYPES))}, a LanguageModel, '
                             f"a {type(self.model).__name__} or None, got {draft!r}")
        sizes = model.vocabulary, self.model.vocabulary
        if sizes[0] != sizes[1] or (tokenizer and self.tokenizer and not same_tokens(tokenizer, self.tokenizer)):
            raise ValueError(f"{op}: draft must have the model's vocabulary of {sizes[1]} tokens, got another of "
                             f'{sizes[0]}; take a model with the same one, or draft="lookup"')
        return model


def _load_again(path: str | None, dtype: str | None, kv_dtype: str, revision: str | None,
                context: int | None = None) -> LanguageModel:
    """The model of a pickle."""
    from nextword import load

    return load(path, dtype, kv_dtype=kv_dtype, revision=revision, context=context)

"""Chatting: what a LanguageModel answers to messages, by its own template of them or a plain one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nextword.decoding.defaults import Defaults
from nextword.decoding.results import Generation
from nextword.decoding.stream import Stream
from nextword.models.model import Model
from nextword.text.chat_files import Told
from nextword.text.chat_template import ChatTemplate, Message
from nextword.text.ids import added_token, token_ids, token_text
from nextword.text.no_vocabulary import NoVocabularyError, tells_why
from nextword.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from nextword.tasks.conversation import Conversation

# Tokens that end a turn: some models' files name only the one that ends a document.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|end_of_text|>", "<end_of_turn>", "</s>")


class Chatting:
    """What a LanguageModel says to messages."""

    model: Model
    tokenizer: Tokenizer | None
    no_tokenizer: str
    ends: frozenset[int]
    _defaults: Defaults
    _template: Callable[[], Told] | None
    _chat_template: ChatTemplate | None

    @property
    def chat_template(self) -> ChatTemplate:
        """How messages become a prompt: the model's own template (chat_template.jinja, or `chat_template` of
        tokenizer_config.json), or the plain one. Read once. Raises ValueError that names the file for one that cannot
        be read.

        >>> import nextword
        >>> nextword.load().chat_template.render([{"role": "user", "content": "Who are you?"}])
        'User: Who are you?\\nAssistant:'
        """
        if self._chat_template is None:
            source, tokens = Told(None, {}) if self._template is None else self._template()
            self._chat_template = ChatTemplate(source, tokens or self._special_names())
        return self._chat_template

    @tells_why
    def chat(self, messages: Sequence[Message], *, variables: Mapping[str, Any] | None = None,
             **settings: Any) -> Generation:
        """The answer to messages: a list of {"role": "user", "content": "..."}, roles system, user and assistant.

        variables: what else the model's template reads, such as enable_thinking=False of some models. settings: those
        of `generate`; without max_new_tokens an answer may fill the window. What the template writes is the prompt:
        `lm.generate` of it gives the same. An answer ends by the model's end tokens and by those that end its turns.
        Raises what `ChatTemplate.render` and `generate` do.

        >>> import nextword
        >>> lm = nextword.load()
        >>> messages = [{"role": "user", "content": "Who lived in the forest?"}]
        >>> answer = lm.chat(messages, max_new_tokens=8)
        >>> lm.generate(lm.chat_template.render(messages), max_new_tokens=8, stop=("\\nUser:",)).text == answer.text
        True
        """
        ids = self.chat_ids(messages, **(variables or {}))
        found: Generation = self.generate(ids, **self.chat_settings(ids, settings))  # type: ignore[attr-defined]
        return found

    @tells_why
    def chat_stream(self, messages: Sequence[Message], *, variables: Mapping[str, Any] | None = None,
                    **settings: Any) -> Stream:
        """Like `chat`, piece by piece, as `stream` is to `generate`.

        >>> import nextword
        >>> pieces = nextword.load().chat_stream([{"role": "user", "content": "Hello"}], max_new_tokens=3)
        >>> "".join(pieces) == pieces.result.text
        True
        """
        ids = self.chat_ids(messages, **(variables or {}))
        found: Stream = self.stream(ids, **self.chat_settings(ids, settings))  # type: ignore[attr-defined]
        return found

    def conversation(self, system: str = "", **variables: Any) -> Conversation:
        """A conversation, of which each turn reads only what is new: see `nextword.tasks.conversation.Conversation`."""
        from nextword.tasks.conversation import Conversation

        return Conversation(self, system, **variables)  # type: ignore[arg-type]

    def chat_ids(self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any) -> list[int]:
        """The token ids of the prompt that the template writes."""
        template = self.chat_template
        if self.tokenizer is None:
            raise NoVocabularyError("chat: messages need", "give generate token ids", self.no_tokenizer)
        return token_ids("chat", "messages", template.render(messages, add_generation_prompt, **variables),
                         self.tokenizer, self.model.vocabulary, () if template.plain else "all", template.plain)

    def chat_settings(self, ids: Sequence[int], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of an answer: what is given, and where it says nothing of it, how the answer ends. ids: of the
        prompt."""
        found = {**settings}
        if "sampling" not in found:
            found.setdefault("max_new_tokens", max(1, self.model.limit + 1 - len(ids)))
        if stops := self.chat_template.stops:
            given = found.get("stop", found["sampling"].stop if found.get("sampling") else ())
            found["stop"] = (*([given] if isinstance(given, str | int) else given or ()), *stops)
        found.setdefault("eos", sorted(self.chat_ends) or None)
        return found

    @property
    def chat_ends(self) -> frozenset[int]:
        """The tokens that end an answer: the model's end tokens, the one that its template calls eos_token, and those
        that end a turn in it."""
        template = self.chat_template
        if template.source is None:
            return self.ends
        names = [name for name in TURN_ENDS if name in template.source]
        found = [added_token(self.tokenizer, name) for name in (*names, template.tokens.get("eos_token", ""))]
        return self.ends | {token for token in found if token is not None and token < self.model.vocabulary}

    def _special_names(self) -> dict[str, str]:
        """The texts of the model's beginning and end token, "" for one that it does not have."""
        tokenizer = self.tokenizer
        if tokenizer is None:
            return {"bos_token": "", "eos_token": ""}
        end = tokenizer.eos_id if tokenizer.eos_id is not None else min(self.ends, default=None)
        begin = tokenizer.beginning[0] if tokenizer.beginning else self._defaults.begin
        return {name: "" if token is None or not tokenizer.has(token) else token_text(tokenizer, token)
                for name, token in (("bos_token", begin), ("eos_token", end))}

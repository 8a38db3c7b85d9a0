"""Messages as a prompt: by a model's own template, which is a program in Jinja, or by a plain one for base models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nextword.machine.shown import shown
from nextword.text.chat_process import Renderer

Message = Mapping[str, Any]
ROLES = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
EXPECTED = 'a list of {"role": ..., "content": ...}, at least one'


class TemplateError(ValueError):
    """A model's template that is none, refuses the messages, or takes more than it may."""


class ChatTemplate:
    """How messages become the text that a model continues with its answer.

    source: the model's own template, as Hugging Face's `chat_template` has it; None for the plain one, which writes
        each message as `Role: content` and a line end, then `Assistant:`.
    tokens: special tokens by the names that templates have for them, such as bos_token and eos_token.
    A template runs in Jinja's sandbox (the extra "chat") in a process of its own: it opens no file, and ends with an
    error where it takes more than a second, 768 MiB or 16,777,216 characters. It gives what `transformers` gives.
    Threads may share one.

    >>> ChatTemplate(None).render([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}])
    'System: Be brief.\\nUser: Hello\\nAssistant:'
    >>> own = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\\n{% endfor %}"
    >>> ChatTemplate(own, {"bos_token": "<s>"}).render([{"role": "user", "content": "Hello"}])
    '<s>[user] Hello\\n'
    """

    def __init__(self, source: str | None, tokens: Mapping[str, str] | None = None) -> None:
        self.source, self.tokens = source, dict(tokens or {})
        self._renderer = None if source is None else Renderer(source)

    @property
    def plain(self) -> bool:
        """Whether it is the plain one. What it writes is text alone, before which stands what the tokenizer begins
        texts with; a model's own writes its special tokens, by their names."""
        return self.source is None

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings before which an answer ends, where no token of the model says so."""
        return ("\nUser:", "\nSystem:") if self.plain else ()

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any) -> str:
        """The text of messages. add_generation_prompt: with what begins an answer. variables: what else the template
        reads, such as tools, or enable_thinking=False of some models.

        Names of special tokens stand for these wherever they stand, in messages too, as with `transformers`.
        Raises TemplateError where the template refuses, ValueError or TypeError for messages that are none, ImportError
        without jinja2.
        """
        told = [_checked(one) for one in messages] if isinstance(messages, list | tuple) else []
        if not told:
            raise TypeError(f"chat: messages must be {EXPECTED}, got {shown(messages)[:200]}")
        if self._renderer is None:
            return _plain(told, add_generation_prompt)
        try:
            return self._renderer({"tools": None, "documents": None, **self.tokens, **variables, "messages": told,
                                   "add_generation_prompt": add_generation_prompt})
        except TypeError as error:
            raise TypeError(f"chat: messages and variables must hold what JSON has: {error}") from None
        except ValueError as error:
            raise TemplateError(f"chat: the model's template refuses the messages: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        """By its content; its process stays here."""
        return ChatTemplate, (self.source, self.tokens)

    def __repr__(self) -> str:
        return "ChatTemplate(plain)" if self.source is None else f"ChatTemplate({shown(self.source)[:60]})"


def _checked(message: Any) -> dict[str, Any]:
    """A message without what is None in it: templates write that out."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise TypeError(f"chat: messages must be {EXPECTED}, got {shown(message)[:200]} among them")
    found = {key: value for key, value in message.items() if value is not None}
    if len(found) == 1:  # an answer that calls tools may have them alone
        raise ValueError(f"chat: a message must have its content, a text or a list of texts; that of role "
                         f"{shown(message['role'])[:100]} has none")
    return found


def content(message: Message) -> str:
    """The text of a message; parts follow each other. Raises ValueError for parts that are no text.

    >>> content({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})
    'ab'
    """
    found = message.get("content", "")
    if isinstance(found, str):
        return found
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in found] if isinstance(
        found, list | tuple) else [None]
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise ValueError(f"chat: content must be a text or a list of texts, got {shown(found)[:200]}")
    return "".join(texts)


def _plain(messages: Sequence[Message], generate: bool) -> str:
    """The plain template. Where a text begins with a blank or ends its line, as answers do, none is added: an answer
    in it reads as it was written."""
    lines = []
    for one in messages:
        if one["role"] not in ROLES:
            raise ValueError(f"chat: role must be one of {', '.join(ROLES)}, got {shown(one['role'])[:100]}; the plain "
                             "template of models without one of their own has no other")
        text = content(one)
        lines.append(ROLES[one["role"]] + (":" if text[:1].isspace() else ": ") + text.removesuffix("\n") + "\n")
    return "".join(lines) + ("Assistant:" if generate else "")

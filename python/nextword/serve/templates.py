"""How messages become a prompt: the model's own template, or for base models a plain one.

The plain template writes each message as `Role: content` and a line end, then `Assistant:`; a text ends before a line
that begins with `User:` or `System:`. Nothing else is added: `lm.generate` of the written prompt gives the same.
A model's own template is Jinja's, out of its folder and never out of a request. It runs in an immutable sandbox. Names
of special tokens stand for these in what it writes, those in messages too, as with `transformers`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from nextword.files.hub import fetch, parse
from nextword.serve.errors import Refused
from nextword.serve.requests import Message
from nextword.serve.served import Served

ROLES = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
STOPS = ("\nUser:", "\nSystem:")
FILE, CONFIG = "chat_template.jinja", "tokenizer_config.json"


def written(served: Served, messages: Sequence[Message], generate: bool = True) -> tuple[str, bool]:
    """The prompt, and whether the plain template wrote it. generate: with what begins an answer."""
    template = own_template(served)
    if template is None:
        return plain([(one.role, content(one)) for one in messages], generate), True
    told = [{"role": one.role, "content": content(one)} | ({} if one.name is None else {"name": one.name})
            for one in messages]
    return rendered(template, told, generate, served), False


def plain(messages: Sequence[tuple[str, str]], generate: bool = True) -> str:
    """The plain template.

    >>> plain([("system", "Be brief."), ("user", "Hello")])
    'System: Be brief.\\nUser: Hello\\nAssistant:'
    """
    text = "".join(f"{ROLES[role]}: {said}\n" for role, said in messages)
    return text + "Assistant:" if generate else text


def content(message: Message) -> str:
    """The text of a message; its parts follow each other."""
    return message.content if isinstance(message.content, str) else "".join(part.text for part in message.content)


def own_template(served: Served) -> str | None:
    """The template of the model's folder, which may be one of the hub's; None where it has none."""
    source = served.lm.source
    return None if source is None or source.path is None else _of_files(source.path, source.revision)


@lru_cache(maxsize=32)
def _of_files(path: str, revision: str | None) -> str | None:
    folder = Path(path)
    if not folder.is_dir() and (named := parse(path, revision)) is not None:
        folder = fetch(*named, (FILE, CONFIG))
    if (folder / FILE).is_file():
        return (folder / FILE).read_text(encoding="utf-8")
    if not (folder / CONFIG).is_file():
        return None
    found = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("chat_template")
    if isinstance(found, list):  # several by name
        found = {one.get("name"): one.get("template") for one in found}.get("default")
    return found if isinstance(found, str) else None


def rendered(template: str, messages: list[dict[str, Any]], generate: bool, served: Served) -> str:
    """What the model's template writes. Raises Refused where it refuses the messages, ImportError without jinja2."""
    try:
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ImportError('chat: the template of messages needs jinja2: run `pip install "nextword[chat]"`') from error

    def refuse(message: str) -> None:
        raise TemplateError(message)

    names = token_names(served)
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = refuse
    try:
        return str(environment.from_string(template).render(messages=messages, add_generation_prompt=generate, **names))
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise Refused(400, f"messages: the model's template refuses them: {str(error)[:200]}", "messages",
                      "template_error") from None


def token_names(served: Served) -> dict[str, str]:
    """The texts of the model's beginning and end token, "" for one that it does not have."""
    lm = served.lm
    tokenizer = lm.tokenizer
    if tokenizer is None:
        return {"bos_token": "", "eos_token": ""}
    end = tokenizer.eos_id if tokenizer.eos_id is not None else min(lm.ends, default=None)
    begin = tokenizer.beginning[0] if tokenizer.beginning else lm.model.begin_id
    return {name: "" if token is None or not tokenizer.has(token) else served.token(token)
            for name, token in (("bos_token", begin), ("eos_token", end))}

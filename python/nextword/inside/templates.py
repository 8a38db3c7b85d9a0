"""Prompts from templates: "The {doctor|nurse} said that" is two of them."""

from __future__ import annotations

import re
from itertools import product

MOST = 1000  # prompts of one template

# {{ and }} are braces, {a|b} is a choice, a single brace is a mistake
_PARTS = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<choice>[^{}]*\|[^{}]*)\}|(?P<wrong>[{}])")


def expanded(op: str, template: str) -> list[str]:
    """The prompts of a template, in the order of its choices, the last choice the fastest.

    A choice is written {one|other|...}; one of them may be empty. {{ and }} stand for braces.
    Raises ValueError for other braces, and for more than 1,000 prompts.

    >>> expanded("example", "Der {Arzt|Mann} sagte, {{daß}}")
    ['Der Arzt sagte, {daß}', 'Der Mann sagte, {daß}']
    """
    parts: list[list[str]] = []
    end, count = 0, 1
    for found in _PARTS.finditer(template):
        if found["wrong"]:
            raise ValueError(f"{op}: a template must hold choices such as {{a|b}}, got a single "
                             f"{found['wrong']!r} at character {found.start()} of {template!r}; for a brace write it "
                             "twice")
        choice = [found["brace"][0]] if found["brace"] else found["choice"].split("|")
        parts += [[template[end : found.start()]], choice]
        end, count = found.end(), count * len(choice)
    if count > MOST:
        raise ValueError(f"{op}: a template must give at most {MOST:,} prompts, got {count:,}; leave choices out")
    return ["".join(one) for one in product(*parts, [template[end:]])]

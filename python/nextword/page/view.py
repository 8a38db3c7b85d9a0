"""What the page shows at first: a prompt, ids that follow it, interventions; as the address of the page holds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from nextword.inside.host import prompt_ids
from nextword.inside.rules import Intervention
from nextword.machine.shown import shown
from nextword.page.answers import Start
from nextword.page.fields import BODY, PROMPT
from nextword.text.ids import Prompt
from nextword.text.no_vocabulary import NoVocabularyError

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel

LANGUAGES = ("de", "en")


@dataclass(frozen=True)
class View:
    """prompt: a text. added: ids after it. interventions: rules in JSON. compare: a second prompt. lang: None, the
    browser's.

    >>> View("Once", added=(7,), lang="de").fragment()
    'prompt=Once&add=%5B7%5D&lang=de'
    """

    prompt: str = ""
    added: Sequence[int] = ()
    interventions: Sequence[dict[str, Any]] = field(default=())
    compare: str | None = None
    lang: str | None = None

    def start(self) -> Start:
        """As GET /api/model tells it."""
        return {"prompt": self.prompt, "compare": self.compare, "lang": self.lang}

    def fragment(self) -> str:
        """As it stands behind the # of an address; what is not given is left out."""
        given = {"prompt": self.prompt, "add": list(self.added), "off": list(self.interventions),
                 "prompt2": self.compare, "lang": self.lang}
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items() if value}
        return urlencode(texts)


def without_vocabulary(op: str, lm: LanguageModel) -> NoVocabularyError:
    """The error of a page whose model has none."""
    return NoVocabularyError(f"{op}: the page needs", "load one that has it", lm.no_tokenizer)


def view_of(op: str, lm: LanguageModel, prompt: Prompt, interventions: Sequence[Any] = (), compare: str | None = None,
            lang: str | None = None) -> View:
    """The view of a prompt. Of ids it is the text that gives them; of those that no text gives, the text of the first
    ones, as many as there is a text for, and the others by their ids.

    Raises ValueError where there is no such text, for a prompt that cannot be run, and for what is no rule with a name
    or no language; TypeError for what is no prompt.
    """
    if lang not in (None, *LANGUAGES):
        raise ValueError(f"{op}: lang must be one of {', '.join(LANGUAGES)}, got {shown(lang)}")
    tokenizer = lm.tokenizer
    if tokenizer is None:
        raise without_vocabulary(op, lm)
    if not (isinstance(compare, str) or compare is None):
        raise TypeError(f"{op}: compare must be a text, got {shown(compare)}")
    ids = prompt_ids(op, lm, prompt)
    for many in range(len(ids), 0, -1):
        text = tokenizer.decode(ids[:many])
        if text and [*tokenizer.beginning, *tokenizer.encode(text, add_special_tokens=False)] == ids[:many]:
            break
    else:
        raise ValueError(f"{op}: prompt must be ids that some text gives, got {shown(ids)}; begin with a text's own")
    if len(text) > PROMPT:
        raise ValueError(f"{op}: prompt must be a text of at most {PROMPT} characters, got {len(text)}")
    return View(text, tuple(ids[many:]), rules_in_json(op, interventions), compare, lang)


def rules_in_json(op: str, interventions: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """The rules as the page has them. Raises ValueError for those that JSON cannot hold."""
    told = []
    for rule in interventions:
        if not isinstance(rule, Intervention):
            raise ValueError(f"{op}: interventions must be rules of nextword.inside.rules, which a page can hold, got "
                             f"{shown(rule)}")
        told.append(rule.to_json())
    size = len(json.dumps(told))
    if size > BODY // 2:
        raise ValueError(f"{op}: interventions must take at most {BODY // 2} characters of JSON, got {size}; replace "
                         "fewer numbers")
    return tuple(told)

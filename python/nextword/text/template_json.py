"""The post-processor of a tokenizer.json as a template, and back. What a template is stands in template.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.text.json_parts import is_id, unsupported
from nextword.text.template import FIRST, NONE, SECOND, Part, Template, bert, roberta

_TEXTS = {"A": FIRST, "B": SECOND}


def template(file: str, step: Any) -> Template:
    """What stands around a text or two. Raises ValueError that names file and field for what is refused."""
    kind = step.get("type") if isinstance(step, dict) else None
    if step is None:
        return NONE
    if kind == "Sequence" and isinstance(step.get("processors"), list):
        return _in_turn([template(file, inner) for inner in step["processors"]])
    try:
        if kind == "ByteLevel":  # trims offsets alone
            return NONE._replace(trims=_flag(step, "trim_offsets"), after_prefix=_flag(step, "add_prefix_space"))
        if kind == "BertProcessing":
            return bert(_id(step["cls"][1]), _id(step["sep"][1]))
        if kind == "RobertaProcessing":
            flags = _flag(step, "trim_offsets"), _flag(step, "add_prefix_space")
            return roberta(_id(step["cls"][1]), _id(step["sep"][1]), *flags)
        if kind == "TemplateProcessing":
            ids = {name: [_id(id) for id in token["ids"]] for name, token in step["special_tokens"].items()}
            single, pair = (tuple(part for one in step[key] for part in _parts(one, ids)) for key in ("single", "pair"))
            texts = [sorted(part.id for part in parts if part.id < 0) for parts in (single, pair)]
            if texts not in ([[FIRST], [SECOND, FIRST]], [[FIRST], []]):
                raise ValueError("the texts")
            return Template(single, pair)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError):
        pass
    expected = "null, ByteLevel, RobertaProcessing, BertProcessing, a TemplateProcessing with one text, or a Sequence"
    raise unsupported(file, "post_processor", expected, step)


def _parts(one: Any, ids: dict[str, list[int]]) -> list[Part]:
    (kind, given), = one.items()
    type_id = given.get("type_id", 0)
    if not is_id(type_id) or kind not in ("Sequence", "SpecialToken"):
        raise ValueError(kind)
    if kind == "Sequence":
        return [Part(_TEXTS[given["id"]], type_id)]
    return [Part(id, type_id) for id in ids[given["id"]]]


def _in_turn(steps: list[Template]) -> Template:
    """Templates one around the other; of a pair, what the last that has anything says."""
    single: tuple[Part, ...] = (Part(FIRST),)
    pair = NONE.pair
    for one in steps:
        at = [part.id for part in one.single].index(FIRST)
        single = (*one.single[:at], *single, *one.single[at + 1 :])
        pair = one.pair if len(one.single) > 1 else pair
    trims = next((one for one in reversed(steps) if one.trims), NONE)
    return Template(single, pair, trims.trims, trims.after_prefix)


def _id(id: Any) -> int:
    if not is_id(id):
        raise ValueError(id)
    return int(id)


def _flag(step: dict[str, Any], key: str) -> bool:
    if not isinstance(step.get(key, True), bool):
        raise ValueError(key)
    return bool(step.get(key, True))


def post_processor(template: Template, names: Mapping[int, str]) -> dict[str, Any] | None:
    """A template as tokenizer.json has it, None where nothing stands around a text. names: of the tokens."""
    blanks = {"type": "ByteLevel", "trim_offsets": template.trims, "add_prefix_space": template.after_prefix,
              "use_regex": True}  # fmt: skip
    if template.single == NONE.single:
        return blanks if template.trims else None
    ids = sorted({part.id for part in (*template.single, *template.pair) if part.id >= 0})
    tokens = {names[id]: {"id": names[id], "ids": [id], "tokens": [names[id]]} for id in ids}
    single, pair = ([_spelled(part, names) for part in parts] for parts in (template.single, template.pair))
    step = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}
    return {"type": "Sequence", "processors": [blanks, step]} if template.trims else step


def _spelled(part: Part, names: Mapping[int, str]) -> dict[str, Any]:
    if part.id in (FIRST, SECOND):
        return {"Sequence": {"id": "A" if part.id == FIRST else "B", "type_id": part.type}}
    return {"SpecialToken": {"id": names[part.id], "type_id": part.type}}

"""Where a model's template of messages stands: in a folder's files, or in the metadata of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nextword.files.model_folder import TEMPLATE
from nextword.files.whole import present
from nextword.machine.shown import is_integer, listed, shown
from nextword.text.chat_template import TemplateError

CONFIG, OLD = "tokenizer_config.json", "special_tokens_map.json"
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# The same as GGUF's metadata number them.
IDS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "sep_token": "seperator", "pad_token": "padding",
       "cls_token": "cls", "mask_token": "mask"}  # fmt: skip
LARGEST = 1 << 20  # characters of a template


class Told(NamedTuple):
    """source: the template, None where there is none; tokens: special tokens by the names that templates have."""

    source: str | None
    tokens: dict[str, str]


def of_folder(folder: Path) -> Told:
    """What a folder says: chat_template.jinja, or else `chat_template` of tokenizer_config.json, where of several by
    name the one called "default" counts.

    Raises TemplateError that names the file and the field for what cannot be read.
    """
    config = _object(folder / CONFIG)
    given: Any = config.get("chat_template")
    file = folder / TEMPLATE
    if present("chat", file):
        try:
            given = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TemplateError(f"chat: {file} is not UTF-8 text from byte {error.start} on") from None
    if isinstance(given, list):
        if not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in given):
            raise TemplateError(f"chat: {folder / CONFIG}: chat_template must be a text or a list of objects with name "
                                f"and template, got {shown(given)}")
        named = {one["name"]: one.get("template") for one in given}
        if "default" not in named:
            raise TemplateError(f"chat: {folder / CONFIG}: chat_template has {listed(named)}, and none of them is "
                                "called 'default'")
        given = named["default"]
    return Told(_template(f"{folder / CONFIG}: chat_template", given),
                _tokens(folder / CONFIG, config) or _tokens(folder / OLD, _object(folder / OLD)))


def of_metadata(metadata: Mapping[str, Any], file: Path) -> Told:
    """What a GGUF file says: tokenizer.chat_template, and the texts of the special tokens that it numbers.

    Raises TemplateError that names the file and the field for what cannot be read.
    """
    texts, found = metadata.get("tokenizer.ggml.tokens", ()), {}
    for name, key in IDS.items():
        given: Any = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(texts, list) and is_integer(given) and 0 <= given < len(texts):
            found[name] = texts[given]
    return Told(_template(f"{file}: tokenizer.chat_template", metadata.get("tokenizer.chat_template")), found)


def _template(what: str, given: Any) -> str | None:
    if given is None or (isinstance(given, str) and len(given) <= LARGEST):
        return given
    got = f"{len(given):,} characters" if isinstance(given, str) else shown(given)
    raise TemplateError(f"chat: {what} must be a text of at most {LARGEST:,} characters, got {got}")


def _tokens(path: Path, config: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name in NAMES:
        given = config.get(name)
        text = given.get("content") if isinstance(given, dict) else given
        if text is not None and not isinstance(text, str):
            raise TemplateError(f"chat: {path}: {name} must be a text or an object with content, got {shown(given)}")
        if text is not None:
            found[name] = text
    return found


def _object(path: Path) -> dict[str, Any]:
    """The JSON object of a file, empty where there is no file."""
    if not present("chat", path):
        return {}
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"chat: {path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise TemplateError(f"chat: {path} must hold a JSON object, got {type(found).__name__}")
    return found

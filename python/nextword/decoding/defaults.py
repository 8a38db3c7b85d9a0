"""What a model's files say of its texts: the tokens that end and begin them, and those that never come.

generation_config.json wins over config.json, as in transformers: where it is there, what it does not name is not set.
Its other fields (temperature, max_new_tokens, ...) are for who asks: `generate` has defaults of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nextword.machine.shown import is_integer, shown
from nextword.models.model import Model
from nextword.text.tokenizer import Tokenizer

FILE = "generation_config.json"
# Fields that force tokens or change logits in ways that no setting has.
REFUSED = ("begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids",
           "sequence_bias", "exponential_decay_length_penalty", "guidance_scale", "encoder_repetition_penalty",
           "watermarking_config")
NEUTRAL: tuple[Any, ...] = (None, 1, [], {})  # with which they change nothing
FORBIDDING = ("suppress_tokens", "bad_words_ids")


def of_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a config.json says in the place of a generation_config.json that is not there, None if nothing.

    >>> of_config({"model_type": "gpt2", "eos_token_id": 3, "suppress_tokens": [7]})
    {'suppress_tokens': [7], 'eos_token_id': 3}
    """
    found = {name: config[name] for name in (*FORBIDDING, *REFUSED) if name in config}
    ends = {name: config[name] for name in ("eos_token_id", "bos_token_id") if name in config}
    return {**found, **ends} if found else None


@dataclass(frozen=True)
class Defaults:
    """What holds for every text of a model.

    ends: the tokens that end a text; begin: the one that an empty prompt starts from, None without one. Ids that the
    model does not have, also negative ones, are left out: they never come.
    banned: sequences of ids of which the last never follows the others. refused: what a generation is refused for.
    """

    ends: frozenset[int] = frozenset()
    begin: int | None = None
    banned: tuple[tuple[int, ...], ...] = ()
    refused: str | None = None

    @classmethod
    def read(cls, model: Model, generation: Mapping[str, Any] | None = None) -> Defaults:
        """From a model and the content of generation_config.json, None where there is none.

        Raises ValueError that names the field that is wrong.

        >>> import nextword
        >>> Defaults.read(nextword.load().model, {"eos_token_id": 3}).ends
        frozenset({3})
        """
        given: Mapping[str, Any] = generation if generation is not None else {}
        size, known = model.vocabulary, model.end_ids if generation is None else given.get("eos_token_id")
        listed = [] if known is None else list(known) if isinstance(known, list | tuple) else [known]
        ends = frozenset(token for token in _ids("eos_token_id", listed) if 0 <= token < size)
        starts = _ids("bos_token_id", [i for i in (given.get("bos_token_id"), model.begin_id) if i is not None])
        begin = next((i for i in [*starts, *_ids("eos_token_id", listed)] if 0 <= i < size), None)
        single = [(i,) for i in _ids("suppress_tokens", given.get("suppress_tokens") or [])]
        bad = [tuple(_ids("bad_words_ids", ids)) for ids in _list("bad_words_ids", given.get("bad_words_ids") or [])]
        banned = [ids for ids in single + [ids for ids in bad if ids not in {(end,) for end in ends}]
                  if ids and min(ids) >= 0 and max(ids) < size]
        forced = [name for name in REFUSED if given.get(name) not in NEUTRAL]
        told = f"{FILE}, or else config.json, asks for {forced[0]}={shown(given[forced[0]])}" if forced else None
        return cls(ends, begin, tuple(dict.fromkeys(banned)), told)


def first_tokens(op: str, defaults: Defaults, tokenizer: Tokenizer | None, size: int) -> list[int]:
    """What an empty prompt starts from: the model's beginning or end token, or the tokenizer's end token.

    size: of the model's vocabulary, which may lack tokens of the tokenizer's.
    """
    begin = defaults.begin if defaults.begin is not None or tokenizer is None else tokenizer.eos_id
    if begin is None or begin >= size:
        raise ValueError(f"{op}: prompt must have at least one token, got none, and the model has neither a beginning "
                         "nor an end token to start from; give a word")
    return [begin]


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"load: {FILE}: {name} must be a list, got {shown(value)}")
    return list(value)


def _ids(name: str, value: Any) -> list[int]:
    ids = _list(name, value)
    if not all(map(is_integer, ids)):
        raise ValueError(f"load: {FILE}: {name} must be token ids, got {shown(value)}")
    return [int(i) for i in ids]

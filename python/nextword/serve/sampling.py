"""A request's settings as the library's: names, defaults and ranges of OpenAI's API. Checks what JSON types cannot."""

from __future__ import annotations

import json
from typing import Any

from nextword.decoding.sampling import new_seed
from nextword.decoding.settings import Sampling
from nextword.serve import bounds
from nextword.serve.errors import Refused, wrong
from nextword.serve.requests import Settings

ANY_OBJECT = {"type": "object"}


def sampling_of(asked: Settings, vocabulary: int, longest: int, n: int, best_of: int | None = None,
                logprobs: int | None = None, prompt_logprobs: int | None = None,
                stop: tuple[str, ...] = ()) -> Sampling:
    """The settings, with a seed. vocabulary: its size; longest: new tokens at most; stop: more strings.

    Raises Refused or ValueError that names the field.
    """
    seed = new_seed() if asked.seed is None else asked.seed
    if not bounds.SEED[0] <= seed <= bounds.SEED[1]:
        raise wrong("seed", "a whole number -2**63 .. 2**64 - 1", seed)
    temperature = 1.0 if asked.temperature is None else asked.temperature
    if asked.min_tokens and asked.min_tokens > longest:
        raise wrong("min_tokens", f"at most max_tokens ({longest})", asked.min_tokens)
    for token in asked.stop_token_ids or ():
        if token >= vocabulary:
            raise wrong("stop_token_ids", f"token ids 0 .. {vocabulary - 1}", token)
    given: dict[str, Any] = {
        "frequency_penalty": asked.frequency_penalty, "presence_penalty": asked.presence_penalty, "top_p": asked.top_p,
        "top_k": asked.top_k, "min_p": asked.min_p, "typical_p": asked.typical_p,
        "repetition_penalty": asked.repetition_penalty, "min_new_tokens": asked.min_tokens,
        "logit_bias": {int(token): bias for token, bias in (asked.logit_bias or {}).items()},
        "stop": (*_stops(asked), *stop, *(asked.stop_token_ids or ())), **_grammar(asked),
        "temperature": temperature, "max_new_tokens": longest, "n": n, "best_of": best_of, "logprobs": logprobs,
        "seed": seed % 2**64,  # of a negative one, the two's complement
    }
    if prompt_logprobs is not None:
        given["prompt_logprobs"] = prompt_logprobs
    return Sampling(**given)


def draws_of(asked: Settings, n: int) -> tuple[int, int]:
    """How many texts are generated of a prompt, and how often each is told: at temperature 0 all are the same."""
    return (1, n) if asked.temperature == 0 else (n, 1)


def _stops(asked: Settings) -> tuple[str, ...]:
    given = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    for one in given:
        if len(one.encode("utf-8", "replace")) > bounds.STOP_BYTES:
            raise wrong("stop", f"strings of at most {bounds.STOP_BYTES} bytes", one)
    return given


def _grammar(asked: Settings) -> dict[str, Any]:
    """The constraint of the text, if there is one."""
    form = asked.response_format
    if form is not None and (form.type == "json_schema") != (form.json_schema is not None):
        raise Refused(400, "response_format: json_schema is given exactly for the type json_schema", "response_format",
                      "invalid_value")
    if asked.regex is not None:
        if form is not None and form.type != "text":
            raise Refused(400, "regex and response_format cannot be given together", "regex", "invalid_value")
        if len(asked.regex.encode("utf-8", "replace")) > bounds.GRAMMAR_BYTES:
            raise wrong("regex", f"at most {bounds.GRAMMAR_BYTES} bytes", f"{len(asked.regex)} characters")
        return {"regex": asked.regex}
    if form is None or form.type == "text":
        return {}
    schema = ANY_OBJECT if form.json_schema is None else form.json_schema.schema
    size = len(json.dumps(schema))
    if size > bounds.GRAMMAR_BYTES:
        raise wrong("response_format", f"a schema of at most {bounds.GRAMMAR_BYTES} bytes", f"{size} bytes")
    return {"json_schema": schema}

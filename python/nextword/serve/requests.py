"""What may be asked, field by field: one struct a request. openapi.json is made of them.

A field that is not here is refused; one whose type is None is known, and refused by its name (`UNSUPPORTED` says why).
`null` is the default everywhere, as clients send it so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from nextword.serve import bounds

# Forms that cannot be told apart by their JSON type alone are checked by hand (prompts.py); their schema stands here.
_TEXT = {"type": "string"}
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_MANY = {"minItems": 1, "maxItems": bounds.PROMPTS}
_PROMPTS = [_TEXT, {"type": "array", "items": _TEXT, **_MANY}, _IDS, {"type": "array", "items": _IDS, **_MANY}]
Prompt = Annotated[Any, Meta(extra_json_schema={"anyOf": [*_PROMPTS, {"type": "null"}]})]
Input = Annotated[Any, Meta(extra_json_schema={"anyOf": _PROMPTS})]
Single = Annotated[Any, Meta(extra_json_schema={"anyOf": [_TEXT, _IDS, {"type": "null"}]})]

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Tops = Annotated[int, Meta(ge=0, le=bounds.LOGPROBS)]
Seed = Annotated[int, Meta(extra_json_schema={"minimum": bounds.SEED[0], "maximum": bounds.SEED[1]})]
StopText = Annotated[str, Meta(min_length=1, max_length=bounds.STOP_BYTES)]
Stop = StopText | Annotated[list[StopText], Meta(max_length=bounds.STOPS)]
Id = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Bias = dict[Annotated[str, Meta(pattern="^[0-9]{1,9}$")], Annotated[float, Meta(ge=-100, le=100)]]

UNSUPPORTED = {
    "suffix": "the model writes from left to right alone",
    "tools": "the model calls no functions", "tool_choice": "the model calls no functions",
    "functions": "the model calls no functions", "function_call": "the model calls no functions",
    "parallel_tool_calls": "the model calls no functions",
    "modalities": "the model reads and writes text alone", "audio": "the model reads and writes text alone",
    "prediction": "drafts are the server's", "reasoning_effort": "the model does not reason apart from its text",
    "web_search_options": "the server reaches no network", "verbosity": "max_tokens bounds the text",
    "store": "nothing is stored", "metadata": "nothing is stored", "service_tier": "there is one",
    "moderation": "texts are not judged",
}


class StreamOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """How a stream is told. include_obfuscation: fill chunks up to lengths that do not tell those of their texts."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(Struct, forbid_unknown_fields=True, kw_only=True):
    """A schema that the text must be JSON of. name, description, strict: taken, and change nothing: it always holds."""

    name: Name
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form of the text: any, a JSON object, or JSON of a schema (the extra "grammar")."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Settings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What completions and chat completions have in common. Beyond OpenAI's: top_k, min_p, typical_p,
    repetition_penalty, min_tokens, stop_token_ids, ignore_eos, regex, priority."""

    model: Name | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    n: Annotated[int, Meta(ge=1, le=bounds.N)] | None = None
    stop: Stop | None = None
    seed: Seed | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[Bias, Meta(max_length=bounds.BIASES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    regex: Annotated[str, Meta(max_length=bounds.GRAMMAR_BYTES)] | None = None
    top_k: Count | None = None
    min_p: Share | None = None
    typical_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    min_tokens: Count | None = None
    stop_token_ids: Annotated[list[Id], Meta(max_length=bounds.STOPS)] | None = None
    ignore_eos: bool | None = None
    priority: Annotated[int, Meta(ge=0, le=1000)] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None


class CompletionRequest(Settings, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/completions. parse_special: names of special tokens in a text prompt stand for them."""

    prompt: Prompt = None
    best_of: Annotated[int, Meta(ge=1, le=bounds.BEST_OF)] | None = None
    echo: bool | None = None
    logprobs: Tops | None = None
    parse_special: bool | None = None
    suffix: None = None


class TextPart(Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of a message; there are texts alone."""

    type: Literal["text"]
    text: str


class Message(Struct, forbid_unknown_fields=True, kw_only=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Meta(min_length=1, max_length=bounds.MESSAGES)]
    name: Annotated[str, Meta(max_length=64)] | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None

    @property
    def text(self) -> str:
        """The content as one text; its parts follow each other."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


Messages = Annotated[list[Message], Meta(min_length=1, max_length=bounds.MESSAGES)]


class CacheOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """How OpenAI keeps beginnings of prompts; taken, and changes nothing."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: Annotated[str, Meta(max_length=16)] | None = None


class ChatRequest(Settings, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/chat/completions. max_completion_tokens: the same as max_tokens; at most one of them. safety_identifier:
    counts as user where there is none. prompt_cache_key, prompt_cache_options, prompt_cache_retention: taken, and
    change nothing, as they never change an answer: the server keeps beginnings by itself."""

    messages: Messages
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Tops | None = None
    tools: None = None
    tool_choice: None = None
    parallel_tool_calls: None = None
    functions: None = None
    function_call: None = None
    modalities: None = None
    audio: None = None
    prediction: None = None
    reasoning_effort: None = None
    web_search_options: None = None
    verbosity: None = None
    store: None = None
    metadata: None = None
    moderation: None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: Annotated[str, Meta(max_length=256)] | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=256)] | None = None
    prompt_cache_options: CacheOptions | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None


class EmbeddingRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/embeddings. pooling: of the last layer norm's output, the mean over all tokens, or the last token's.
    dimensions: so many first numbers, scaled to length 1."""

    input: Input
    model: Name | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**20)] | None = None
    pooling: Literal["mean", "last"] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None


class ScoreRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/score: of `input`, how probable each text is; or of `prompt`, how probable each of `choices` follows.
    parse_special: names of special tokens in texts stand for them."""

    model: Name | None = None
    input: Prompt = None
    prompt: Single = None
    choices: Prompt = None
    parse_special: bool | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None


class TokenizeRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """POST /tokenize: of a text, or of messages as the chat template writes them. Names of special tokens stand for
    them."""

    model: Name | None = None
    prompt: str | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None


class DetokenizeRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """POST /detokenize."""

    tokens: list[Id]
    model: Name | None = None

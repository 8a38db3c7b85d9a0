"""What is answered, as structs. openapi.json is made of them, and every answer is one of them."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class PromptDetails(Struct):
    """cached_tokens: those of prompts that were held already."""

    cached_tokens: int = 0


class Usage(Struct):
    """How many tokens; the end token counts among those of completions."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class Logprobs(Struct):
    """Of a completion, entry by entry for its tokens; null where nothing precedes. text_offset: characters from the
    start of the prompt."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(Struct):
    """A text."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Drawn(Struct):
    """What the texts were drawn with: `lm.generate(prompt, seed=seed, row=row)` gives a choice's text."""

    seed: int
    rows: list[int]


class Answer(Struct, kw_only=True):
    """What all answers of texts say of themselves."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class Chunk(Answer, kw_only=True):
    """What may be in a chunk of a stream, too."""

    usage: Usage | UnsetType | None = UNSET
    nextword: Drawn | UnsetType = UNSET
    obfuscation: str | UnsetType = UNSET


class Completion(Chunk, kw_only=True):
    """The answer of /v1/completions, and each chunk of its stream."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[Choice]


class TopLogprob(Struct):
    """A token and its log-probability. bytes: of the token, which need not be a whole character."""

    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(Struct):
    """Of one token, and of the most probable ones in its place."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct):
    """Of all tokens."""

    content: list[ChatLogprob]
    refusal: None = None


class ChatMessage(Struct):
    """What the model says."""

    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChatChoice(Struct):
    """A text."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(Answer, kw_only=True):
    """The answer of /v1/chat/completions."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]
    usage: Usage
    nextword: Drawn


class Delta(Struct):
    """What is new of a message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: UnsetType | None = UNSET


class ChatDelta(Struct):
    """What is new of a text."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class ChatChunk(Chunk, kw_only=True):
    """Each chunk of the stream of /v1/chat/completions."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChatDelta]


class InputUsage(Struct):
    """How many tokens were read."""

    prompt_tokens: int
    total_tokens: int


class Embedding(Struct):
    """Of one text. embedding: float32 numbers, or as base64 their bytes, little endian."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class Embeddings(Struct):
    """The answer of /v1/embeddings."""

    data: list[Embedding]
    model: str
    usage: InputUsage
    object: Literal["list"] = "list"


class Scored(Struct):
    """Of one text: natural logarithms, of the whole and of each token."""

    index: int
    logprob: float
    tokens: list[int]
    token_logprobs: list[float]
    perplexity: float | UnsetType = UNSET
    bits_per_byte: float | UnsetType | None = UNSET
    share: float | UnsetType = UNSET
    object: Literal["score"] = "score"


class Scores(Struct):
    """The answer of /v1/score."""

    data: list[Scored]
    model: str
    usage: InputUsage
    object: Literal["list"] = "list"


class ModelCard(Struct):
    """A model that is served. max_model_len: tokens of prompt and text together."""

    id: str
    created: int
    max_model_len: int
    object: Literal["model"] = "model"
    owned_by: str = "nextword"


class Models(Struct):
    """The answer of /v1/models."""

    data: list[ModelCard]
    object: Literal["list"] = "list"


class Tokens(Struct):
    """The answer of /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Text(Struct):
    """The answer of /detokenize."""

    prompt: str


class TokenizerInfo(Struct):
    """The answer of /tokenizer_info; of a model without the token, null."""

    tokenizer_class: str
    vocab_size: int
    model_max_length: int
    eos_token: str | None
    bos_token: str | None
    pad_token: str | None
    chat_template: str | None


class Health(Struct):
    """The answer of /health, /health/live and /health/ready."""

    status: Literal["ok", "draining"]


class ErrorBody(Struct):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failure(Struct):
    """Every answer of a status from 400 on."""

    error: ErrorBody



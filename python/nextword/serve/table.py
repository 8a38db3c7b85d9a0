"""Every path of the API: what it takes, what it answers, who does it. The routes and openapi.json are made of this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nextword.serve import answers, requests, status
from nextword.serve.chat import chat
from nextword.serve.completions import completions
from nextword.serve.embeddings import embeddings
from nextword.serve.scores import score
from nextword.serve.tokens import detokenize, tokenize, tokenizer_info


@dataclass(frozen=True)
class Endpoint:
    """What a path does. body: the struct of its request, None for a GET; answer: of its response, None for text;
    chunk: of the events of its stream. works: whether it asks a model, so that a server that ends takes none."""

    does: Callable[..., Awaitable[None]]
    summary: str
    body: type[Any] | None
    answer: type[Any] | None
    chunk: type[Any] | None = None
    works: bool = False

    @property
    def method(self) -> str:
        """POST for what has a body."""
        return "GET" if self.body is None else "POST"


_TOKENIZE = Endpoint(tokenize, "Token ids of a text", requests.TokenizeRequest, answers.Tokens)
_DETOKENIZE = Endpoint(detokenize, "The text of token ids", requests.DetokenizeRequest, answers.Text)
_INFO = Endpoint(tokenizer_info, "The tokenizer of the first model", None, answers.TokenizerInfo)
_MODEL = Endpoint(status.model, "A model", None, answers.ModelCard)

ENDPOINTS = {
    "/v1/completions": Endpoint(completions, "Continue texts", requests.CompletionRequest, answers.Completion,
                                answers.Completion, True),
    "/v1/chat/completions": Endpoint(chat, "Answer messages", requests.ChatRequest, answers.ChatCompletion,
                                     answers.ChatChunk, True),
    "/v1/embeddings": Endpoint(embeddings, "Texts as vectors", requests.EmbeddingRequest, answers.Embeddings,
                               works=True),
    "/v1/score": Endpoint(score, "Log-probabilities of texts, or of continuations", requests.ScoreRequest,
                          answers.Scores, works=True),
    "/v1/models": Endpoint(status.models, "The models", None, answers.Models),
    "/v1/models/{model}": _MODEL,
    "/tokenize": _TOKENIZE, "/v1/tokenize": _TOKENIZE,
    "/detokenize": _DETOKENIZE, "/v1/detokenize": _DETOKENIZE,
    "/tokenizer_info": _INFO, "/v1/tokenizer_info": _INFO,
    "/health": Endpoint(status.live, "Whether the server answers", None, answers.Health),
    "/health/live": Endpoint(status.live, "Whether the server answers; needs no key", None, answers.Health),
    "/health/ready": Endpoint(status.ready, "Whether requests are taken", None, answers.Health),
    "/metrics": Endpoint(status.page, "Counts, for Prometheus", None, None),
    "/openapi.json": Endpoint(status.openapi, "This description", None, None),
}


def endpoint(path: str) -> tuple[str, Endpoint] | None:
    """What a path asks for, with its name in the table."""
    if path.startswith(status.MODELS) and path != status.MODELS:
        return "/v1/models/{model}", _MODEL
    return (path, ENDPOINTS[path]) if path in ENDPOINTS and "{" not in path else None
